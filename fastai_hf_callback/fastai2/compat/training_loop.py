"""The state of fastai 2's training loop: whether it is patched.

``Learner._do_one_batch`` is the only place that calls the model: ``fit``, ``lr_find``, ``validate``, ``get_preds`` and
``predict`` all go through it.
"""

from typing import Optional

from fastai import learner
from fastai.learner import Learner

from fastai_hf_callback.compat.patching import find_foreign_code, raise_if_foreign

__all__ = ["find_active_patch", "raise_if_patched"]


def raise_if_patched() -> None:
    """Raise ``PatchError`` when the loop is already patched, by this or by anybody's code."""
    raise_if_foreign("fastai's Learner._do_one_batch", find_active_patch())


def find_active_patch() -> Optional[str]:
    """Return where the code of ``Learner._do_one_batch`` comes from, or None where it is fastai's own."""
    return find_foreign_code(Learner._do_one_batch, learner.save_model)
