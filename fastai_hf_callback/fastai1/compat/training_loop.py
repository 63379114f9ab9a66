"""The state of fastai 1's training loop: whether it is patched, and what is running in it.

``fastai.basic_train.loss_batch`` is looked up at call time, and ``fit``, ``validate``, ``get_preds``
and ``pred_batch`` all go through it: it is the one patch site.
"""

import sys
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence

from fastai import basic_train
from fastai.callback import Callback, CallbackHandler
from torch import nn

from fastai_hf_callback.compat.patching import find_foreign_code, raise_if_foreign

__all__ = [
    "RunningStep",
    "find_active_patch",
    "find_running_callbacks",
    "find_running_loss_func",
    "find_running_step",
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
    frame = sys._getframe(1)
    for _ in range(12):
        if frame is None:
            break
        if "cb_handler" in frame.f_code.co_varnames and "loss_func" in frame.f_code.co_varnames:
            return dict(frame.f_locals)
        frame = frame.f_back
    return {}


def find_running_callbacks() -> Sequence[Callback]:
    """Return all callbacks of the handler that calls one of them, found as in ``find_running_loss_func``."""
    frame = sys._getframe(1)
    for _ in range(12):
        if frame is None:
            break
        handler = frame.f_locals.get("self")
        if isinstance(handler, CallbackHandler):
            return list(handler.callbacks)
        frame = frame.f_back
    return ()
