"""``Doctor`` on either fastai watches a fit, changes nothing of it, and speaks at the first sound evidence."""

import pytest
import torch

from fastai_hf_callback import HFCallback, diagnose
from fastai_hf_callback.results.finding import Finding
from fastai_hf_callback.utils.rng import seed_everything
from tests.diagnosis.learner_states import fastai, make_learner
from tests.slow_marks import mark_slow_after


def watched(learn, fit=lambda learn: learn.fit(2, 1e-3), **kwargs):
    """What was said, and the doctor."""
    said = []
    doctor = fastai.add_doctor(learn, say=said.append, **kwargs)
    fit(learn)
    return said, doctor


@pytest.mark.parametrize("model", mark_slow_after(1, ["bert", *fastai.ARCHITECTURES]))
def test_weights_are_bit_for_bit_those_of_a_fit_without_it(model):
    def fit(with_doctor):
        seed_everything(3)
        learn = make_learner(model)
        if with_doctor:
            fastai.add_doctor(learn)
        learn.fit_one_cycle(2, 1e-3)
        return learn

    watched, alone = fit(True), fit(False)
    for name, weight in alone.model.state_dict().items():
        assert torch.equal(weight, watched.model.state_dict()[name]), name
    assert [float(v) for v in watched.recorder.losses] == [float(v) for v in alone.recorder.losses]


def test_speaks_in_the_first_step_and_says_each_cause_once():
    said, doctor = watched(fastai.detaching(), every=1)
    assert said[0].startswith("Doctor, step 1: error: output-detached") and "fix:" in said[0]
    assert sum("output-detached - " in text for text in said) == 1
    assert doctor.diagnosis.causes[0] == "output-detached"


def test_a_doctor_that_fails_does_not_end_the_fit(monkeypatch):
    monkeypatch.setattr("fastai_hf_callback.diagnosis.probes.steps.StepMonitor.begin_batch", lambda *args: 1 / 0)
    _, doctor = watched(make_learner())
    assert any("ZeroDivisionError" in text for text in doctor.diagnosis.evidence.skipped)


def test_a_range_test_is_no_fault_and_a_fit_at_such_a_rate_is(tmp_path):
    said, _ = watched(make_learner(path=tmp_path), fastai.find_lr)
    assert said == []
    said, _ = watched(make_learner(), lambda learn: learn.fit(2, 10.0))
    assert said != []


def test_is_silent_outside_of_a_fit_and_holds_nothing_of_it_afterwards():
    learn = make_learner()
    doctor = fastai.add_doctor(learn)
    learn.validate()
    learn.get_preds()
    assert doctor.diagnosis is None
    learn.fit(1, 1e-3)
    found = doctor.diagnosis
    assert "gradients" in found.evidence.examined
    assert tensors_held_by(doctor) == []
    learn.validate()
    assert doctor.diagnosis is found


def tensors_held_by(doctor):
    return [
        name
        for holder in (doctor, doctor.monitor)
        for name, value in vars(holder).items()
        if isinstance(value, torch.Tensor)
        or isinstance(value, list)
        and any(isinstance(v, torch.Tensor) for v in value)
    ]


def test_a_tensor_that_is_held_would_be_seen():
    doctor = fastai.add_doctor(make_learner())
    doctor.monitor._outputs.append(torch.zeros(()))
    assert tensors_held_by(doctor) == ["_outputs"]


# -- and diagnose, afterwards ------------------------------------------------------------------------------------


def test_what_doctor_saw_puts_a_healthy_verdict_in_doubt_until_the_weights_are_others():
    learn = make_learner()
    fastai.add_doctor(learn, say=lambda line: None)
    learn.fit(1, 1e-3)
    assert diagnose(learn).evidence.watched == []
    learn.doctor.monitor._last_diagnosis.findings.append(Finding("gradients-never-zeroed", "warning", "m", {}, "fix"))
    found = diagnose(learn)
    assert "seen-in-the-last-fit" in found.causes and found.in_doubt and not found.healthy
    with torch.no_grad():
        next(learn.model.parameters()).add_(1e-3)
    found = diagnose(learn)
    assert found.evidence.watched is None and "seen-in-the-last-fit" not in found.causes


def test_diagnose_reads_losses_that_fastai_has_erased():
    learn = make_learner()
    fastai.add_doctor(learn, say=lambda line: None)
    learn.fit(1, 1e-3)
    learn.recorder.losses = []  # as fastai 2's validate and get_preds do
    for callback in [cb for cb in getattr(learn, "cbs", None) or learn.callbacks if isinstance(cb, HFCallback)]:
        callback.last_fit = None  # as where the user's own callback unwraps the output
    assert len(diagnose(learn).evidence.history.losses) == len(learn.doctor.diagnosis.evidence.history.losses) > 3


def test_doctor_says_of_what_diagnose_has_found_that_it_is_still_so():
    learn = fastai.detaching()
    said = []
    fastai.add_doctor(learn, say=said.append, every=1)
    assert "output-detached" in diagnose(learn).causes
    learn.fit(1, 1e-3)
    assert said[0].startswith("Doctor, step 1: error: output-detached, as diagnose(learn) said\n  fix:")
