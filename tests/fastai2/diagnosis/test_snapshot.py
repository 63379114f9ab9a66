"""Whatever is done to a learner inside ``preserve_everything``: afterwards it is what it was."""

import contextlib

import numpy as np
import pytest
import torch
from fastai.callback.core import Callback
from fastai.learner import Learner

from fastai_hf_callback.fastai2.diagnosis.snapshot import copy_callback, preserve_everything
from tests.diagnosis.learner_states import STATES, differences, fitted, run, state_of
from tests.fastai2.learners import make_learner
from tests.slow_marks import mark_slow_after


def ruin(learn):
    """All that an examination may do, and more."""
    with pytest.raises(RuntimeError, match="in the middle"):
        with preserve_everything(learn):
            with contextlib.suppress(ArithmeticError):
                learn.fit(1, 1e-2)
            if learn.opt is None:
                learn.create_opt()
            learn.opt.set_hyper("lr", 7.0)
            learn.opt.freeze_to(1)
            learn.dls.train.bs = 3
            learn.metrics.append(learn.metrics[0])
            torch.set_grad_enabled(False)
            torch.set_autocast_enabled("cpu", True)
            Learner._do_one_batch = None
            for parameter in learn.model.parameters():
                parameter.data.add_(1)
            for buffer in learn.model.buffers():
                buffer.add_(1)
            learn.cbs.clear()
            learn.model = None
            raise RuntimeError("in the middle")


@pytest.mark.parametrize("make", STATES)
def test_nothing_of_the_learner_is_another(make):
    learn = make()
    before = state_of(learn)
    ruin(learn)
    assert differences(before, state_of(learn)) == []


@pytest.mark.parametrize("make", mark_slow_after(2, STATES))
def test_the_fit_that_follows_is_the_same(make):
    assert run(make, ruin) == run(make)


def test_a_changed_weight_would_be_seen():
    def disturb(learn):
        next(learn.model.parameters()).data.add_(1e-6)

    assert run(fitted, disturb) != run(fitted)


@pytest.mark.parametrize(
    "disturb, name",
    [
        (lambda learn: learn.opt.hypers[0].update(lr=1.0), "hypers"),
        (lambda learn: learn.dls.train.rng.random(), "loaders[0].rng's state"),
        (lambda learn: setattr(next(learn.model.parameters()), "grad", None), "bert"),
        (lambda learn: learn.recorder.losses.append(1), "callbacks"),
        (lambda learn: next(iter(learn.opt.state.values()))["grad_avg"].add_(1), "Optimizer state 0 grad_avg"),
    ],
)
def test_what_would_not_be_put_back_would_be_seen(disturb, name):
    learn = fitted()
    learn.recorder.losses = list(learn.recorder.losses)
    before = {k: list(v) if isinstance(v, list) else v for k, v in state_of(learn).items()}
    disturb(learn)
    assert any(name in found for found in differences(before, state_of(learn)))


class Deep(Callback):
    """Keeps what it hears in places that a shallow copy would share, and a method of its own in an attribute."""

    def __init__(self):
        self.heard, self.counts, self.mean = {"losses": []}, np.zeros(2), torch.zeros(2)
        self.hear = self.note

    def note(self):
        self.heard["losses"].append(1)
        self.counts += 1
        self.mean.add_(1)

    def after_batch(self):
        self.hear()


def test_a_copied_callback_keeps_its_own_state_and_the_live_learner():
    learn = make_learner()
    callback = Deep()
    learn.add_cb(callback)
    made = copy_callback(callback, learn)
    made.after_batch()
    assert made.learn is learn and made.heard["losses"] == [1] and made.counts.all() and made.mean.all()
    assert callback.heard == {"losses": []} and not callback.counts.any() and not callback.mean.any()
