"""The command line where fastai 2 is installed: what it can, and a line for what it cannot yet."""
import json
import textwrap
from pathlib import Path

import pytest

from fastai_hf_callback.__main__ import main

FACTORY = textwrap.dedent("""
    from tests.fastai2.learners import make_learner

    def make():
        return make_learner("bert")
""")


def test_compare_a_factory(tmp_path, capsys):
    Path("factory.py").write_text(FACTORY)
    assert main(["compare", "factory.py:make", "--epochs", "6", "--lr", "1e-2", "--json", "found.json"]) == 0
    assert "IDENTICAL, and it moved" in capsys.readouterr().out
    assert json.loads(Path("found.json").read_text())


@pytest.mark.parametrize("command", (["demo"], ["diagnose", "factory.py:make"],
                                     ["compare", "--csv", "a.csv", "--text", "t", "--labels", "l", "--model", "m"]),
                         ids=" ".join)
def test_what_is_not_there_yet_is_said_in_a_line(command, capsys):
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "is not there for fastai 2 yet" in said and len(said.splitlines()) == 1
