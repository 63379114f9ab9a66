"""No verdict says more than was seen: whatever of a learner is broken, it is not healthy, and what is whole is."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

from fastai_hf_callback import diagnose
from fastai_hf_callback.diagnosis import probe_runner
from fastai_hf_callback.diagnosis.examination import Examination
from fastai_hf_callback.results.finding import SEVERITIES
from fastai_hf_callback.results.probes import DOES_NOT_APPLY, FAILED, MADE, NOT_MADE, PROBES, begin_probes
from tests.diagnosis.learner_states import fastai, fitted, make_learner
from tests.installed_stack import FASTAI_1
from tests.slow_marks import mark_slow_after


class LostError(Exception):
    """What the learner's own objects raise here."""


def lose(*args, **kwargs):
    raise LostError("it is lost")


def datasets(learn):
    """The training and the validation set."""
    if FASTAI_1:
        return learn.data.train_dl.dl.dataset, learn.data.valid_dl.dl.dataset
    return learn.dls.train.dataset, learn.dls.valid.dataset


class LosesRows(TensorDataset):
    """Raises from one row on, and from none before it was told which."""

    lost_from = 0

    def __getitem__(self, index):
        return lose() if index >= self.lost_from else super().__getitem__(index)


def lose_rows(dataset, start):
    dataset.__class__, dataset.lost_from = LosesRows, start


def with_callback(event_of_batch):
    return lambda learn: fastai.add_callback(learn, fastai.listening(event_of_batch))


def set_loss(loss_func):
    def set_it(learn):
        learn.loss_func = loss_func

    return set_it


def set_metrics(learn):
    learn.metrics = type(learn.metrics)([*learn.metrics[:0], *fastai.as_metrics(lose)])


def lose_forward(learn):
    learn.model.forward = lose


def freeze_all(learn):
    for parameter in learn.model.parameters():
        parameter.requires_grad_(False)


class Parameterless(nn.Module):
    def forward(self, ids, mask):
        return ids[:, :3].float()


def without_parameters(learn):
    learn.model = Parameterless()


def with_nan(learn):
    with torch.no_grad():
        next(learn.model.parameters()).fill_(float("nan"))


# What is done to a whole learner -> the cause of its finding; None for a doubt without one.
BREAKAGES = {
    "the model raises": (lose_forward, "unknown-failure"),
    "the loss raises": (set_loss(lose), "unknown-failure"),
    "the loss is a dict": (set_loss(lambda output, target: {"loss": output.sum()}), "loss-not-a-tensor"),
    "the loss is None": (set_loss(lambda output, target: None), "loss-not-a-tensor"),
    "the metric raises": (set_metrics, "metric-fails"),
    "a callback raises": (with_callback(lose), "unknown-failure"),
    "no training row can be read": (lambda learn: lose_rows(datasets(learn)[0], 0), "unknown-failure"),
    "a later training row cannot be read": (lambda learn: lose_rows(datasets(learn)[0], 47), "unknown-failure"),
    "no validation row can be read": (lambda learn: lose_rows(datasets(learn)[1], 0), "unknown-failure"),
    "a later validation row cannot be read": (lambda learn: lose_rows(datasets(learn)[1], 20), "unknown-failure"),
    "everything is frozen": (freeze_all, "everything-frozen"),
    "there are no parameters": (without_parameters, "everything-frozen"),
    "a weight is lost": (with_nan, "non-finite-weights"),
}


def require_unhealthy(diagnosis):
    """Whatever it is, it is no health: in words, in JSON, in exit codes."""
    told = json.loads(diagnosis.to_json())
    assert not diagnosis.healthy and not told["healthy"] and told["exit_code"] == 1
    assert told["in_doubt"] == diagnosis.in_doubt == str(diagnosis).startswith("IN DOUBT")
    assert "HEALTHY" not in str(diagnosis)
    assert diagnosis.exit_code("note") == diagnosis.exit_code("warning") == 1
    assert diagnosis.exit_code("error") == 1, "an error was found, or may be where nothing was seen"


@pytest.mark.parametrize("name", mark_slow_after(6, BREAKAGES))
def test_what_is_broken_is_found(name):
    broken, cause = BREAKAGES[name]
    learn = make_learner()
    broken(learn)
    diagnosis = diagnose(learn)
    require_unhealthy(diagnosis)
    assert cause in diagnosis.causes
    if cause == "unknown-failure":
        found = next(finding for finding in diagnosis.findings if finding.cause == cause)
        assert "it is lost (in lose, test_verdict.py, line" in found.message and found.fix


@settings(deadline=None, max_examples=6)
@given(st.sets(st.sampled_from(sorted(BREAKAGES)), min_size=2, max_size=4), st.integers(1, 5))
def test_whatever_is_broken_together_nothing_escapes(names, batches):
    learn = make_learner()
    for name in sorted(names):
        BREAKAGES[name][0](learn)
    require_unhealthy(diagnose(learn, batches))


