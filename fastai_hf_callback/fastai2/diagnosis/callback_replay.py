"""Replays of a learner's callbacks, on copies: which take part in a batch, which cancel, which rate they set.

Used by ``learner_adapter.py``. Callbacks that take no part in a batch are left out: they write files and tables.
"""

import copy
import sys
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from functools import partial
from threading import RLock
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple
from unittest.mock import MagicMock

import torch
from fastai.callback.core import (
    Callback,
    CancelBackwardException,
    CancelBatchException,
    CancelEpochException,
    CancelFitException,
    CancelStepException,
    CancelTrainException,
    CancelValidException,
)
from fastai.callback.progress import ProgressCallback, ShowGraphCallback
from fastai.learner import Learner, Recorder
from fastcore.foundation import L
from torch import Tensor, nn

from fastai_hf_callback.diagnosis.event_replay import (
    EventLog,
    ShortLoader,
    is_own_callback,
    replay_fit,
)
from fastai_hf_callback.diagnosis.learner_adapter import CallbackLog
from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.diagnosis.probes.steps import StepMonitor
from fastai_hf_callback.fastai2.callback import HFCallback
from fastai_hf_callback.model.output import tensors_in

from .optimizer_reader import OptimizerReader
from .snapshot import copy_callback

__all__ = [
    "CANCEL_EXCEPTIONS",
    "ENDING_EXCEPTIONS",
    "RawLossForwarder",
    "RawOutputRecorder",
    "StepEventForwarder",
    "copy_without_checks",
    "dry_run",
    "enter_epoch",
    "has_own_events",
    "is_batch_callback",
    "is_bystander",
    "log_callbacks",
    "prepare_short_fit",
    "replay_events",
    "simulate_epoch",
    "to_fastai_batch",
]

BATCH_EVENTS = (
    "before_batch",
    "after_pred",
    "after_loss",
    "before_backward",
    "after_cancel_backward",
    "after_backward",
    "before_step",
    "after_cancel_step",
    "after_step",
    "after_cancel_batch",
    "after_batch",
)
# Not caught within a batch: these end the epoch or the fit.
ENDING_EXCEPTIONS = (CancelTrainException, CancelValidException, CancelEpochException, CancelFitException)
CANCEL_EXCEPTIONS = (CancelBatchException, CancelBackwardException, CancelStepException, *ENDING_EXCEPTIONS)
OUTER_EVENTS = (
    "before_fit",
    "before_epoch",
    "before_train",
    "after_cancel_train",
    "after_train",
    "before_validate",
    "after_cancel_validate",
    "after_validate",
    "after_cancel_epoch",
    "after_epoch",
    "after_cancel_fit",
    "after_fit",
)
EPOCH_START_EVENTS = ("before_fit", "before_epoch", "before_train")
LOOP_ATTRIBUTES = ("xb", "yb", "pred", "loss_grad")

# The loss that is shown and the one that is propagated, of a batch that has both.
Losses = Tuple[Optional[float], Optional[float]]


def is_batch_callback(callback: Any) -> bool:
    """Return whether a callback changes or watches batches; the others write files and tables at an epoch's end."""
    return not is_bystander(callback) and any(
        _handles_event(callback, event) for event in (*BATCH_EVENTS, "before_train")
    )


def is_bystander(callback: Any) -> bool:
    """Return whether a callback only records or shows, or is for several processes."""
    if isinstance(callback, (Recorder, ProgressCallback, ShowGraphCallback)):
        return True
    return getattr(type(callback), "_is_read_only", False) or _is_distributed_callback(callback)


def _is_distributed_callback(callback: Any) -> bool:
    """Return whether a callback wraps the model for several processes: an examination may run in one of them only."""
    room: Any = sys.modules.get("fastai.distributed")  # imported only by the user; it needs accelerate
    return room is not None and isinstance(callback, room.DistributedTrainer)


def has_own_events(callback: Any) -> bool:
    """Return whether the user wrote an event of this callback outside of a batch."""
    return not is_bystander(callback) and is_own_callback(callback, OUTER_EVENTS)


def replay_events(learn: Learner, given: List[Callback], train: List[Batch], valid: List[Batch]) -> EventLog:
    """Fit a short epoch with copies of the callbacks given, without those that a library wrote to write files."""
    kept = [cb for cb in given if isinstance(cb, Recorder) or is_batch_callback(cb)]
    copies = [copy_without_checks(cb, learn) for cb in given if cb in kept or has_own_events(cb)]
    prepare_short_fit(learn, copies, train, valid)
    vars(learn)["lock"] = RLock()  # fastai's own lets one that validates within validate wait for ever
    return replay_fit(partial(learn.fit, 1), copies, OUTER_EVENTS, BATCH_EVENTS, CANCEL_EXCEPTIONS)


