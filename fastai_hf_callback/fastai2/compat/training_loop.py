"""The state of fastai 2's training loop: whether it is patched.

``Learner._do_one_batch`` is the only place that calls the model: ``fit``, ``lr_find``, ``validate``, ``get_preds`` and
``predict`` all go through it.
"""

import sys
from types import FrameType
from typing import Optional

from fastai import learner
from fastai.learner import Learner

from fastai_hf_callback.compat.patching import find_foreign_code, raise_if_foreign

__all__ = ["find_active_patch", "is_fitting", "raise_if_patched"]


def raise_if_patched() -> None:
    """Raise ``PatchError`` when the loop is already patched, by this or by anybody's code."""
    raise_if_foreign("fastai's Learner._do_one_batch", find_active_patch())


def find_active_patch() -> Optional[str]:
    """Return where the code of ``Learner._do_one_batch`` comes from, or None where it is fastai's own."""
    return find_foreign_code(Learner._do_one_batch, learner.save_model)


def is_fitting(learn: Learner) -> bool:
    """Return, within ``before_fit``, whether a fit begins: ``validate`` and ``get_preds`` begin with this event, too.

    Nothing on the learner tells; ``fit`` calls the event in ``_with_events`` and the others do not, so it is read from
    the loop's frame, which is a few calls up.
    """
    frame: Optional[FrameType] = sys._getframe(1)
    for _ in range(16):
        if frame is None:
            break
        if frame.f_code is _WITH_EVENTS and frame.f_locals.get("self") is learn:
            return frame.f_locals.get("event_type") == "fit"
        frame = frame.f_back
    return False


_WITH_EVENTS = Learner._with_events.__code__
