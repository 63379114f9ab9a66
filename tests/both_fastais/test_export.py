"""``export_learner``: what is exported predicts the same, and what cannot be is named and changes nothing."""

import threading
from functools import partial

import pytest
import torch

pytest.importorskip("fastai")

from fastai_hf_callback import ExportError, HFCallback, HFModel, export_learner, text_data, trusted
from tests.installed_fastai import build_tiny_model
from tests.installed_stack import FASTAI_1, is_installed
from tests.message_triggers import make_tokenizer
from tests.tiny_models import tiny_transformers_model
from tests.tiny_texts import frame

if FASTAI_1:
    from fastai.basic_train import Learner, load_learner
    from fastai.metrics import accuracy
else:
    from fastai.learner import Learner, load_learner
    from fastai.metrics import accuracy

    from tests.fastai2.learners import without_progress_bar

TEXT = "the fox hides near the elm"


def build_learner(path, model=None, metrics=(accuracy,), **wrapped):
    data = text_data(
        frame(40),
        frame(16, 1),
        make_tokenizer(),
        text="text",
        labels="kind",
        max_length=16,
        bs=8,
        progress=False,
        path=path,
    )
    model = HFModel(model or build_tiny_model("bert", data.c), inputs=data.inputs, **wrapped)
    if FASTAI_1:
        return Learner(data, model, metrics=list(metrics), callbacks=[HFCallback()], silent=True, path=path)
    return without_progress_bar(Learner(data, model, metrics=list(metrics), cbs=[HFCallback()], path=path))


def load(file):
    if FASTAI_1:
        with trusted(file):
            return load_learner(file.parent, file.name)
    return without_progress_bar(load_learner(file))


def belongings(learn):
    """Return what an export must leave: the very objects, and the weights."""
    data = learn.data if FASTAI_1 else learn.dls
    rows = [len(data.train_ds), len(data.valid_ds)]
    callbacks = list(learn.callbacks if FASTAI_1 else learn.cbs)
    return (
        rows,
        data,
        learn.opt,
        learn.loss_func,
        callbacks,
        sorted(vars(learn)),
        [id(p) for p in learn.model.parameters()],
    )


def test_what_is_exported_predicts_the_same_and_the_learner_trains_on(tmp_path):
    learn, other = build_learner(tmp_path), build_learner(tmp_path)
    other.model.load_state_dict(learn.model.state_dict())
    learn.fit(1, 1e-2)
    before = belongings(learn)
    file = export_learner(learn, "models/first.pkl")
    assert file == tmp_path / "models" / "first.pkl" and [f.name for f in file.parent.iterdir()] == ["first.pkl"]
    assert belongings(learn) == before
    assert torch.equal(load(file).predict(TEXT)[2], learn.predict(TEXT)[2])
    assert not torch.equal(learn.predict(TEXT)[2], other.predict(TEXT)[2])
    learn.fit(1, 1e-2)


@pytest.mark.skipif(not is_installed("transformers"), reason="pytorch-transformers leaves no hooks")
@pytest.mark.parametrize("how", ["export_learner", "learn.export"])
def test_after_attentions_too_and_the_loaded_learner_gives_them(how, tmp_path):
    model = tiny_transformers_model("bert", 3)
    model.set_attn_implementation("eager")
    learn = build_learner(tmp_path, model, forward_kwargs={"output_attentions": True})
    learn.fit(1, 1e-2)
    if how == "export_learner":
        export_learner(learn)
    else:
        learn.export()
    loaded = load(tmp_path / "export.pkl")
    assert torch.allclose(loaded.predict(TEXT)[2], learn.predict(TEXT)[2], atol=1e-6)
    ids = torch.ones(2, 4, dtype=torch.int64)
    for one in (loaded, learn):
        assert len(one.model(input_ids=ids).attentions) == 2, "the constant is exported, and works"


class Held:
    """A metric that holds something."""

    __name__ = "held"

    def __init__(self, held):
        self.held = held

    def __call__(self, outputs, targets):
        return accuracy(outputs, targets)


FAULTS = {
    "lock in a metric": (lambda learn: learn.metrics.append(Held(threading.Lock())), r"metrics\[1\].*held is a lock"),
    "model": (lambda learn: setattr(learn.model.model, "log", threading.Lock()), r"learn.model.model.log is a lock"),
    "loss": (
        lambda learn: setattr(learn, "loss_func", partial(learn.loss_func, reduction=threading.Lock())),
        r"learn.loss_func.keywords\['reduction'\] is a lock",
    ),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_what_cannot_be_pickled_is_named_and_nothing_is_lost(fault, tmp_path):
    spoil, said = FAULTS[fault]
    learn = build_learner(tmp_path)
    learn.fit(1, 1e-2)
    file = export_learner(learn)
    old, expected = file.read_bytes(), learn.predict(TEXT)[2]
    spoil(learn)
    before = belongings(learn)
    with pytest.raises(ExportError, match=said) as raised:
        export_learner(learn)
    assert raised.value.cause == "cannot-be-pickled" and "Write " in str(raised.value)
    assert file.read_bytes() == old and belongings(learn) == before
    assert [f.name for f in tmp_path.iterdir() if f.suffix == ".tmp"] == []
    learn.metrics[1:] = []
    if fault != "loss":
        assert torch.equal(learn.predict(TEXT)[2], expected)
        learn.fit(1, 1e-2)


@pytest.mark.skipif(FASTAI_1, reason="fastai 1 keeps rows and optimizer")
def test_fastais_own_export_would_lose_rows_and_optimizer(tmp_path):
    learn = build_learner(tmp_path)
    learn.fit(1, 1e-2)
    learn.model.model.log = threading.Lock()
    with pytest.raises(TypeError):
        learn.export()
    assert len(learn.dls.train_ds) == 0 and learn.opt is None


@pytest.mark.skipif(not FASTAI_1, reason="fastai 2 pickles lambdas and classes of a function")
def test_a_lambda_and_a_local_class_are_named(tmp_path):
    learn = build_learner(tmp_path)
    learn.callbacks[0].element = lambda output: output[0]
    with pytest.raises(
        ExportError, match=r"learn.callbacks\[0\].element is a lambda, and .* Write a function with a name"
    ):
        export_learner(learn)
    learn.callbacks[0].element = None

    class Local(Held):
        pass

    learn.metrics.append(Local(1))
    with pytest.raises(
        ExportError, match=r"learn.metrics\[1\] is of the class .*Local, and .* Write the class at the top"
    ):
        export_learner(learn)
