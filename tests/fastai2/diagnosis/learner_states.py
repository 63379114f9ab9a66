"""States of a learner that fastai 2 alone has, and what of one can be seen there."""

import torch
from fastai.callback.core import Callback
from fastai.callback.progress import CSVLogger
from fastai.callback.tracker import SaveModelCallback
from fastai.callback.training import GradientAccumulation, GradientClip
from fastai.data.core import DataLoaders
from fastai.learner import AvgMetric, Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.optimizer import OptimWrapper
from torch import nn
from torch.utils.data import TensorDataset

from fastai_hf_callback import Doctor, HFCallback
from fastai_hf_callback.fastai2.diagnosis.learner_adapter import LearnerAdapter
from tests.fastai2.learners import make_learner, texts_and_targets, without_progress_bar

ARCHITECTURES = ["roberta", "distilbert", "xlnet", "gpt2", "electra", "albert"]


def learner_with(*callbacks, model="bert", **kwargs):
    """A learner with these callbacks next to our own."""
    return make_learner(model, cbs=[HFCallback(), *callbacks], **kwargs)


def add_doctor(learn, **kwargs):
    doctor = Doctor(**kwargs)
    learn.add_cb(doctor)
    return doctor


def listening(event_of_batch, **attributes):
    """A user's callback that calls `event_of_batch` with itself at every batch's end."""
    callback = type("Listens", (Callback,), {"after_batch": event_of_batch})()
    vars(callback).update(attributes)
    return callback


def learner_that_writes(folder):
    return learner_with(CSVLogger(), SaveModelCallback(), path=folder)


def find_lr(learn):
    learn.lr_find(end_lr=100, num_it=60, show_plot=False)


def detaching():
    """The output is detached between ours and the loss."""

    class Detaches(Callback):
        order = -500

        def after_pred(self):
            self.learn.pred = self.learn.pred.detach().requires_grad_()

    return make_learner(cbs=[HFCallback(check=False), Detaches()])


def clipped_and_accumulating(model="bert"):
    return learner_with(GradientClip(0.1), GradientAccumulation(16), model=model)


def with_torchs_optimizer(model="bert"):
    learn = make_learner(model, opt_func=lambda params, **kwargs: OptimWrapper(params, torch.optim.AdamW, **kwargs))
    learn.fit(1, 1e-3)
    return learn


class Breaks(Callback):
    """Raises in the middle of a step."""

    def before_step(self):
        raise ArithmeticError("in the middle of a step")


def breaking_in_the_step(model="bert"):
    learn = make_learner(model)
    learn.fit_one_cycle(1, 1e-3)
    learn.add_cb(Breaks())
    return learn


STATES = [clipped_and_accumulating, with_torchs_optimizer, breaking_in_the_step]


def draws_of(learn):
    return [learn.dls.train.rng.random()]


def state_of_fastai(learn):
    found = {"callbacks": [id(cb) for cb in learn.cbs], "loop": Learner._do_one_batch}
    found["autocast"] = [torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")]
    for kind, things in (("callbacks", learn.cbs), ("metrics", learn.metrics), ("loaders", learn.dls.loaders)):
        for i, thing in enumerate(things):
            found.update({f"{kind}[{i}].{k}": v for k, v in vars(thing).items()})
    found.update({f"loaders[{i}].rng's state": loader.rng.getstate() for i, loader in enumerate(learn.dls.loaders)})
    if learn.opt is not None:
        _add_optimizer(found, learn.opt)
    return found


def _add_optimizer(found, optimizer):
    found["hypers"] = [dict(hyper) for hyper in optimizer.hypers]
    found["held"] = [[id(p) for p in group] for group in optimizer.param_lists]
    for holder in (optimizer, vars(optimizer).get("opt")):
        for i, (parameter, state) in enumerate(holder.state.items() if holder is not None else ()):
            found[f"{type(holder).__name__} state {i} of"] = parameter
            found.update(
                {
                    f"{type(holder).__name__} state {i} {k}": v.clone() if isinstance(v, torch.Tensor) else v
                    for k, v in state.items()
                }
            )


# -- for the verdict -------------------------------------------------------------------------------------------------


def add_callback(learn, callback):
    learn.add_cb(callback)


def as_metrics(*functions):
    return [AvgMetric(function) for function in functions]


def adapt(learn):
    return LearnerAdapter(learn)


def several_labels():
    return make_learner(task="labels")


def a_number():
    return make_learner(task="number")


def a_class_for_each_word():
    return make_learner(task="words")


class Head(nn.Module):
    """A head of one's own; no config, no ids, a plain tensor."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, pictures):
        return self.layers(pictures)


def pictures_without_our_callback():
    """Pictures, a model without a config, and no HFCallback."""
    torch.manual_seed(0)
    draw = torch.Generator().manual_seed(0)
    pictures = torch.randn(96, 3, 2, 2, generator=draw)
    targets = (pictures[:, 0, 0, 0] > 0).long() + (pictures[:, 1, 0, 0] > 0).long()
    parts = TensorDataset(pictures[:64], targets[:64]), TensorDataset(pictures[64:], targets[64:])
    dls = DataLoaders.from_dsets(*parts, bs=16, num_workers=0, device=torch.device("cpu"))
    return without_progress_bar(Learner(dls, Head(), loss_func=CrossEntropyLossFlat(), metrics=[accuracy]))


def without_metrics():
    return make_learner(metrics=[])


def two_targets():
    """Two targets a row and a loss of both."""
    learn = make_learner(metrics=[])
    ids, mask, targets = texts_and_targets("classes")
    rows = TensorDataset(ids, mask, targets, targets)
    rows.n_inp = 2
    learn.dls = DataLoaders.from_dsets(rows, rows, bs=8, num_workers=0, device=torch.device("cpu"))
    one = CrossEntropyLossFlat()
    learn.loss_func = lambda output, target, other: one(output, target) + one(output, other)
    return learn


WHOLE = [
    several_labels,
    a_number,
    a_class_for_each_word,
    pictures_without_our_callback,
    without_metrics,
    two_targets,
]