def prepare_short_fit(learn: Learner, callbacks: List[Callback], train: List[Batch], valid: List[Batch]) -> None:
    """Let the learner's next fit have these callbacks and these batches, and no others."""
    bind_callbacks(learn, callbacks)
    batches = [[to_fastai_batch(batch) for batch in part] for part in (train, valid)]
    loaders = [ShortLoader(loader, part) for loader, part in zip(learn.dls.loaders, batches)]
    learn.dls = copy.copy(learn.dls)
    learn.dls.loaders = [*loaders, *learn.dls.loaders[2:]]
    learn.progress = MagicMock()  # callbacks write to its bars, which no_progress has taken away


def copy_without_checks(callback: Callback, learn: Learner) -> Callback:
    """Copy a callback, still bound to the live learner; ``HFCallback`` raises nothing: the examination reports it."""
    made = copy_callback(callback, learn)
    if isinstance(made, HFCallback):
        made.check = False
    return made


def bind_callbacks(learn: Learner, callbacks: List[Callback]) -> None:
    """Give the learner these callbacks and no others."""
    learn.cbs = L(list(callbacks))
    for callback in callbacks:
        vars(callback)["learn"] = learn
        vars(learn)[callback.name] = callback


@contextmanager
def enter_epoch(learn: Learner, callbacks: List[Callback], training: bool) -> Iterator[None]:
    """Put the learner into the middle of an epoch, with these callbacks and no others."""
    bind_callbacks(learn, callbacks)
    learn.n_epoch, learn.epoch, learn.iter, learn.train_iter, learn.pct_train = 1, 0, 0, 0, 0.0
    learn.dl = learn.dls[0 if training or len(learn.dls.loaders) < 2 else 1]
    learn.n_iter = max(1, len(learn.dl))
    with torch.set_grad_enabled(training):
        learn("before_fit")
        learn("before_epoch")
        learn.model.train(training)
        learn.training = training
        learn("before_train" if training else "before_validate")
        yield


def log_callbacks(callbacks: List[Callback], log: CallbackLog) -> None:
    """Log from now on which of these copies cancels something, or sets on itself what it means for the learner."""
    for callback in callbacks:
        attributes: Dict[str, Any] = vars(callback)  # assigned to the callback, fastai would look for it on the learner
        for event in (*EPOCH_START_EVENTS, *BATCH_EVENTS):
            if _handles_event(callback, event):
                attributes[event] = _log_event(callback, event, getattr(callback, event), log)


def _log_event(callback: Callback, name: str, event: Callable[[], None], log: CallbackLog) -> Callable[[], None]:
    def logged_event() -> None:
        before = _read_losses(callback.learn) if name == "after_loss" else (None, None)
        try:
            event()
        except CANCEL_EXCEPTIONS:
            log.add_skipping(callback)
            raise
        finally:
            attribute = _find_shadowed_attribute(callback)
            if attribute is not None:
                log.set_on_itself[type(callback).__name__] = attribute
            if callback.learn.training and _changes_display_only(before, _read_losses(callback.learn)):
                log.loss_only_shown.add(type(callback).__name__)

    return logged_event


def _changes_display_only(before: Losses, after: Losses) -> bool:
    return None not in before and after[0] != before[0] and after[1] == before[1]


def _find_shadowed_attribute(callback: Callback) -> Optional[str]:
    """Find an attribute that a callback set on itself, where the loop reads the learner's."""
    found = None
    for name in LOOP_ATTRIBUTES:
        own, live = vars(callback).get(name), getattr(callback.learn, name, None)
        if own is not None and own is not live and list(tensors_in(own)) and not _is_equal(own, live):
            found = name
    return found


class RawOutputRecorder(Callback):
    """The first callback of all: keeps what the model itself returned."""

    order, output = -3001, None

    def after_pred(self) -> None:
        self.output = self.learn.pred


class RawLossForwarder(Callback):
    """The first callback of all: passes on the loss that ``loss_func`` returned."""

    order = -3000

    def __init__(self, on_loss: Callable[[Tensor], None]):
        self.on_loss = on_loss

    def after_loss(self) -> None:
        if self.learn.training:
            self.on_loss(self.learn.loss_grad)


class StepEventForwarder(Callback):
    """The last callback of all: passes its events to a ``StepMonitor``."""

    order = 3000

    def __init__(self, monitor: StepMonitor, optimizer: OptimizerReader):
        self.monitor, self.optimizer = monitor, optimizer
        self._reset()

    def _reset(self) -> None:
        self._batch_started = self._backward_finished = self._backward_ran = False

    def before_batch(self) -> None:
        if self.learn.training:
            self._start_batch()

    def after_pred(self) -> None:
        if self.learn.training:
            self.monitor.begin_loss(self.learn.pred)

    def before_backward(self) -> None:
        self._backward_ran = True
        self.monitor.begin_backward(self.learn.loss_grad)

    def after_cancel_backward(self) -> None:
        self._backward_ran = False

    def before_step(self) -> None:
        self._finish_backward(stepped=True)

    def after_cancel_step(self) -> None:
        self._finish_backward(stepped=False)

    def after_batch(self) -> None:
        if not self.learn.training:
            return
        self._start_batch()
        self._finish_backward(stepped=False)
        self.monitor.finish_step(self.optimizer.has_remaining_gradients())
        self.monitor.finish_batch()
        self._reset()

    def _start_batch(self) -> None:
        if not self._batch_started:
            self._batch_started = True
            targets = self.learn.yb
            self.monitor.begin_batch(targets[0] if len(targets) == 1 else targets)

    def _finish_backward(self, stepped: bool) -> None:
        if not self._backward_finished:
            self._backward_finished = True
            self.monitor.finish_backward(not stepped, not self._backward_ran)


