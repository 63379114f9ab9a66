"""Each reported kind has its source, hurts, and would learn without it; every cause points to a part."""

import ast
import re
from pathlib import Path

import pytest

import fastai_hf_callback
from fastai_hf_callback.diagnosis import checks
from fastai_hf_callback.diagnosis.checks.failures import REASONS
from tests.faults.catalogue import FAULTS
from tests.faults.reported.catalogue import KINDS, named
from tests.faults.reported.evaluation import causes, evaluate_kind, hurts, is_found, is_part_first, measure_harm
from tests.faults.reported.kind import PARTS
from tests.faults.reported.parts import PART_OF_CAUSE
from tests.faults.stacks import stack
from tests.slow_marks import mark_slow_after

# The page measures all of them.
QUICK = ("gradients-zeroed-before-the-step", "few-rows-for-debugging", "true-and-predicted-swapped")
ASKED = {
    "stopped-as-it-learns": "better-taken-for-worse",
    "rows-sorted-and-labels-not": "rows-mixed-in-collate",
    "noise-of-a-high-bound": "gradients-replaced",
    "summed-over-rows": "loss-summed-over-rows",
    "warm-up-longer-than-the-run": "warm-up-never-ends",
}
SOURCES = re.compile(r"https?://|(issue|pull request) \d+")


def test_there_are_thirty_kinds_and_more_in_all_parts():
    assert len({one.name for one in KINDS}) == len(KINDS) >= 36
    assert {one.part for one in KINDS} == set(PARTS)
    assert not {one.name for one in KINDS} & {one.name for one in FAULTS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_says_where_it_was_reported(kind):
    assert SOURCES.search(kind.source) and kind.saw
    if not kind.architectures:
        pytest.skip("needs a model that this stack does not have")
    assert set(kind.architectures) <= set(stack.ALL)


@pytest.mark.parametrize("name", mark_slow_after(1, QUICK))
def test_hurts_a_learner_that_would_learn(name):
    row = measure_harm(name, named(name).architectures[0])
    assert hurts(row), row


def test_harm_is_not_found_where_there_is_none():
    assert not hurts({"sound": 0.9, "broken": 0.9})
    assert not hurts({"sound": 0.9, "broken": 0.9, "sound printed": 0.9, "broken printed": 0.9})


@pytest.mark.parametrize("name", ASKED)
def test_is_found_after_the_fit_and_is_not_where_it_is_not(name):
    broken, sound = (evaluate_kind(name, named(name).architectures[0], is_broken) for is_broken in (True, False))
    assert is_part_first(broken) and ASKED[name] in causes(broken)
    assert ASKED[name] not in causes(sound)


def test_a_row_is_judged_by_its_first_finding():
    row = {"part": "loss", "diagnose": [["learning-rate-zero", "optimizer", ""], ["loss-detached", "loss", ""]]}
    assert is_found(row) and not is_part_first(row) and is_part_first({**row, "part": "optimizer"})
    assert not is_found({"part": "loss", "diagnose": []}) and not is_part_first({"part": "loss", "diagnose": []})


def test_every_cause_that_can_be_named_points_to_a_part():
    assert nameable_causes() - set(PART_OF_CAUSE) == set()
    assert set(PART_OF_CAUSE) - nameable_causes() == set()
    assert set(PART_OF_CAUSE.values()) - {None} <= set(PARTS)


def nameable_causes():
    return set(checks.CAUSE_ORDER) | set(REASONS) | causes_of_errors()


def causes_of_errors():
    """Those that the package's own errors carry, and ``explain`` repeats."""
    package = Path(fastai_hf_callback.__file__).parent
    nodes = [node for path in package.rglob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    return {cause for node in nodes for cause in causes_in(node) if re.fullmatch(r"[a-z]+(-[a-z]+)+", cause)}


def causes_in(node):
    if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
        for line in node.body:
            if isinstance(line, ast.Assign) and line.targets[0].id == "cause":
                yield line.value.value
    if isinstance(node, ast.Call) and str(getattr(node.func, "id", "")).endswith("Error"):
        given = node.args[1:2] + [keyword.value for keyword in node.keywords if keyword.arg == "cause"]
        yield from (one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str))


def test_both_architectures_are_there():
    assert stack.NAME == "fastai 1" or min(len(one.architectures) for one in KINDS) > 1
