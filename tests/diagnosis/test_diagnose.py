"""``diagnose`` on either fastai changes nothing: the fit that follows is bit for bit the one that would have been."""

import numpy as np
import pytest
import torch
from torch import nn

from fastai_hf_callback import InvalidInputError, diagnose
from tests.diagnosis.learner_states import (
    STATES,
    differences,
    fastai,
    fitted,
    make_learner,
    preserve_everything,
    run,
    state_of,
)
from tests.slow_marks import mark_slow_after


@pytest.mark.slow
@pytest.mark.parametrize("make", mark_slow_after(3, STATES))
def test_the_fit_that_follows_is_the_same(make):
    assert run(make, diagnose) == run(make)


def test_a_changed_weight_would_be_seen():
    def disturbing(learn):
        diagnose(learn)
        next(learn.model.parameters()).data.add_(1e-6)

    assert run(fitted, disturbing) != run(fitted)


@pytest.mark.slow
@pytest.mark.parametrize("model", fastai.ARCHITECTURES)
def test_on_every_architecture(model):
    assert run(lambda: fitted(model), diagnose) == run(lambda: fitted(model))


@pytest.mark.parametrize("make", mark_slow_after(2, STATES))
def test_nothing_of_the_learner_is_another(make):
    learn = make()
    before = state_of(learn)
    diagnose(learn)
    assert differences(before, state_of(learn)) == []


def test_put_back_also_when_something_raises():
    learn = fitted()
    before = state_of(learn)
    with pytest.raises(RuntimeError, match="in the middle"):
        with preserve_everything(learn):
            learn.fit(1, 1e-2)
            learn.model = None
            raise RuntimeError("in the middle")
    assert differences(before, state_of(learn)) == []


def hear(callback):
    callback.heard["losses"].append(1)
    callback.counts += 1
    callback.mean.add_(1)


def test_what_a_callback_keeps_deep_inside_is_not_touched():
    callback = fastai.listening(hear, heard={"losses": []}, counts=np.zeros(2), mean=torch.zeros(2))
    learn = fastai.learner_with(callback)
    diagnose(learn)
    assert callback.heard == {"losses": []} and not callback.counts.any() and not bool(callback.mean.abs().sum())
    learn.fit(1, 1e-3)
    assert callback.heard["losses"] and callback.counts.all() and bool((callback.mean > 0).all())  # it does hear a fit


def count(callback):
    callback.seen += 1
    callback.kept.append(callback.seen)


def test_state_of_a_users_own_callback_and_lists_are_put_back():
    callback = fastai.listening(count, seen=0, kept=[])
    diagnose(fastai.learner_with(callback))
    assert callback.seen == 0 and callback.kept == []


def test_files_are_not_written(tmp_path):
    diagnose(fastai.learner_that_writes(tmp_path))
    assert list(tmp_path.rglob("*.*")) == []


def test_what_is_no_learner_is_refused_in_one_line():
    with pytest.raises(InvalidInputError, match="expected a fastai Learner"):
        diagnose(nn.Linear(2, 2))
    with pytest.raises(InvalidInputError, match="batches=0"):
        diagnose(make_learner(), batches=0)


def test_a_healthy_learner_is_told_what_was_looked_at():
    said = str(diagnose(make_learner()))
    assert said.startswith("HEALTHY") and "gradients" in said.splitlines()[0] and "\n  targets " in said
