"""States of a learner that fastai 1 alone has, and what of one can be seen there."""

import pytest
import torch
from fastai import basic_train
from fastai.basic_data import DataBunch
from fastai.callback import Callback
from fastai.callbacks.csv_logger import CSVLogger
from fastai.callbacks.tracker import SaveModelCallback
from fastai.metrics import accuracy
from fastai.train import GradientClipping, Learner
from torch import nn
from torch.utils.data import TensorDataset

from fastai_hf_callback import Doctor, HFCallback
from fastai_hf_callback.fastai1.diagnosis.learner_adapter import LearnerAdapter
from tests.fastai1.learners import make_learner
from tests.faults.stacks.fastai1 import half_runs_on_cpu

ARCHITECTURES = ["roberta", "distilbert", "xlnet", "xlm", "gpt2", "transfoxl"]


def learner_with(*callbacks, model="bert", **kwargs):
    """A learner with these callbacks next to our own."""
    return make_learner(model, callbacks=[HFCallback(), *callbacks], **kwargs)


def add_doctor(learn, **kwargs):
    doctor = Doctor(learn, **kwargs)
    learn.callbacks.append(doctor)
    return doctor


def listening(event_of_batch, **attributes):
    """A user's callback that calls `event_of_batch` with itself at every batch's end."""
    callback = type("Listens", (Callback,), {"on_batch_end": lambda self, **kwargs: event_of_batch(self)})()
    vars(callback).update(attributes)
    return callback


def learner_that_writes(folder):
    learn = make_learner()
    learn.path = folder
    learn.callbacks += [CSVLogger(learn), SaveModelCallback(learn, name="best")]
    return learn


def find_lr(learn):
    learn.lr_find(end_lr=100, num_it=60)


def detaching():
    """The output is detached between ours and the loss."""

    class Detaches(Callback):
        _order = -500

        def on_loss_begin(self, last_output, **kwargs):
            return {"last_output": last_output.detach().requires_grad_()}

    return make_learner(callbacks=[HFCallback(check=False), Detaches()])


def clipped(model="bert"):
    return make_learner(model, callback_fns=[lambda learn: GradientClipping(learn, clip=0.1)])


def half(model="bert"):
    if not half_runs_on_cpu():
        pytest.skip("torch multiplies no half matrices here")
    return make_learner(model).to_fp16()


def half_and_fitted(model="bert"):
    learn = half(model)
    learn.fit(1, 1e-3)
    return learn


STATES = [clipped, half, half_and_fitted]


def draws_of(learn):
    return []


def state_of_fastai(learn):
    found = {f"callbacks[{i}]": cb for i, cb in enumerate(learn.callbacks)}
    for i, callback in enumerate(learn.callbacks):
        found.update({f"callbacks[{i}].{k}": v for k, v in vars(callback).items()})
    optimizer = vars(learn).get("opt")
    if optimizer:
        found["opt.opt"] = optimizer.opt
        for i, group in enumerate(optimizer.opt.param_groups):
            found.update({f"group {i} {k}": v for k, v in group.items() if k != "params"})
        for i, state in enumerate(optimizer.opt.state.values()):
            found.update({f"state {i} {k}": v.clone() if isinstance(v, torch.Tensor) else v for k, v in state.items()})
    return {**found, "loop": basic_train.loss_batch, "bars": basic_train.progress_bar}


# -- for the verdict -------------------------------------------------------------------------------------------------


def add_callback(learn, callback):
    learn.callbacks.append(callback)


def as_metrics(*functions):
    return list(functions)


def adapt(learn):
    return LearnerAdapter(learn)


def several_labels():
    return make_learner(task="labels")


def a_number():
    return make_learner(task="number")


class Head(nn.Module):
    """A head of one's own; no config, no ids, a plain tensor."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, pictures):
        return self.layers(pictures.reshape(len(pictures), -1))


def pictures_without_our_callback():
    """Pictures, a model without a config, and no HFCallback."""
    torch.manual_seed(0)
    draw = torch.Generator().manual_seed(0)
    pictures = torch.randn(96, 3, 2, 2, generator=draw)
    targets = (pictures[:, 0, 0, 0] > 0).long() + (pictures[:, 1, 0, 0] > 0).long()
    parts = TensorDataset(pictures[:64], targets[:64]), TensorDataset(pictures[64:], targets[64:])
    data = DataBunch.create(*parts, bs=16, num_workers=0, device=torch.device("cpu"), no_check=True)
    return Learner(data, Head(), loss_func=nn.CrossEntropyLoss(), metrics=[accuracy], silent=True)


def without_metrics():
    learn = make_learner()
    learn.metrics = []
    return learn


WHOLE = [several_labels, a_number, pictures_without_our_callback, without_metrics]
