"""One contract for every callback and metric of the room, found by walking it: what fastai 2 asks of one that lives."""

import copy
import importlib
import inspect
import pickle
import pkgutil

import fastai.callback
import pytest
import torch
from fastai.callback.core import Callback
from fastai.learner import Metric
from fastai.metrics import accuracy

import fastai_hf_callback.fastai2
from fastai_hf_callback import ColumnwiseAUC, ConstantBaseline, HFCallback, WordAccuracy
from tests.fastai2.learners import make_learner

# Each with arguments that are not its defaults.
MADE = {
    HFCallback: dict(element=("logits", 0), check=False, keep_output=True),
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
    inside_only = {"TraceRecorder", "RawLossForwarder", "StepEventForwarder", "Doctor"}
    public = {
        cls for cls in classes_of(fastai_hf_callback.fastai2, Callback, Metric) if not cls.__name__.startswith("_")
    }
    assert {cls.__name__ for cls in public} - inside_only == {cls.__name__ for cls in MADE}


@pytest.mark.parametrize("cls", MADE)
def test_it_stores_arguments_under_their_names(cls):
    made = cls(**MADE[cls])
    assert {name: getattr(made, name) for name in MADE[cls]} == MADE[cls]
    assert set(inspect.signature(cls).parameters) == set(MADE[cls])


@pytest.mark.parametrize("cls", MADE)
def test_its_arguments_are_those_of_its_twin_for_fastai_1(cls):
    path = fastai_hf_callback.fastai2.__path__[0].replace("fastai2", "fastai1")
    room = cls.__module__.rsplit(".", 1)[-1]
    with open(f"{path}/{room}.py", encoding="utf-8") as file:
        twin = file.read().split(f"class {cls.__name__}(")[1].split("def __init__(self, ")[1].split("):")[0]
    own = str(inspect.signature(cls.__init__))[len("(self, ") : -1]
    assert [part.split(":")[0].strip() for part in twin.split(",") if ":" in part] == list(
        inspect.signature(cls).parameters
    ), own


@pytest.mark.parametrize(
    "survive", (copy.deepcopy, lambda cb: pickle.loads(pickle.dumps(cb))), ids=("deepcopy", "pickle")
)
@pytest.mark.parametrize("cls", MADE)
def test_it_survives(cls, survive):
    again = survive(cls(**MADE[cls]))
    assert {name: getattr(again, name) for name in MADE[cls]} == MADE[cls]


def test_the_callback_runs_before_every_callback_of_fastai():
    orders = {cls.__name__: cls.order for cls in classes_of(fastai.callback, Callback)}
    assert len(orders) > 15
    assert all(HFCallback.order < order for order in orders.values())


@pytest.mark.parametrize("cls", MADE)
def test_nothing_is_held_after_the_fit(cls):
    one = {
        HFCallback: HFCallback(keep_output=True),
        ColumnwiseAUC: ColumnwiseAUC(),
        ConstantBaseline: ConstantBaseline(_share_of_zeros, "base"),
        WordAccuracy: WordAccuracy(),
    }[cls]
    settings = dict(cbs=[one]) if cls is HFCallback else dict(metrics=[one])
    make_learner(task="classes" if cls is WordAccuracy else "labels", **settings).fit(1, 1e-2)
    assert not [name for name, value in vars(one).items() if _holds_tensors(value)]


def _share_of_zeros(outputs, targets):
    return ((outputs > 0) == (targets > 0)).float().mean()


def _holds_tensors(value):
    return isinstance(value, torch.Tensor) or isinstance(value, (list, tuple)) and any(map(_holds_tensors, value))
