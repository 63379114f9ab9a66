"""The state of fastai 1's training loop: whether it is patched, and what is running in it.

``fastai.basic_train.loss_batch`` is looked up at call time, and ``fit``, ``validate``, ``get_preds``
and ``pred_batch`` all go through it: it is the one patch site.
"""

import sys
from types import FrameType
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional, Sequence

from fastai import basic_train
from fastai.basic_train import Learner
from fastai.callback import Callback, CallbackHandler
from fastai.core import noop
from torch import nn

from fastai_hf_callback.compat.patching import find_foreign_code, raise_if_foreign

__all__ = [
    "RunningStep",
    "find_active_patch",
    "find_running_callbacks",
    "find_running_handler",
    "find_running_learner",
    "find_running_loss_func",
    "find_running_step",
    "find_unread_predictions",
    "is_fitting",
    "raise_if_patched",
]


class RunningStep(NamedTuple):
    """The model and the optimizer of the step that is running."""

    model: nn.Module
    opt: Any


def raise_if_patched() -> None:
    """Raise ``PatchError`` when the loop is already patched, by this or by anybody's code."""
    raise_if_foreign("fastai.basic_train.loss_batch", find_active_patch())


def find_active_patch() -> Optional[str]:
    """Return where the code of ``fastai.basic_train.loss_batch`` comes from, or None where it is fastai's own."""
    return find_foreign_code(basic_train.loss_batch, basic_train.LearnerCallback.__init__)


def find_running_loss_func() -> Optional[Callable[..., Any]]:
    """Return the loss function of the ``loss_batch`` that is running, seen from inside a callback; else None.

    fastai 1 hands a plain callback everything but this, so it is read from the loop's frame, which is
    a few calls up.
    """
    return _find_running_arguments().get("loss_func")


def find_running_step() -> Optional[RunningStep]:
    """Return the step of the ``loss_batch`` that is running, found as in ``find_running_loss_func``; else None."""
    arguments = _find_running_arguments()
    model, opt = arguments.get("model"), arguments.get("opt")
    return RunningStep(model, opt) if isinstance(model, nn.Module) and opt is not None else None


def _find_running_arguments() -> Dict[str, Any]:
    for frame in _frames_above():
        if "cb_handler" in frame.f_code.co_varnames and "loss_func" in frame.f_code.co_varnames:
            return dict(frame.f_locals)
    return {}


def find_running_callbacks() -> Sequence[Callback]:
    """Return all callbacks of the handler that calls one of them, found as in ``find_running_loss_func``."""
    handler = find_running_handler()
    return () if handler is None else list(handler.callbacks)


def find_running_handler() -> Optional[CallbackHandler]:
    """Return the handler that calls a callback, found as in ``find_running_loss_func``."""
    for frame in _frames_above():
        handler = frame.f_locals.get("self")
        if isinstance(handler, CallbackHandler):
            return handler
    return None


def find_running_learner() -> Optional[Learner]:
    """Return the learner whose fit, validation or prediction calls a callback, found as in ``find_running_loss_func``.

    fastai's ``fit`` calls it ``learn``; in its methods it is ``self``.
    """
    for frame in _frames_above():
        for name in ("learn", "self"):
            if name in frame.f_code.co_varnames and isinstance(frame.f_locals.get(name), Learner):
                return frame.f_locals[name]
    return None


def find_unread_predictions() -> Optional[Dict[str, Any]]:
    """Return the names and values of a running ``Learner.get_preds`` that found no activation; else None.

    It asks the loss for one before any callback is called.
    """
    for frame in _frames_above():
        if frame.f_code is Learner.get_preds.__code__:
            return frame.f_locals if frame.f_locals.get("activ") in (None, noop) else None
    return None


def is_fitting() -> bool:
    """Return, within ``on_train_begin``, whether ``fit`` calls it; ``validate`` and examinations do so, too."""
    return any(frame.f_code is basic_train.fit.__code__ for frame in _frames_above())


def _frames_above() -> Iterator[FrameType]:
    """Yield the frames that call the caller, the nearest first: as many as lie between a callback and its loop."""
    frame = sys._getframe(2)
    for _ in range(15):
        if frame is None:
            return
        yield frame
        frame = frame.f_back
