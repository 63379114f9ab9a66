"""A learner's callbacks, copied and rehearsed: who takes part in a batch, who skips, which rate they set.

Part of ``probe``. Callbacks that take no part in a batch are left out: they write files and tables.
"""
from typing import Any, Callable, Iterator, List

import torch
from fastai.basic_train import Learner, LearnerCallback, Recorder
from fastai.callback import Callback, CallbackHandler
from torch import Tensor

from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.fastai1.callback import HFCallback
from .step_monitor import StepWatch
from fastai_hf_callback.fastai1.compat.no_progress import NoBar
from .snapshot import callback_copy

__all__ = ["Relay", "Spy", "peak_rate", "quietly_copied", "simulated_steps", "takes_part"]

BATCH_EVENTS = ("on_batch_begin", "on_loss_begin", "on_backward_begin", "on_backward_end", "on_step_end",
                "on_batch_end")
SKIPS = ("skip_step", "skip_bwd", "skip_zero")


def takes_part(callback: Any) -> bool:
    """Whether a callback changes or watches batches; the others write files and tables at the ends of epochs."""
    if isinstance(callback, Recorder) or getattr(type(callback), "_watches_only", False):
        return False
    return any(getattr(type(callback), event, None) is not getattr(Callback, event) for event in BATCH_EVENTS)


def quietly_copied(callback: Any, learn: Learner) -> Any:
    if not isinstance(callback, Callback):
        return callback
    made = callback_copy(callback, learn)
    if isinstance(made, HFCallback):
        made.check = False  # what it would raise is what is to be looked at
    if isinstance(made, LearnerCallback) and "_learn" in vars(made):
        vars(learn)[made.cb_name] = made
    return made


class Spy:
    """Notes which callback asks to skip something: on the copies, by an attribute of the instance."""

    def __init__(self, callbacks: List[Callback]):
        self.who, self.guilty = set(), []
        for callback in callbacks:
            for event in ("on_batch_begin", "on_backward_begin", "on_backward_end", "on_step_end"):
                setattr(callback, event, self._watched(callback, getattr(callback, event)))

    def _watched(self, callback: Callback, event: Callable) -> Callable:
        def watched(**kwargs: Any) -> Any:
            returned = event(**kwargs)
            if isinstance(returned, dict) and any(returned.get(key) for key in SKIPS):
                self.who.add(type(callback).__name__)
                if callback not in self.guilty:
                    self.guilty.append(callback)
            return returned
        return watched


class Relay(Callback):
    """The last callback of all: hands what it sees to a ``StepWatch``."""

    _order = 3000

    def __init__(self, watch: StepWatch):
        self.watch = watch

    def on_batch_begin(self, last_target: Any, train: bool, **kwargs: Any) -> None:
        self.watch.batch_begins(last_target)

    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> None:
        self.watch.loss_begins(last_output)

    def on_backward_begin(self, last_loss: Tensor, **kwargs: Any) -> None:
        self.watch.backward_begins(last_loss)

    def on_backward_end(self, skip_step: bool, skip_bwd: bool, **kwargs: Any) -> None:
        self.watch.backward_ended(skip_step, skip_bwd)

    def on_step_end(self, skip_zero: bool, **kwargs: Any) -> None:
        self.watch.step_ended(skip_zero)

    def on_batch_end(self, **kwargs: Any) -> None:
        self.watch.batch_ended()


def simulated_steps(learn: Learner, guilty: List[Callback], batch: Batch) -> int:
    """Steps in an epoch of the loader's length, asking only the callbacks that skip; no model runs."""
    made: List[int] = []
    learn.opt.step = lambda: made.append(1)  # what a callback does itself at the end of an epoch counts too
    try:
        for stepped in _epoch_of_events(learn, guilty, batch):
            made += [1] * stepped
    finally:
        del learn.opt.step
    return len(made)


def peak_rate(learn: Learner, callbacks: List[Callback], batch: Batch) -> float:
    """The highest learning rate in an epoch, asking the callbacks only."""
    highest = 0.0
    for _ in _epoch_of_events(learn, [cb for cb in callbacks if "loss_scale" not in vars(cb)], batch):
        highest = max(highest, *(float(group["lr"]) for group in learn.opt.param_groups))
    return highest


def _epoch_of_events(learn: Learner, callbacks: List[Callback], batch: Batch) -> Iterator[bool]:
    """The events of an epoch without a model: after each batch, whether a step was made."""
    handler = CallbackHandler(list(callbacks))
    handler.on_train_begin(1, pbar=NoBar(range(1)), metrics=[])
    handler.on_epoch_begin()
    loss = torch.zeros((), requires_grad=True)
    for _ in range(min(len(learn.data.train_dl), 5000)):
        handler.on_batch_begin(batch.xb, batch.yb)
        handler.state_dict["last_output"] = loss
        _, skipped = handler.on_backward_begin(loss)
        stepped = not handler.on_backward_end() and not skipped
        handler.on_step_end()
        handler.on_batch_end(loss.detach())
        yield stepped
    handler.on_epoch_end(None)
