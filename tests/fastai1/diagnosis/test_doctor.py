"""``Doctor`` watches a fit, changes nothing of it, and speaks at the first sound evidence."""

import pytest
import torch
from fastai.basic_train import load_learner
from fastai.callback import Callback
from fastai.train import Learner

from fastai_hf_callback import Doctor, HFCallback, HFModel
from fastai_hf_callback.utils.rng import seed_everything
from tests.fastai1.data_block import block_data, trusted_pickles
from tests.fastai1.learners import PAD, make_learner
from tests.tiny_models import tiny_model


class Detaches(Callback):
    _order = -500

    def on_loss_begin(self, last_output, **kwargs):
        return {"last_output": last_output.detach().requires_grad_()}


def broken():
    return make_learner(callbacks=[HFCallback(check=False), Detaches()])


@pytest.mark.parametrize(
    "model", ["bert", *(pytest.param(name, marks=pytest.mark.slow) for name in ("xlnet", "distilbert", "gpt2", "xlm"))]
)
def test_weights_are_bit_for_bit_those_of_a_fit_without_it(model):
    def fit(doctor):
        seed_everything(3)
        learn = make_learner(model, callback_fns=[Doctor] if doctor else [])
        learn.fit_one_cycle(2, 1e-3)
        return learn

    watched, alone = fit(True), fit(False)
    for name, weight in alone.model.state_dict().items():
        assert torch.equal(weight, watched.model.state_dict()[name]), name
    assert [float(v) for v in watched.recorder.losses] == [float(v) for v in alone.recorder.losses]


def test_speaks_in_the_first_step():
    said = []
    learn = broken()
    learn.callbacks.append(Doctor(learn, say=said.append))
    learn.fit(1, 1e-3)
    assert said[0].startswith("Doctor, step 1: error: output-detached")
    assert "fix:" in said[0]
    assert learn.callbacks[-1].diagnosis.causes[0] == "output-detached"


def test_says_each_cause_once():
    said = []
    learn = broken()
    learn.callbacks.append(Doctor(learn, every=1, say=said.append))
    learn.fit(2, 1e-3)
    assert sum("output-detached - " in text for text in said) == 1


def test_as_callback_fns_it_is_found_on_the_learner():
    learn = make_learner(callback_fns=[Doctor])
    assert not hasattr(learn, "doctor")
    learn.fit(1, 1e-3)
    assert learn.doctor.diagnosis.healthy
    assert "gradients" in learn.doctor.diagnosis.evidence.examined


def test_a_failing_fit_is_explained_and_still_raises():
    learn = make_learner(callbacks=[])
    doctor = Doctor(learn, say=lambda text: None)
    learn.callbacks.append(doctor)
    with pytest.raises((TypeError, AttributeError)):
        learn.fit(1, 1e-3)
    assert doctor.diagnosis.causes[0] == "output-not-unwrapped"


def test_a_doctor_that_fails_does_not_end_the_fit(monkeypatch):
    learn = make_learner()
    doctor = Doctor(learn)
    learn.callbacks.append(doctor)
    monkeypatch.setattr("fastai_hf_callback.diagnosis.probes.steps.StepMonitor.begin_batch", lambda *args: 1 / 0)
    learn.fit(1, 1e-3)
    assert any("ZeroDivisionError" in text for text in doctor.diagnosis.evidence.skipped)


def test_holds_nothing_of_the_fit_afterwards():
    learn = make_learner(callback_fns=[Doctor])
    learn.fit(1, 1e-3)
    kept = [
        name
        for name, value in vars(learn.doctor).items()
        if isinstance(value, torch.Tensor)
        or isinstance(value, list)
        and any(isinstance(v, torch.Tensor) for v in value)
    ]
    assert kept == []


def test_a_range_test_is_no_fault(tmp_path):
    said = []
    learn = make_learner(path=tmp_path)
    learn.callbacks.append(Doctor(learn, say=said.append))
    learn.lr_find(end_lr=100, num_it=60)
    assert said == []


def test_a_fit_at_such_a_rate_is():
    said = []
    learn = make_learner()
    learn.callbacks.append(Doctor(learn, say=said.append))
    learn.fit(2, 1.0)
    assert any("learning-rate-too-high" in text for text in said)


def test_is_silent_outside_of_a_fit():
    learn = make_learner()
    learn.callbacks.append(Doctor(learn))
    learn.validate()
    learn.get_preds()
    assert learn.callbacks[-1].diagnosis is None


def test_a_learner_with_it_survives_export_and_load_learner(tmp_path):
    learn = Learner(
        block_data(tmp_path),
        HFModel(tiny_model("bert", 3), pad_token_id=PAD),
        silent=True,
        path=tmp_path,
        loss_func=torch.nn.CrossEntropyLoss(),
        callbacks=[HFCallback()],
    )
    learn.callbacks.append(Doctor(learn, every=7))
    learn.export()
    with trusted_pickles():
        loaded = load_learner(tmp_path)
    doctor = loaded.callbacks[-1]
    assert type(doctor) is Doctor and doctor.every == 7 and doctor.learn is loaded and doctor.diagnosis is None
