"""The callback where fastai's users go after the fit: predict, show_results, Interpretation, export, purge, fp16."""

import pytest
import torch
from torch import nn

pytest.importorskip("fastai.basic_train")

from fastai.basic_train import load_learner
from fastai.metrics import accuracy
from fastai.train import ClassificationInterpretation, Learner, to_fp16  # noqa: F401

from fastai_hf_callback import HFCallback, HFModel
from tests.fastai1.data_block import block_data, trusted_pickles
from tests.fastai1.learners import PAD, make_learner
from tests.tiny_models import tiny_model


@pytest.fixture
def learn(tmp_path):
    learn = Learner(
        block_data(tmp_path),
        HFModel(tiny_model("bert", 3), pad_token_id=PAD),
        metrics=[accuracy],
        silent=True,
        loss_func=nn.CrossEntropyLoss(),
        callbacks=[HFCallback(keep_output=True)],
        path=tmp_path,
    )
    learn.fit(1, 1e-2)
    return learn


def test_predict(learn):
    category, index, probabilities = learn.predict(learn.data.valid_ds.x[0])
    assert learn.callbacks[0].output is None, "nothing is kept after the batch"
    assert str(category) in ("low", "mid", "top") and probabilities.shape == (3,)
    assert probabilities.argmax() == index
    assert torch.allclose(probabilities, learn.get_preds()[0][0], atol=1e-5)


def test_show_results(learn, capsys):
    learn.show_results(rows=2)
    assert any(name in capsys.readouterr().out for name in ("low", "mid", "top"))
    assert [type(cb) for cb in learn.callbacks] == [HFCallback]


def test_interpretation(learn):
    interpretation = ClassificationInterpretation.from_learner(learn)
    losses, rows = interpretation.top_losses(4)
    assert len(losses) == len(rows) == 4 and losses[0] >= losses[-1]
    assert interpretation.confusion_matrix().sum() == 16


def test_export_and_load_learner(learn, tmp_path):
    expected = learn.predict(learn.data.valid_ds.x[3])[2]
    learn.export()
    with trusted_pickles():
        loaded = load_learner(tmp_path)
    assert isinstance(loaded.callbacks[0], HFCallback) and loaded.callbacks[0].keep_output
    assert torch.equal(loaded.predict(learn.data.valid_ds.x[3])[2], expected)


def test_purge(learn):
    before = learn.get_preds()[0]
    with trusted_pickles():
        learn.purge()
    assert [type(cb) for cb in learn.callbacks] == [HFCallback]
    assert torch.equal(learn.get_preds()[0], before)
    learn.fit(1, 1e-2)


def test_save_and_load_between_wrapped_and_bare(learn, tmp_path):
    bare = Learner(
        learn.data,
        tiny_model("bert", 3),
        loss_func=learn.loss_func,
        silent=True,
        path=tmp_path,
        callbacks=[HFCallback()],
    )
    learn.save("wrapped", with_opt=False)
    assert torch.equal(bare.load("wrapped").get_preds()[0], learn.get_preds()[0])
    bare.fit(1, 1e-2)
    bare.save("bare", with_opt=False)
    assert torch.equal(learn.load("bare").get_preds()[0], bare.get_preds()[0])


def test_fp16_on_the_cpu():
    if torch.__version__.startswith("1."):
        pytest.skip("torch 1.x has no half matrix products on the CPU")
    learn = make_learner("bert").to_fp16()
    learn.fit(1, 1e-3)
    assert next(learn.model.parameters()).dtype == torch.float16
    outputs, _ = learn.get_preds()
    assert outputs.dtype == torch.float32 and bool(torch.isfinite(outputs).all())


def test_split_freeze_and_unfreeze():
    learn = make_learner("bert")
    learn.freeze()
    trainable = [name for name, parameter in learn.model.named_parameters() if parameter.requires_grad]
    assert trainable == ["model.classifier.weight", "model.classifier.bias"]
    learn.fit(1, 1e-2)
    learn.unfreeze()
    assert all(parameter.requires_grad for parameter in learn.model.parameters())
    learn.fit(1, slice(1e-4, 1e-2))


def test_data_parallel():
    learn = make_learner("bert")
    learn.model = nn.DataParallel(learn.model)
    learn.create_opt(1e-2)
    learn.fit(1, 1e-2)
    assert set(learn.model.state_dict()) == {f"module.{name}" for name in tiny_model("bert", 3).state_dict()}
