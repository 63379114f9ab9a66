"""The command line with learners of fastai 2: exit codes and what is written."""

import json
import sys

import pytest

from fastai_hf_callback.cli.main import main

FACTORY_FILE = """
from tests.fastai2.learners import make_learner

def good(): return make_learner("bert")
def nothing(): return None
def unwrapped(): return make_learner("bert", cbs=[])
"""


@pytest.fixture
def run(capsys):
    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return run


@pytest.fixture
def factories(tmp_path):
    path = tmp_path / "factories.py"
    path.write_text(FACTORY_FILE)
    yield path
    sys.path[:] = [p for p in sys.path if p != str(tmp_path)]
    sys.modules.pop("factories", None)


def test_a_healthy_learner(run, factories, tmp_path):
    code, out, err = run(
        "diagnose", f"{factories}:good", "--json", tmp_path / "out.json", "--html", tmp_path / "out.html"
    )
    assert (code, err) == (0, "") and out.startswith("HEALTHY")
    assert json.loads((tmp_path / "out.json").read_text())["evidence"]["stepping"]["steps"] == 4
    assert "<title>Healthy: " in (tmp_path / "out.html").read_text()


def test_one_that_is_not(run, factories):
    code, out, _ = run("diagnose", f"{factories}:unwrapped", "--fail-on", "error")
    assert code == 1 and "output-not-unwrapped" in out and "cbs=[HFCallback()]" in out


def test_what_is_no_learner_is_one_line(run, factories):
    code, out, err = run("diagnose", f"{factories}:nothing")
    assert (code, out) == (2, "") and "NoneType was given; expected a fastai Learner" in err


def test_compare_takes_a_factory(run, factories):
    code, out, _ = run("compare", f"{factories}:good", "--epochs", 1, "--lr", "1e-2")
    assert code in (0, 3) and "identical" in out.lower()
