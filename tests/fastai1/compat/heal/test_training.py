"""heal: accumulated gradients, and several processes on the CPU."""

import inspect
import sys
import types
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

pytest.importorskip("fastai.basic_train")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DataBunch
    from fastai.basic_train import Learner
    from fastai.train import AccumulateScheduler

from fastai_hf_callback import heal
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from tests.fastai1.learners import make_learner

pytestmark = pytest.mark.slow


# -- accumulated gradients -------------------------------------------------------------------------


class KeepsZeros(torch.optim.SGD):
    """An optimizer as in 2019: what it clears is zero, not gone."""

    def zero_grad(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.zero_()


class Partly(nn.Module):
    """A model that does not use all it has."""

    def __init__(self, spare):
        super().__init__()
        torch.manual_seed(0)
        self.used = nn.Linear(3, 1)
        self.spare = nn.Linear(3, 1) if spare else nn.Identity()

    def forward(self, x):
        return self.used(x)


def accumulated(optimizer, n_step, spare=False, drop_last=False):
    """The weights after a fit of five batches."""
    draw = torch.Generator().manual_seed(0)
    rows = TensorDataset(torch.randn(20, 3, generator=draw), torch.randn(20, 1, generator=draw))
    data = DataBunch.create(rows, rows, bs=4, num_workers=0, no_check=True, device=torch.device("cpu"))
    learn = Learner(
        data,
        Partly(spare),
        opt_func=optimizer,
        loss_func=nn.MSELoss(reduction="sum"),
        silent=True,
        wd=0.0,
        callback_fns=[partial(AccumulateScheduler, n_step=n_step, drop_last=drop_last)],
    )
    torch.manual_seed(3)
    with no_progress(learn):
        learn.fit(2, 1e-2)
    return [p.detach().clone() for p in learn.model.parameters()]


@pytest.mark.parametrize("n_step", [1, 5])
def test_nothing_left_at_the_epochs_end_fails_bare(n_step):
    if "set_to_none" not in inspect.signature(torch.optim.Optimizer.zero_grad).parameters:
        pytest.skip("zero_grad leaves zeros on this torch")
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'div_'"):
        accumulated(torch.optim.SGD, n_step)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("n_step", [1, 2, 3, 5])
def test_accumulated_gradients_give_the_weights_of_2019(n_step, drop_last):
    then = accumulated(KeepsZeros, n_step, drop_last=drop_last)
    with heal():
        now = accumulated(torch.optim.SGD, n_step, drop_last=drop_last)
    assert all(torch.equal(a, b) for a, b in zip(then, now))
    assert not torch.equal(now[0], Partly(False).used.weight)


def test_parameters_without_a_gradient_are_left_alone():
    with heal():
        used, _, spare, _ = accumulated(torch.optim.Adam, 2, spare=True)
    assert torch.equal(spare, Partly(True).spare.weight) and not torch.equal(used, Partly(True).used.weight)


# -- distributed, on the CPU -----------------------------------------------------------------------


@pytest.fixture
def one_process(text, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def distributed(path):
    learn = make_learner("bert", path=path).to_distributed(0)
    with no_progress(learn):
        learn.fit(1, 1e-2)
    return learn


def test_distributed_on_the_cpu_fails_bare(one_process, tmp_path):
    with pytest.raises((ValueError, AssertionError), match="device_ids"):
        distributed(tmp_path)


def test_distributed_on_the_cpu(one_process, tmp_path):
    with heal("distributed-on-cpu") as mended:
        learn = distributed(tmp_path)
    assert mended == ("distributed-on-cpu",) and np.isfinite(learn.recorder.val_losses[0])


def test_a_model_elsewhere_keeps_its_device_ids(text, monkeypatch):
    module, calls = sys.modules["fastai.distributed"], []
    with monkeypatch.context() as patching:
        patching.setattr(module, "DistributedDataParallel", lambda model, **kwargs: calls.append(kwargs))
        with heal():
            module.DistributedDataParallel(nn.Linear(1, 1), device_ids=[0], output_device=0)
            elsewhere = types.SimpleNamespace(parameters=lambda: [types.SimpleNamespace(device=torch.device("cuda"))])
            module.DistributedDataParallel(elsewhere, device_ids=[0], output_device=0)
    assert calls == [{"device_ids": None, "output_device": None}, {"device_ids": [0], "output_device": 0}]
