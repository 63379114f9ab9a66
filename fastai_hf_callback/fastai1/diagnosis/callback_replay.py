"""A learner's callbacks, copied and run dry: who takes part in a batch, who skips, which rate they set.

Part of ``probe``. Callbacks that take no part in a batch are left out: they write files and tables.
"""

from typing import Any, Callable, Iterator, List

import torch
from fastai.basic_train import Learner, LearnerCallback, Recorder
from fastai.callback import Callback, CallbackHandler
from torch import Tensor

from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.fastai1.callback import HFCallback
from fastai_hf_callback.fastai1.compat.no_progress import SilentProgressBar

from .snapshot import copy_callback
from .step_monitor import StepMonitor

__all__ = [
    "StepEventForwarder",
    "CallbackMonitor",
    "find_peak_lr",
    "copy_without_checks",
    "count_simulated_steps",
    "is_batch_callback",
]

BATCH_EVENTS = (
    "on_batch_begin",
    "on_loss_begin",
    "on_backward_begin",
    "on_backward_end",
    "on_step_end",
    "on_batch_end",
)
SKIP_FLAGS = ("skip_step", "skip_bwd", "skip_zero")


def is_batch_callback(callback: Any) -> bool:
    """Whether a callback changes or watches batches; the others write files and tables at the ends of epochs."""
    if isinstance(callback, Recorder) or getattr(type(callback), "_is_read_only", False):
        return False
    return any(getattr(type(callback), event, None) is not getattr(Callback, event) for event in BATCH_EVENTS)


def copy_without_checks(callback: Any, learn: Learner) -> Any:
    if not isinstance(callback, Callback):
        return callback
    made = copy_callback(callback, learn)
    if isinstance(made, HFCallback):
        made.check = False  # what it would raise is what is to be looked at
    if isinstance(made, LearnerCallback) and "_learn" in vars(made):
        vars(learn)[made.cb_name] = made
    return made


class CallbackMonitor:
    """Notes which callback asks to skip something: on the copies, by an attribute of the instance."""

    def __init__(self, callbacks: List[Callback]):
        self.skipped_by, self.skipping_callbacks = set(), []
        for callback in callbacks:
            for event in ("on_batch_begin", "on_backward_begin", "on_backward_end", "on_step_end"):
                setattr(callback, event, self._wrap_event(callback, getattr(callback, event)))

    def _wrap_event(self, callback: Callback, event: Callable) -> Callable:
        def wrapped_event(**kwargs: Any) -> Any:
            returned = event(**kwargs)
            if isinstance(returned, dict) and any(returned.get(key) for key in SKIP_FLAGS):
                self.skipped_by.add(type(callback).__name__)
                if callback not in self.skipping_callbacks:
                    self.skipping_callbacks.append(callback)
            return returned

        return wrapped_event


class StepEventForwarder(Callback):
    """The last callback of all: hands what it sees to a ``StepMonitor``."""

    _order = 3000

    def __init__(self, watch: StepMonitor):
        self.watch = watch

    def on_batch_begin(self, last_target: Any, train: bool, **kwargs: Any) -> None:
        self.watch.begin_batch(last_target)

    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> None:
        self.watch.begin_loss(last_output)

    def on_backward_begin(self, last_loss: Tensor, **kwargs: Any) -> None:
        self.watch.begin_backward(last_loss)

    def on_backward_end(self, skip_step: bool, skip_bwd: bool, **kwargs: Any) -> None:
        self.watch.finish_backward(skip_step, skip_bwd)

    def on_step_end(self, skip_zero: bool, **kwargs: Any) -> None:
        self.watch.finish_step(skip_zero)

    def on_batch_end(self, **kwargs: Any) -> None:
        self.watch.finish_batch()


def count_simulated_steps(learn: Learner, skipping_callbacks: List[Callback], batch: Batch) -> int:
    """Steps in an epoch of the loader's length, asking only the callbacks that skip; no model runs."""
    made: List[int] = []
    learn.opt.step = lambda: made.append(1)  # what a callback does itself at the end of an epoch counts too
    try:
        for stepped in _simulate_epoch_events(learn, skipping_callbacks, batch):
            made += [1] * stepped
    finally:
        del learn.opt.step
    return len(made)


def find_peak_lr(learn: Learner, callbacks: List[Callback], batch: Batch) -> float:
    """The highest learning rate in an epoch, asking the callbacks only."""
    highest = 0.0
    for _ in _simulate_epoch_events(learn, [cb for cb in callbacks if "loss_scale" not in vars(cb)], batch):
        highest = max(highest, *(float(group["lr"]) for group in learn.opt.param_groups))
    return highest


def _simulate_epoch_events(learn: Learner, callbacks: List[Callback], batch: Batch) -> Iterator[bool]:
    """The events of an epoch without a model: after each batch, whether a step was made."""
    handler = CallbackHandler(list(callbacks))
    handler.on_train_begin(1, pbar=SilentProgressBar(range(1)), metrics=[])
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