@pytest.mark.parametrize("name", mark_slow_after(4, sorted(set(BREAKAGES) - {"a weight is lost"})))
def test_a_fit_that_died_is_not_healthy_either(name):
    learn = make_learner()
    doctor = fastai.add_doctor(learn, say=lambda text: None)
    BREAKAGES[name][0](learn)
    with pytest.raises(Exception):  # noqa: B017  whatever it is
        learn.fit(1, 1e-3)
        raise LostError("went through")
    if doctor.diagnosis is not None:  # no batch was begun
        require_unhealthy(doctor.diagnosis)


# -- what is whole is healthy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", mark_slow_after(2, [make_learner, fitted, *fastai.WHOLE]))
def test_what_is_whole_is_in_no_doubt(make):
    diagnosis = diagnose(make())
    assert diagnosis.exit_code() == 0 and str(diagnosis).startswith("HEALTHY"), str(diagnosis)
    assert [p.name for p in diagnosis.evidence.probes.values() if p.state in (FAILED, NOT_MADE)] == []
    assert all(p.reason for p in diagnosis.evidence.probes.values() if p.state == DOES_NOT_APPLY)


def test_what_does_not_apply_says_why():
    learn = make_learner()
    learn.metrics = learn.metrics[:0]
    lines = str(diagnose(learn)).splitlines()
    assert "  metrics       does not apply: the learner has none" in lines
    assert "  the last fit  does not apply: no fit yet" in lines


def test_a_callback_that_is_not_run_is_named():
    idle = type("Saves", (type(fastai.listening(lose)).__mro__[1],), {})()
    learn = fastai.learner_with(idle)
    said = str(diagnose(learn)).splitlines()
    assert said[0].startswith("HEALTHY") and said[0].endswith("; did not run Saves")
    assert any("may write files: Saves" in line for line in said)


def test_after_validate_the_last_fit_is_what_it_was():
    learn = fitted()
    before = diagnose(learn).evidence.history
    learn.validate()
    learn.get_preds()
    after = diagnose(learn).evidence
    assert before is not None and after.history == before and after.probes["the last fit"].state == MADE


def test_a_range_test_is_no_fit(tmp_path):
    learn = make_learner(path=tmp_path)
    fastai.find_lr(learn)
    diagnosis = diagnose(learn)
    assert diagnosis.evidence.probes["the last fit"].state == DOES_NOT_APPLY and not diagnosis.in_doubt


# -- the table -------------------------------------------------------------------------------------------------------


def test_every_probe_has_a_row(monkeypatch):
    """A probe that the table lacks is a KeyError; a row that no probe settles is left blank."""
    learn = fitted()
    states = {name: p.state for name, p in diagnose(learn).evidence.probes.items()}
    assert set(states) == {probe.name for probe in PROBES} and NOT_MADE not in states.values()
    with pytest.raises(KeyError, match="a new one"):
        probe_runner.attempt(Examination(fastai.adapt(learn), 1).evidence, "a new one", lambda: None)
    names = [probe.name for probe in PROBES]
    assert len(set(names)) == len(names)
    assert all((probe.part_of or probe.needs or names[0]) in names[: i + 1] for i, probe in enumerate(PROBES))
    assert set(begin_probes(in_fit=True)) < set(begin_probes())


@pytest.mark.parametrize("name", ["inputs", "outputs", "loss", "targets", "metrics", "fitting one batch"])
def test_a_probe_that_fails_of_itself_is_a_doubt(name, monkeypatch):
    attempt = probe_runner.attempt

    def failing(evidence, asked, action, *args):
        return attempt(evidence, asked, (lambda: 1 / 0) if asked == name else action, *args)

    for module in ("examination", "training_steps"):
        monkeypatch.setattr(f"fastai_hf_callback.diagnosis.{module}.attempt", failing)
    monkeypatch.setattr(probe_runner, "was_raised_here", lambda error: isinstance(error, ZeroDivisionError))
    diagnosis = diagnose(make_learner())
    require_unhealthy(diagnosis)
    assert diagnosis.in_doubt and diagnosis.evidence.probes[name].state == NOT_MADE
    assert "ZeroDivisionError" in str(diagnosis) and "not made: " in str(diagnosis)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_doubtful_note_counts_below_errors(severity):
    from fastai_hf_callback.diagnosis.diagnosis import build_diagnosis
    from tests.recorded_evidence import evidence_with

    doubtful = build_diagnosis(evidence_with(history__losses=[1.1] * 30, loss__constant=1.09))
    assert doubtful.in_doubt and doubtful.exit_code(severity) == (severity != "error")
