"""A share of the bad inputs of ``tests/cli/bad_inputs``; all are run by ``python -m tests.cli.bad_inputs``."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.bad_inputs.case import Case, csv_command
from tests.cli.bad_inputs.judge import Answer, judge
from tests.installed_stack import FASTAI_2

pytestmark = pytest.mark.skipif(not FASTAI_2, reason="the models of these cases are of transformers 5")

SHARE = 60  # each 60th case


@pytest.mark.slow
def test_a_share_of_the_bad_inputs_is_refused_in_one_line_that_names_the_thing():
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.cli.bad_inputs", "--every", str(SHARE)],
        cwd=str(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "; 0 fail; " in done.stdout


GOOD = Answer(2, "", "fastai-hf: --json train.csv: train.csv is read from there\n", {"a": "1"}, {"a": "1"}, False)


@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({}, None),
        ({"code": 0, "stderr": ""}, "silent"),
        ({"code": 3}, "wrong exit code"),
        ({"stderr": ""}, "silent"),
        ({"stderr": "fastai-hf: no\n"}, "does not name it"),
        ({"stderr": GOOD.stderr + "more\n"}, "not one line"),
        ({"stderr": "Traceback (most recent call last):\n" + GOOD.stderr}, "traceback"),
        ({"after": {"a": "2"}}, "touched"),
        ({"after": {"a": "1", "b": "2"}}, "left behind"),
        ({"timed_out": True}, "too slow"),
        ({"code": -11}, "died"),
    ],
)
def test_each_way_to_do_harm_is_seen(changes, complaint):
    found = [name for name, _ in judge(Case("kind", "name", csv_command(), "--json"), GOOD._replace(**changes))]
    assert found == [] if complaint is None else complaint in found