class _CachedOutputModel(nn.Module):
    """A stand-in for the model that repeats its output of the first batch at no cost; callbacks may unwrap it.

    One number gets the gradient.
    """

    def __init__(self, model: nn.Module, output: Any = None):
        super().__init__()
        device = next(model.parameters()).device  # fastai sends the batch to where it finds a parameter
        self.number, self.ask, self.output = nn.Parameter(torch.zeros((), device=device)), model.__call__, output

    def forward(self, *inputs: Any) -> Any:
        if self.output is None:
            with torch.no_grad():
                self.output = self.ask(*inputs)
        return self._with_graph(self.output)

    def _with_graph(self, part: Any) -> Any:
        if isinstance(part, Tensor):
            return part.detach() + 0 * self.number if part.is_floating_point() else part
        if isinstance(part, Mapping):
            return type(part)(**{name: self._with_graph(value) for name, value in part.items()})
        return type(part)([self._with_graph(value) for value in part]) if type(part) in (tuple, list) else part


def _mean_output_loss(output: Any, *targets: Any) -> Tensor:
    return next(t for t in tensors_in(output) if t.is_floating_point()).float().mean()


class _StepCounter:
    """A stand-in for the optimizer: what callbacks set is set, steps are counted, no weight is moved."""

    def __init__(self, optimizer: Any):
        self.optimizer, self.steps = optimizer, 0

    def step(self, closure: Any = None) -> None:
        self.steps += 1

    def zero_grad(self) -> None:
        pass

    def take_steps(self) -> int:
        """Return the steps since the last call."""
        steps, self.steps = self.steps, 0
        return steps

    def read_highest_lr(self) -> float:
        return max(float(hyper["lr"]) for hyper in self.optimizer.hypers)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.optimizer, name)


@contextmanager
def dry_run(learn: Learner, loss_func: Callable[..., Any], output: Any = None) -> Iterator["_StepCounter"]:
    """Let the loop run the model once and step nothing, so that what the callbacks do is seen at no cost.

    Where the model's `output` is known, it is not run at all.
    """
    before = learn.model, learn.loss_func, learn.opt
    counting = _StepCounter(learn.opt)
    learn.model, learn.loss_func, learn.opt = _CachedOutputModel(learn.model, output), loss_func, counting
    try:
        yield counting
    finally:
        learn.model, learn.loss_func, learn.opt = before


def simulate_epoch(learn: Learner, callbacks: List[Callback], batch: Batch) -> Iterator[Tuple[int, float]]:
    """Run an epoch's events, the model running once: yield after each batch the steps made, and the highest rate."""
    with dry_run(learn, _mean_output_loss) as counting, suppress(*CANCEL_EXCEPTIONS), enter_epoch(
        learn, callbacks, True
    ):
        for i in range(min(learn.n_iter, 5000)):
            learn.train_iter, learn.pct_train = i, i / learn.n_iter  # fastai's own callback may count, too
            learn.one_batch(i, to_fastai_batch(batch))
            yield counting.take_steps(), counting.read_highest_lr()
        learn("after_train")
        learn("after_epoch")
        yield counting.take_steps(), counting.read_highest_lr()


def to_fastai_batch(batch: Batch) -> Tuple[Any, ...]:
    """Return a batch as the loader gave it, for ``learn.one_batch``."""
    targets = batch.yb if isinstance(batch.yb, tuple) else (batch.yb,)
    return (*batch.xb, *targets)


def _read_losses(learn: Learner) -> Losses:
    losses = vars(learn).get("loss"), vars(learn).get("loss_grad")
    shown, propagated = (float(x.detach()) if isinstance(x, Tensor) and x.numel() == 1 else None for x in losses)
    return shown, propagated


def _handles_event(callback: Any, event: str) -> bool:
    return event in vars(callback) or hasattr(type(callback), event)


def _is_equal(one: Any, other: Optional[Any]) -> bool:
    pairs = list(tensors_in(one)), list(tensors_in(other))
    return (
        isinstance(one, Tensor) == isinstance(other, Tensor)
        and len(pairs[0]) == len(pairs[1])
        and all(a.shape == b.shape and bool((a == b).all()) for a, b in zip(*pairs))
    )
