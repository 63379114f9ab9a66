"""``Doctor`` where fastai 1 differs: ``callback_fns``, exceptions, ``export``; ``tests/diagnosis`` has the rest."""

import pytest
import torch
from fastai.basic_train import load_learner
from fastai.train import Learner

from fastai_hf_callback import Doctor, HFCallback, HFModel
from tests.fastai1.data_block import block_data, trusted_pickles
from tests.fastai1.learners import PAD, make_learner
from tests.tiny_models import tiny_model


def test_as_callback_fns_it_is_found_on_the_learner():
    torch.manual_seed(0)  # in other orders eight rows may begin alike by chance, which the doctor takes for padding
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


def test_a_fit_at_such_a_rate_is():
    said = []
    learn = make_learner()
    learn.callbacks.append(Doctor(learn, say=said.append))
    learn.fit(2, 1.0)
    assert any("learning-rate-too-high" in text for text in said)


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
