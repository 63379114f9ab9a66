"""A model that a rate has ruined is named so, with the rate; what follows from it comes below. On either fastai."""

import warnings

import pytest
import torch
from torch import nn

from tests.installed_stack import FASTAI_1, FASTAI_2

if not FASTAI_1 and not FASTAI_2:
    pytest.skip("no fastai here", allow_module_level=True)

from functools import partial

from fastai_hf_callback import diagnose
from tests.diagnosis.learner_states import make_learner
from tests.faults.stacks import stack

SGD = partial(torch.optim.SGD, momentum=0.9)


def plain_sgd():
    if FASTAI_1:
        return SGD
    from fastai.optimizer import OptimWrapper

    return partial(OptimWrapper, opt=SGD)


def after_fit(lr, epochs=2, loaded=True, **settings):
    """Return a learner after a fit; its layer norms are those of a trained model, unless it was never `loaded`."""
    learn = make_learner("bert", **settings)
    with torch.no_grad():
        for name, parameter in learn.model.named_parameters():
            if loaded and "LayerNorm" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    with warnings.catch_warnings(), stack.no_progress(learn):
        warnings.simplefilter("ignore")
        learn.fit(epochs, lr)
    return learn


@pytest.fixture(scope="module")
def ruined():
    return diagnose(after_fit(0.5))


def test_the_rate_is_named_first(ruined):
    first = ruined.findings[0]
    assert first.cause == "weights-diverged" and "learning rate did it: 0.5" in first.message
    assert first.evidence["lr"] == 0.5 and first.evidence["moved / size"] > 1 and "not 0.5" in first.fix


def test_what_follows_from_the_ruin_is_below_it_or_left_out(ruined):
    assert not {"input-ignored", "gradient-vanishes", "weight-decay-dominates", "nothing-learned-yet"} & set(
        ruined.causes
    )
    assert "metric-at-base-rate" not in ruined.causes[:1] and not ruined.healthy


def test_a_usual_rate_ruins_nothing():
    found = diagnose(after_fit(1e-4))
    assert "weights-diverged" not in found.causes and found.evidence.weights.distance < 0.1


def test_no_fix_asks_for_what_is_there(ruined):
    assert not any("wd = 0.01" in finding.fix for finding in ruined.findings)


def test_averages_with_nan_are_found_before_they_reach_the_weights():
    learn = after_fit(1e-4)
    state = learn.opt.opt.state if FASTAI_1 else learn.opt.state
    average = next(v for values in state.values() for v in values.values() if torch.is_tensor(v) and v.dim())
    average.view(-1)[0] = float("nan")
    assert "non-finite-optimizer-state" in diagnose(learn).causes


def test_a_buffer_with_nan_is_found():
    learn = make_learner("bert")
    learn.model.register_buffer("running_mean", torch.full((2,), float("nan")))
    assert diagnose(learn).causes[0] == "non-finite-weights"


# -- the optimizer in force ------------------------------------------------------------------------------------------


def test_a_rate_of_adam_is_too_small_for_sgd():
    found = diagnose(after_fit(1e-5, 8, opt_func=plain_sgd()))
    first = found.findings[0]
    assert first.cause == "learning-rate-too-small" and "grow with the gradient" in first.message
    assert "Adam" in first.fix and found.evidence.hyper.scales_with_gradient


def test_how_the_optimizer_steps_is_tried_not_read_from_its_name():
    rules = [diagnose(after_fit(1e-4, 1, **given)).evidence.hyper for given in ({}, dict(opt_func=plain_sgd()))]
    assert [rule.scales_with_gradient for rule in rules] == [False, True]
    assert rules[0].momentum_gain == pytest.approx(1, abs=0.2) and rules[1].momentum_gain == pytest.approx(10, rel=0.01)


# -- never loaded, asked after a fit -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lr", [2e-5, 1e-3])
def test_a_body_that_was_never_loaded_is_found_after_a_fit(lr):
    found = {f.cause: f for f in diagnose(after_fit(lr, loaded=False)).findings}
    assert "when its first fit began" in found["pretrained-weights-not-loaded"].message
    assert "pretrained-weights-not-loaded" not in diagnose(after_fit(lr)).causes


def test_without_a_record_only_what_the_steps_can_have_moved_counts():
    learn = after_fit(2e-5, loaded=False)
    for callback in learn.callbacks if FASTAI_1 else learn.cbs:
        if hasattr(callback, "corrections"):
            callback.corrections.start = None
    found = {f.cause: f for f in diagnose(learn).findings}
    assert "no further than the last fit's steps" in found["pretrained-weights-not-loaded"].message
    with torch.no_grad():
        next(p for n, p in learn.model.named_parameters() if "LayerNorm" in n).add_(0.05)
    assert "pretrained-weights-not-loaded" not in diagnose(learn).causes
    assert isinstance(learn.model, nn.Module)
