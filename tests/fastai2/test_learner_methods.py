"""The callback where fastai's users go with a fit: predict, show_results, Interpretation, export, callbacks, fp16."""

import warnings

import pytest
import torch
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.progress import CSVLogger
from fastai.callback.schedule import SuggestionMethod
from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback
from fastai.callback.training import GradientAccumulation, GradientClip
from fastai.interpret import ClassificationInterpretation, Interpretation
from fastai.learner import Learner, load_learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from torch import nn

from fastai_hf_callback import ConstantBaseline, HFCallback, HFModel, layer_groups
from tests.fastai2.data_block import NAMES, block_loaders
from tests.fastai2.learners import PAD, make_learner, without_progress_bar
from tests.tiny_models import tiny_transformers_model


@pytest.fixture
def learn(tmp_path):
    model = HFModel(tiny_transformers_model("bert", 3), inputs=("input_ids", "attention_mask"), pad_token_id=PAD)
    learn = without_progress_bar(
        Learner(
            block_loaders(tmp_path),
            model,
            loss_func=CrossEntropyLossFlat(),
            path=tmp_path,
            cbs=[HFCallback(keep_output=True)],
            metrics=[accuracy, ConstantBaseline(accuracy)],
            splitter=layer_groups,
        )
    )
    learn.fit(1, 1e-2)
    return learn


def test_predict(learn):
    item = learn.dls.valid_ds.items[0]
    category, index, probabilities = learn.predict(item)
    assert learn.hf.output is None, "nothing is kept after the batch"
    assert str(category) in NAMES and probabilities.shape == (3,) and probabilities.argmax() == index
    assert torch.allclose(probabilities, learn.get_preds()[0][0], atol=1e-5)


def test_show_results(learn, capsys):
    learn.show_results(max_n=2, shuffle=False)
    shown = capsys.readouterr().out
    assert any(name in shown for name in NAMES), shown


def test_interpretation(learn):
    interpretation = ClassificationInterpretation.from_learner(learn)
    losses, rows = interpretation.top_losses(4)
    assert len(losses) == len(rows) == 4 and losses[0] >= losses[-1]
    assert interpretation.confusion_matrix().sum() == 16
    assert Interpretation.from_learner(learn).losses.shape == (16,)


def test_export_and_load_learner(learn, tmp_path):
    item = learn.dls.valid_ds.items[3]
    expected = learn.predict(item)[2]
    learn.export()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = load_learner(tmp_path / "export.pkl")
    assert isinstance(loaded.hf, HFCallback) and loaded.hf.keep_output and loaded.hf.learn is loaded
    assert torch.equal(loaded.predict(item)[2], expected)
    learn.fit(1, 1e-2)


def test_save_and_load_between_wrapped_and_bare(learn, tmp_path):
    bare = without_progress_bar(
        Learner(
            learn.dls, tiny_transformers_model("bert", 3), loss_func=learn.loss_func, path=tmp_path, cbs=[HFCallback()]
        )
    )
    learn.save("wrapped", with_opt=False)
    bare.load("wrapped", with_opt=False)
    assert torch.equal(bare.get_preds()[0], learn.get_preds()[0])
    bare.fit(1, 1e-2)
    bare.save("bare", with_opt=False)
    learn.load("bare", with_opt=False)
    assert torch.equal(bare.get_preds()[0], learn.get_preds()[0])


def test_lr_find_with_every_suggestion(learn):
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    methods = (SuggestionMethod.Valley, SuggestionMethod.Slide, SuggestionMethod.Minimum, SuggestionMethod.Steep)
    found = learn.lr_find(num_it=30, suggest_funcs=methods, show_plot=False)
    assert len(found) == 4 and all(lr > 0 for lr in found)
    assert all(torch.equal(value, before[name]) for name, value in learn.model.state_dict().items())


@pytest.mark.parametrize("fit", ("fit", "fit_one_cycle", "fit_flat_cos", "fine_tune"))
def test_every_way_to_fit(learn, fit):
    getattr(learn, fit)(1, 1e-3)
    assert len(learn.recorder.losses) == 2


def test_accumulation_and_clipping(learn):
    learn.fit(2, 1e-2, cbs=[GradientAccumulation(n_acc=16), GradientClip(0.1)])
    assert len(learn.recorder.values) == 2


def test_saved_stopped_and_logged(learn, tmp_path):
    learn.fit(
        4,
        1e-2,
        cbs=[
            SaveModelCallback(fname="best"),
            CSVLogger(),
            EarlyStoppingCallback(monitor="accuracy", patience=1, min_delta=1.0),
        ],
    )
    assert (tmp_path / "models" / "best.pth").is_file()
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert lines[0].startswith("epoch,train_loss,valid_loss,accuracy,base_accuracy") and len(lines) == 3


@pytest.mark.filterwarnings("ignore:User provided device_type of 'cuda'", "ignore:torch.cuda")
@pytest.mark.parametrize("mode", ("to_fp16", "to_bf16"))
def test_mixed_precision(mode):
    learn = getattr(make_learner("bert"), mode)()
    if torch.cuda.is_available():
        pytest.skip("the tests run on the CPU; the GPU's own are apart")
    learn.fit(1, 1e-3)
    outputs, _ = learn.get_preds()
    assert outputs.dtype == torch.float32 and bool(torch.isfinite(outputs).all())
    assert learn.ordered_cbs("after_pred")[0] is learn.hf
    learn.remove_cb(MixedPrecision)


def test_data_parallel():
    learn = make_learner("bert")
    learn.model = nn.DataParallel(learn.model)
    learn.create_opt()
    learn.fit(1, 1e-2)
    assert set(learn.model.state_dict()) == {
        f"module.{name}" for name in tiny_transformers_model("bert", 3).state_dict()
    }
