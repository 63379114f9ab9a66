"""The state of fastai 1's training loop: whether it is patched, and what is running in it.

``fastai.basic_train.loss_batch`` is looked up at call time, and ``fit``, ``validate``, ``get_preds``
and ``pred_batch`` all go through it: it is the one patch site.
"""

import sys
from typing import Any, Callable, Optional, Sequence

from fastai import basic_train
from fastai.callback import Callback, CallbackHandler

from fastai_hf_callback.compat.patching import find_foreign_code, raise_if_foreign

__all__ = ["find_active_patch", "find_running_callbacks", "find_running_loss_func", "raise_if_patched"]


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
    frame = sys._getframe(1)
    for _ in range(12):
        if frame is None:
            return None
        if "cb_handler" in frame.f_code.co_varnames and "loss_func" in frame.f_code.co_varnames:
            return frame.f_locals.get("loss_func")
        frame = frame.f_back
    return None


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
