"""``diagnose`` reads what ``Doctor`` kept of the last fit as long as the weights are the same, also where ruined."""

import copy
import warnings

import pytest
import torch

from tests.installed_stack import FASTAI_1, FASTAI_2

if not FASTAI_1 and not FASTAI_2:
    pytest.skip("no fastai here", allow_module_level=True)

from fastai_hf_callback import Doctor, diagnose
from tests.diagnosis.learner_states import make_learner
from tests.faults.stacks import stack


@pytest.fixture(scope="module")
def watched():
    learn = make_learner("bert")
    if FASTAI_1:
        learn.callbacks.append(Doctor(learn, say=[].append))
    else:
        learn.add_cb(Doctor(say=[].append))
    with warnings.catch_warnings(), stack.no_progress(learn):
        warnings.simplefilter("ignore")
        learn.fit(1, 1e-3)
    return learn


def recall(learn):
    return learn.doctor.monitor.recall(learn.model)


def test_validate_erases_nothing_that_doctor_knows(watched):
    steps = len(watched.recorder.losses)
    with stack.no_progress(watched):
        watched.validate()
    assert len(recall(watched).history.losses) == steps
    assert diagnose(watched).evidence.watched == recall(watched).causes


def test_any_weight_that_is_another_makes_it_void_and_one_put_back_does_not(watched):
    weights = copy.deepcopy(watched.model.state_dict())
    for parameter in watched.model.parameters():
        with torch.no_grad():
            parameter.mul_(1.5).add_(1e-3)
        assert recall(watched) is None
        watched.model.load_state_dict(weights)
        assert recall(watched) is not None


def test_another_model_makes_it_void(watched):
    assert watched.doctor.monitor.recall(copy.deepcopy(watched.model)) is None


def test_weights_that_are_no_numbers_are_the_same_ones():
    from fastai_hf_callback.model.weights.starting_weights import StartingWeights

    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight[0, 0] = float("nan")
    kept = StartingWeights(layer)
    assert kept.is_unchanged()
    with torch.no_grad():
        layer.weight[0, 1] = float("nan")
    assert not kept.is_unchanged()
