"""The kinds are what they are called: healthy, and the same each time; a seed draws each of them."""

import json

import pytest
import torch

from fastai_hf_callback import diagnose
from tests.installed_stack import FASTAI_1

if FASTAI_1:
    pytest.skip("of fastai 2", allow_module_level=True)

from tests.faults.kinds.page import is_false_alarm
from tests.faults.kinds.registry import KINDS
from tests.faults.kinds.runs import Run, evaluate_run, make_runs
from tests.faults.kinds.specs import draw_specs

NAMES = [kind.name for kind in KINDS]


LONG_ENOUGH = {"rows": 256, "bs": 8}  # to see the loss of any kind fall


def first_run(name: str) -> Run:
    spec = next(run.spec for run in make_runs(seed=3, n=len(KINDS)) if run.spec["kind"] == name)
    return Run({**spec, **LONG_ENOUGH})


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if i % 4 else []) for i, n in enumerate(NAMES)]
)
def test_a_healthy_run_learns_and_raises_no_alarm(name):
    row = evaluate_run(first_run(name))
    assert row["loss"][1] < row["loss"][0]
    assert not is_false_alarm(row), row["alarms"]


def test_a_run_whose_labels_are_exchanged_is_judged_as_an_alarm():
    """The judge can find something: the same run with its body frozen as it was made."""
    run = first_run("a label per word")
    learn = run.build()
    learn.model.requires_grad_(False)
    assert not diagnose(learn).healthy


def test_no_two_are_alike_and_a_seed_gives_the_same():
    drawn = draw_specs(KINDS, 7, 240)
    assert len({json.dumps(spec, sort_keys=True) for spec in drawn}) == 240
    assert drawn == draw_specs(KINDS, 7, 240) != draw_specs(KINDS, 8, 240)
    assert {spec["kind"] for spec in drawn[: len(KINDS)]} == set(NAMES)


def test_every_choice_comes_up():
    drawn = draw_specs(KINDS, 7, 60 * len(KINDS))
    for kind in KINDS:
        mine = [spec for spec in drawn if spec["kind"] == kind.name]
        for key, values in kind.choices.items():
            assert {spec[key] for spec in mine} == set(values), (kind.name, key)


def test_built_twice_it_is_the_same():
    one, other = (first_run("spans").build() for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.model.state_dict().values(), other.model.state_dict().values()))
