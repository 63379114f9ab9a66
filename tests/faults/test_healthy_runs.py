"""The controls are what they are called: distinct, the same each time, and their loss falls."""

import json
import warnings

import pytest
import torch

from tests.faults.healthy_runs import controls, training_loss
from tests.faults.healthy_specs import CHOICES, LOSSES, specs
from tests.faults.stacks import stack

SAMPLE = controls(seed=1, n=40 if stack.NAME == "fastai 1" else 16)


@pytest.mark.parametrize(
    "control",
    [
        pytest.param(control, id=f"{i}-{control.spec['architecture']}", marks=[pytest.mark.slow] if i >= 1 else [])
        for i, control in enumerate(SAMPLE)
    ],
)
def test_the_training_loss_falls_or_was_low(control):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learn = control.build()
        before = training_loss(learn)
        with stack.no_progress(learn):
            control.fit(learn)
    after = training_loss(learn)
    assert after < before or control.spec["weights"] in ("converged", "reloaded") and after < 1.1 * before + 0.02


@pytest.mark.slow
def test_no_two_are_alike_and_a_seed_gives_the_same():
    drawn = specs(7, 320)
    assert len({json.dumps(spec, sort_keys=True) for spec in drawn}) == 320
    assert drawn == specs(7, 320) != specs(8, 320)


@pytest.mark.slow
def test_every_choice_and_loss_comes_up():
    drawn = specs(7, 320)
    for key, values in CHOICES.items():
        missing = [value for value in values if all(spec[key] != value for spec in drawn)]
        assert not missing or key == "precision" and missing == ["half"], (key, missing)
    assert {(spec["task"], spec["loss"]) for spec in drawn} == {(t, loss) for t in LOSSES for loss in LOSSES[t]}


def test_built_twice_it_is_the_same():
    one, other = (SAMPLE[0].build(seed=5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.model.state_dict().values(), other.model.state_dict().values()))
