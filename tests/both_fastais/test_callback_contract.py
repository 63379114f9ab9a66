"""One contract for every callback and metric, found by walking the package: what fastai asks of one that lives."""

import copy
import importlib
import inspect
import pickle
import pkgutil
import re
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("fastai")

from fastai.metrics import accuracy

import fastai_hf_callback
from fastai_hf_callback import ColumnwiseAUC, ConstantBaseline, HFCallback, HFModel, WordAccuracy
from tests.installed_fastai import FASTAI, Callback, make_learner, only_on

if FASTAI == 1:
    import fastai.callbacks as fastais_callbacks
    from fastai.basic_train import load_callback, load_learner
    from fastai.train import Learner

    import fastai_hf_callback.fastai1 as room
    from tests.fastai1.data_block import block_data, trusted_pickles
    from tests.fastai1.learners import PAD
    from tests.tiny_models import tiny_model

    KINDS, ORDER = (Callback,), "_order"  # a metric is a callback there
else:
    import fastai.callback as fastais_callbacks
    from fastai.learner import Metric

    import fastai_hf_callback.fastai2 as room

    KINDS, ORDER = (Callback, Metric), "order"

# Each with arguments that are not its defaults.
MADE = {
    HFCallback: dict(element=("logits", 0), check=False, keep_output=True, train_in_float32=False),
    ColumnwiseAUC: dict(name="auc"),
    ConstantBaseline: dict(metric=accuracy, name="base"),
    WordAccuracy: dict(name="words", ahead=1),
}


def classes_of(package, *kinds):
    found = set()
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        try:
            members = vars(importlib.import_module(module.name)).values()
        except (ImportError, NameError):  # some of fastai's own want packages that are not here
            continue
        found |= {m for m in members if inspect.isclass(m) and issubclass(m, kinds) and m.__module__ == module.name}
    return found


def test_every_public_callback_and_metric_is_held_to_the_contract():
    # Never registered by a user; and the doctor, which watches a learner: see test_doctor.py.
    inside_only = {"TraceRecorder", "RawLossForwarder", "StepEventForwarder", "WeightCorrectionsCallback", "Doctor"}
    inside_only.add("RawOutputRecorder")
    public = {cls for cls in classes_of(room, *KINDS) if not cls.__name__.startswith("_")}
    assert {cls.__name__ for cls in public} - inside_only == {cls.__name__ for cls in MADE}


@pytest.mark.parametrize("cls", MADE)
def test_it_has_its_own_init_and_stores_arguments_under_their_names(cls):
    assert inspect.isfunction(cls.__init__) and cls.__init__.__qualname__.startswith(cls.__name__)
    made = cls(**MADE[cls])
    assert {name: getattr(made, name) for name in MADE[cls]} == MADE[cls]
    assert set(inspect.signature(cls).parameters) == set(MADE[cls])


@pytest.mark.parametrize("cls", MADE)
def test_its_arguments_are_those_of_its_twin(cls):
    """The other fastai's class is read, for it cannot be imported here."""
    file = Path(fastai_hf_callback.__file__).parent / f"fastai{3 - FASTAI}" / f"{cls.__module__.rpartition('.')[2]}.py"
    twin = file.read_text(encoding="utf-8").split(f"class {cls.__name__}(")[1]
    arguments = re.split(r"def __init__\(\s*self, ", twin)[1].split("):")[0].split("\n    )")[0]
    names = [part.split(":")[0].strip() for part in arguments.split(",") if ":" in part]
    assert names == list(inspect.signature(cls).parameters)


@pytest.mark.parametrize(
    "survive",
    (
        copy.deepcopy,
        lambda cb: pickle.loads(pickle.dumps(cb)),
        pytest.param(lambda cb: load_callback(type(cb), cb.get_state(), None), marks=only_on(1)),
    ),
    ids=("deepcopy", "pickle", "load_callback"),
)
@pytest.mark.parametrize("cls", MADE)
def test_it_survives(cls, survive):
    again = survive(cls(**MADE[cls]))
    assert {name: getattr(again, name) for name in MADE[cls]} == MADE[cls]


def test_the_callback_runs_before_every_callback_of_fastai():
    orders = {cls.__name__: getattr(cls, ORDER, 0) for cls in classes_of(fastais_callbacks, Callback)}
    assert len(orders) > 15
    assert all(getattr(HFCallback, ORDER) < order for order in orders.values())


@pytest.mark.parametrize("cls", MADE)
def test_nothing_is_held_after_the_fit(cls):
    one = {
        HFCallback: HFCallback(keep_output=True),
        ColumnwiseAUC: ColumnwiseAUC(),
        ConstantBaseline: ConstantBaseline(_share_of_zeros, "base"),
        WordAccuracy: WordAccuracy(),
    }[cls]
    learn = make_learner(
        task="classes" if cls is WordAccuracy else "labels", callbacks=[one if cls is HFCallback else HFCallback()]
    )
    if cls is not HFCallback:
        learn.metrics = [one]
    learn.fit(1, 1e-2)
    kept = {"last_fit"}  # the Recorder's own lists, of single figures
    assert not [name for name, value in vars(one).items() if _holds_tensors(value) and name not in kept]


@only_on(1)
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
