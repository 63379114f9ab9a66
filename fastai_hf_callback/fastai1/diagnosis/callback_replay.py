"""Replays of a learner's callbacks, on copies: which take part in a batch, which skip, which rate they set.

Used by ``learner_adapter.py``. A library's callbacks that take no part in a batch are left out: they write files.
"""

from functools import partial
from typing import Any, Callable, Iterator, List, Tuple

import torch
from fastai.basic_train import Learner, LearnerCallback, Recorder
from fastai.callback import Callback, CallbackHandler
from torch import Tensor

from fastai_hf_callback.diagnosis.event_replay import EventLog, ShortLoader, is_own_callback, replay_fit
from fastai_hf_callback.diagnosis.learner_adapter import CallbackLog
from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.diagnosis.probes.steps import StepMonitor
from fastai_hf_callback.fastai1.callback import HFCallback
from fastai_hf_callback.fastai1.compat.no_progress import SilentProgressBar
from fastai_hf_callback.model.loss.own_loss import list_losses
from fastai_hf_callback.utils.snapshot import copy_callback

__all__ = [
    "FewBatches",
    "RawLossForwarder",
    "StepEventForwarder",
    "copy_without_checks",
    "has_own_events",
    "is_batch_callback",
    "is_bystander",
    "log_skips",
    "replay_events",
    "simulate_epoch",
]

BATCH_EVENTS = (
    "on_batch_begin",
    "on_loss_begin",
    "on_backward_begin",
    "on_backward_end",
    "on_step_end",
    "on_batch_end",
)
OUTER_EVENTS = ("on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end")
SKIP_FLAGS = ("skip_step", "skip_bwd", "skip_zero")


def is_batch_callback(callback: Any) -> bool:
    """Return whether a callback changes or watches batches; the others write files and tables at an epoch's end."""
    return not is_bystander(callback) and any(
        getattr(type(callback), event, None) is not getattr(Callback, event) for event in BATCH_EVENTS
    )


def is_bystander(callback: Any) -> bool:
    """Return whether a callback only records or shows."""
    return isinstance(callback, Recorder) or getattr(type(callback), "_is_read_only", False)


def has_own_events(callback: Any) -> bool:
    """Return whether the user wrote an event of this callback outside of a batch."""
    return not is_bystander(callback) and is_own_callback(callback, OUTER_EVENTS)


def replay_events(
    learn: Learner, given: List[Callback], made: List[Callback], train: List[Batch], valid: List[Batch]
) -> EventLog:
    """Fit a short epoch with these callbacks, without those that a library wrote to write files.

    Parameters
    ----------
    learn : Learner
    given : list of callback
        The learner's own, of which copies are taken.
    made : list of callback
        What its ``callback_fns`` have made for this fit.
    train, valid : list of Batch

    Returns
    -------
    EventLog
    """
    copies = [copy_without_checks(cb, learn) for cb in given if is_batch_callback(cb) or has_own_events(cb)]
    added = [cb for cb in made if is_batch_callback(cb) or has_own_events(cb)]
    learn.data, learn.callbacks = FewBatches(learn.data, train, valid), copies
    learn.callback_fns = [partial(Recorder, silent=True)]
    fit = partial(learn.fit, 1, callbacks=added)
    return replay_fit(fit, [*copies, *added], OUTER_EVENTS, BATCH_EVENTS)


def copy_without_checks(callback: Any, learn: Learner) -> Any:
    """Copy a callback, still bound to the live learner; return anything else as it is."""
    if not isinstance(callback, Callback):
        return callback
    parts = [learn.data, vars(learn).get("opt"), *learn.callbacks, *learn.layer_groups, *list_losses(learn.loss_func)]
    made = copy_callback(callback, learn, Callback, parts)
    if isinstance(made, HFCallback):
        made.check = False  # what it would raise on is what the examination reports
    if isinstance(made, LearnerCallback) and "_learn" in vars(made):
        vars(learn)[made.cb_name] = made
    return made


class FewBatches:
    """The learner's data with a few batches each; all else is asked of the data that they stand for."""

    def __init__(self, data: Any, train: List[Batch], valid: List[Batch]):
        self.data, self.train_dl = data, ShortLoader(data.train_dl, train)
        self.valid_dl, self.empty_val = ShortLoader(data.valid_dl, valid), not valid

    def dl(self, *args: Any) -> Any:
        """Return a loader of these few batches: predicting asks for one so."""
        return type(self.data).dl(self, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["data"], name)


def log_skips(callbacks: List[Callback], log: CallbackLog) -> None:
    """Log from now on which of these copies asks to skip something."""
    for callback in callbacks:
        for event in ("on_batch_begin", "on_backward_begin", "on_backward_end", "on_step_end"):
            setattr(callback, event, _log_skips_of(callback, getattr(callback, event), log))


def _log_skips_of(callback: Callback, event: Callable[..., Any], log: CallbackLog) -> Callable[..., Any]:
    def logged_event(**kwargs: Any) -> Any:
        returned = event(**kwargs)
        if isinstance(returned, dict) and any(returned.get(key) for key in SKIP_FLAGS):
            log.add_skipping(callback)
        return returned

    return logged_event


class RawLossForwarder(Callback):
    """The first callback of all: passes on the loss that ``loss_func`` returned."""

    _order = -3000

    def __init__(self, on_loss: Callable[[Tensor], None]):
        self.on_loss = on_loss

    def on_backward_begin(self, last_loss: Tensor, **kwargs: Any) -> None:
        self.on_loss(last_loss)


class StepEventForwarder(Callback):
    """The last callback of all: passes its events to a ``StepMonitor``."""

    _order = 3000

    def __init__(self, monitor: StepMonitor):
        self.monitor = monitor

    def on_batch_begin(self, last_target: Any, train: bool, **kwargs: Any) -> None:
        self.monitor.begin_batch(last_target)

    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> None:
        self.monitor.begin_loss(last_output)

    def on_backward_begin(self, last_loss: Tensor, **kwargs: Any) -> None:
        self.monitor.begin_backward(last_loss)

    def on_backward_end(self, skip_step: bool, skip_bwd: bool, **kwargs: Any) -> None:
        self.monitor.finish_backward(skip_step, skip_bwd)

    def on_step_end(self, skip_zero: bool, **kwargs: Any) -> None:
        self.monitor.finish_step(skip_zero)

    def on_batch_end(self, **kwargs: Any) -> None:
        self.monitor.finish_batch()


def simulate_epoch(learn: Learner, callbacks: List[Callback], batch: Batch) -> Iterator[Tuple[int, float]]:
    """Run an epoch's events without a model: yield after each batch the steps that were made, and the highest rate."""
    handler = CallbackHandler(list(callbacks))
    by_callbacks: List[int] = []
    learn.opt.step = lambda: by_callbacks.append(1)  # what one does itself at the end of an epoch counts, too
    try:
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
            yield int(stepped), max(float(group["lr"]) for group in learn.opt.param_groups)
        handler.on_epoch_end(None)
        yield len(by_callbacks), 0.0
    finally:
        del learn.opt.step
