"""``diagnose(learn, deep=True)`` on either fastai: what was replaced is named, and nothing of the learner changes."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from fastai_hf_callback import diagnose
from fastai_hf_callback.diagnosis.substitution.deep import PLANTED
from fastai_hf_callback.results.probes import MADE, NOT_MADE
from tests.diagnosis.learner_states import (
    differences,
    fastai,
    fitted,
    make_learner,
    run,
    state_of,
)
from tests.slow_marks import mark_slow_after


def deep(learn, seconds=1000, **kwargs):
    """As long as a loaded machine takes."""
    return diagnose(learn, batches=1, deep=True, seconds=seconds, **kwargs)


def cut_gradients(callback):
    """At every batch's end, so that no step is of any use: the weights are what they were at first."""
    if not callback.kept:
        callback.kept.extend(p.detach().clone() for p in callback.model.parameters())
    for parameter, kept in zip(callback.model.parameters(), callback.kept):
        parameter.data.copy_(kept)


def with_callback():
    learn = make_learner()
    callback = fastai.listening(cut_gradients, kept=[])
    vars(callback)["model"] = learn.model
    fastai.add_callback(learn, callback)
    return learn


def rising_loss(output, target):
    return -functional.cross_entropy(output, target)


def with_loss():
    learn = make_learner()
    learn.loss_func = rising_loss
    return learn


def forget(module, inputs, output):
    return tuple(0 * part for part in output) if isinstance(output, tuple) else 0 * output


def with_hook():
    learn = make_learner()
    next(m for n, m in learn.model.named_modules() if n.endswith("layer.0.output")).register_forward_hook(forget)
    return learn


def with_weights():
    learn = make_learner()
    for name, parameter in learn.model.named_parameters():
        if "layer.0" in name or "embeddings" in name:
            parameter.data.fill_(float("nan"))
    return learn


def with_rate():
    learn = make_learner()
    learn.fit(1, 1e-9)
    return learn


def all_frozen_but_positions():
    learn = make_learner()
    for name, parameter in learn.model.named_parameters():
        parameter.requires_grad_("position_embeddings" in name)
    return learn


class Constant(nn.Module):
    """A model of one's own that never reads a word."""

    def __init__(self):
        super().__init__()
        self.words, self.score = nn.Embedding(48, 8), nn.Linear(8, 3)

    def forward(self, ids, *others):
        return self.score(self.words(torch.ones_like(ids)).mean(1))


def with_model():
    learn = make_learner()
    learn.model = Constant()
    return learn


FAULTS = {
    "callback": with_callback,
    "loss": with_loss,
    "hook": with_hook,
    "weights": with_weights,
    "rate": with_rate,
    "freezing": all_frozen_but_positions,
    "model": with_model,
}


@pytest.mark.parametrize("kind", mark_slow_after(3, FAULTS))
def test_what_has_to_be_replaced_is_found(kind):
    diagnosis = deep(FAULTS[kind]())
    done = diagnosis.evidence.substitution
    assert [part.kind for part in done.found] == [kind]
    assert done.is_smallest and not done.own.learned and done.cured.learned
    (finding,) = [f for f in diagnosis.findings if f.cause == f"substitution-{kind}"]
    assert finding.severity == "error" and finding.fix and done.found[0].label in finding.message
    if kind in ("callback", "loss", "hook"):
        assert ".py, line " in finding.message


HEALTHY = {
    "classes": fitted,
    "labels": fastai.several_labels,
    "number": fastai.a_number,
}


@pytest.mark.parametrize("kind", mark_slow_after(1, HEALTHY))
def test_nothing_is_found_in_a_sound_learner(kind):
    diagnosis = deep(HEALTHY[kind]())
    done = diagnosis.evidence.substitution
    assert done.own.learned and done.found == [] and diagnosis.evidence.probes[PLANTED].state == MADE
    assert not [cause for cause in diagnosis.causes if cause.startswith("substitution")]
    assert done.own.costs and "the words of ids" in str(diagnosis)


def test_the_fit_that_follows_is_the_same_also_where_every_part_was_replaced():
    assert run(with_hook, deep) == run(with_hook)


@pytest.mark.parametrize("make", [fitted, with_callback])
def test_nothing_of_the_learner_is_another(make):
    learn = make()
    before = state_of(learn)
    deep(learn)
    assert differences(before, state_of(learn)) == []


@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_where_the_time_is_over_the_verdict_is_no_healthy(seconds):
    diagnosis = deep(with_hook(), seconds=seconds)
    probe = diagnosis.evidence.probes[PLANTED]
    assert probe.state == NOT_MADE and "seconds were not enough" in probe.reason
    assert not diagnosis.healthy and diagnosis.lacks_probes


def test_it_tells_where_it_is_and_keeps_to_its_seconds():
    told = []
    diagnosis = deep(with_loss(), progress=lambda *given: told.append(given))
    assert {given[2] for given in told} == {1000} and max(given[1] for given in told) <= 1000
    doing = [given[0] for given in told]
    assert "the learner as it is" in doing and any("replaced: " in one for one in doing)
    assert diagnosis.evidence.seconds >= diagnosis.evidence.substitution.seconds > 0


def test_a_doubt_offers_it_and_no_more_once_it_was_made():
    learn = make_learner()
    learn.validate()
    diagnosis = diagnose(learn, batches=1)
    assert diagnosis.in_doubt == ("deep=True" in str(diagnosis))
    assert "deep=True" not in str(deep(learn))
