"""What cannot be pickled is found where it is, and named with what to write."""

import functools
import pickle
import threading

import pytest
import torch
from torch import nn

from fastai_hf_callback.utils.pickling import find_unpicklable


class Holder:
    """Holds anything, and itself."""

    def __init__(self, **held):
        vars(self).update(held)
        self.me = self

    def method(self):
        return self


class Careful(Holder):
    """Leaves its lock out of a pickle."""

    def __getstate__(self):
        return {**vars(self), "lock": None}


def local_class():
    class Local:
        pass

    return Local()


def network(**held):
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    vars(model[1][0]).update(held)
    return model


CASES = {
    "lambda": (Holder(loss=[len, lambda x: x]), "learn.loss[1]", "is a lambda. Write a function with a name"),
    "local": (Holder(deep={"a": (local_class(),)}), "learn.deep['a'][0]", "of the class local_class.<locals>.Local"),
    "lock": (Holder(lock=threading.Lock()), "learn.lock", "is a lock. Write learn.lock = None before"),
    "in a list": (Holder(all=[1, threading.Lock()]), "learn.all[1]", "is a lock. Write it out of learn.all"),
    "partial": (Holder(f=functools.partial(max, key=lambda x: x)), "learn.f.keywords['key']", "is a lambda"),
    "method": (Holder(f=Holder(x=lambda: 1).method), "learn.f.__self__.x", "is a lambda"),
    "module": (network(log=threading.Lock()), "learn.1.0.log", "is a lock"),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_innermost_object_is_named(case):
    value, path, said = CASES[case]
    with pytest.raises(Exception):  # noqa: B017  whatever pickle says
        pickle.dumps(value)
    found = find_unpicklable(value, "learn", pickle)
    assert found.path == path and said in f"{found.describe()}. Write {found.describe_fix()}" and str(found.error)


@pytest.mark.parametrize(
    "value", [Holder(a=1), Careful(lock=threading.Lock()), network(), {"a": torch.ones(1)}], ids=["a", "b", "c", "d"]
)
def test_what_can_be_pickled_is_not_named(value):
    pickle.dumps(value)
    assert find_unpicklable(value, "learn", pickle) is None


def test_what_is_skipped_is_not_gone_into():
    owner = Holder(lock=threading.Lock())
    assert find_unpicklable([owner], "part", pickle).path == "part[0].lock"
    assert find_unpicklable([owner], "part", pickle, skip=[owner]) is None
