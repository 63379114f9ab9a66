"""One contract for every callback of the package, found by walking it: what fastai 1 asks of a callback that lives."""

import copy
import importlib
import inspect
import pickle
import pkgutil

import pytest
import torch

pytest.importorskip("fastai.basic_train")

import fastai.callbacks
from fastai.basic_train import load_callback, load_learner
from fastai.callback import Callback
from fastai.metrics import accuracy
from fastai.train import Learner
from torch import nn

import fastai_hf_callback.fastai1
from fastai_hf_callback import ColumnwiseAUC, ConstantBaseline, HFCallback, HFModel, WordAccuracy
from tests.fastai1.data_block import block_data, trusted_pickles
from tests.fastai1.learners import PAD, make_learner
from tests.tiny_models import tiny_model

# Each with arguments that are not its defaults.
MADE = {
    HFCallback: dict(element=("logits", 0), check=False, keep_output=True),
    ColumnwiseAUC: dict(name="auc"),
    ConstantBaseline: dict(metric=accuracy, name="base"),
    WordAccuracy: dict(name="words", ahead=1),
}


def callbacks_of(package):
    found = set()
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        try:
            members = vars(importlib.import_module(module.name)).values()
        except (ImportError, NameError):  # some of fastai's own want packages that are not here
            continue
        found |= {m for m in members if inspect.isclass(m) and issubclass(m, Callback) and m.__module__ == module.name}
    return found


def test_every_public_callback_is_held_to_the_contract():
    # Never registered by a user; and the doctor, which holds a learner: see test_doctor.py.
    inside_only = {"TraceRecorder", "RawLossForwarder", "StepEventForwarder", "Doctor"}
    public = {cls for cls in callbacks_of(fastai_hf_callback.fastai1) if not cls.__name__.startswith("_")}
    assert {cls.__name__ for cls in public} - inside_only == {cls.__name__ for cls in MADE}


@pytest.mark.parametrize("cls", MADE)
def test_it_has_its_own_init_and_stores_arguments_under_their_names(cls):
    assert inspect.isfunction(cls.__init__) and cls.__init__.__qualname__.startswith(cls.__name__)
    callback = cls(**MADE[cls])
    assert {name: getattr(callback, name) for name in MADE[cls]} == MADE[cls]
    assert set(inspect.signature(cls).parameters) == set(MADE[cls])


@pytest.mark.parametrize(
    "survive",
    (
        copy.deepcopy,
        lambda cb: pickle.loads(pickle.dumps(cb)),
        lambda cb: load_callback(type(cb), cb.get_state(), None),
    ),
    ids=("deepcopy", "pickle", "load_callback"),
)
@pytest.mark.parametrize("cls", MADE)
def test_it_survives(cls, survive):
    again = survive(cls(**MADE[cls]))
    assert {name: getattr(again, name) for name in MADE[cls]} == MADE[cls]


def test_the_callback_runs_before_every_callback_of_fastai():
    orders = {cls.__name__: getattr(cls, "_order", 0) for cls in callbacks_of(fastai.callbacks)}
    assert len(orders) > 15
    assert all(HFCallback._order < order for order in orders.values())


@pytest.mark.parametrize("cls", MADE)
def test_nothing_is_held_after_the_fit(cls):
    learn = make_learner(task="classes" if cls is WordAccuracy else "labels")
    callback = {
        HFCallback: HFCallback(keep_output=True),
        ColumnwiseAUC: ColumnwiseAUC(),
        ConstantBaseline: ConstantBaseline(_share_of_zeros, "base"),
        WordAccuracy: WordAccuracy(),
    }[cls]
    if cls is HFCallback:
        learn.callbacks = [callback]
    else:
        learn.metrics = [callback]
    learn.fit(1, 1e-2)
    assert not [name for name, value in vars(callback).items() if _holds_tensors(value)]


def test_purge_export_and_load_keep_callback_and_metrics(tmp_path):
    learn = Learner(
        block_data(tmp_path),
        HFModel(tiny_model("bert", 3), pad_token_id=PAD),
        silent=True,
        path=tmp_path,
        loss_func=nn.CrossEntropyLoss(),
        metrics=[accuracy, ConstantBaseline(accuracy)],
        callbacks=[HFCallback(keep_output=True)],
    )
    learn.fit(1, 1e-2)
    with trusted_pickles():
        learn.purge()
        learn.fit(1, 1e-2)
        learn.export()
        loaded = load_learner(tmp_path)
    for one in (learn, loaded):
        assert [type(cb) for cb in one.callbacks] == [HFCallback] and one.callbacks[0].keep_output
        assert [type(metric) for metric in one.metrics[1:]] == [ConstantBaseline]


def _share_of_zeros(outputs, targets):
    return ((outputs > 0) == (targets > 0)).float().mean()


def _holds_tensors(value):
    return isinstance(value, torch.Tensor) or isinstance(value, (list, tuple)) and any(map(_holds_tensors, value))
