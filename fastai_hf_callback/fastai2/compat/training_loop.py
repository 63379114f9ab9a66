"""What can be known about fastai 2's training loop: whether it is patched.

``Learner._do_one_batch`` is the only place that calls the model: ``fit``, ``lr_find``, ``validate``, ``get_preds`` and
``predict`` all go through it.
"""

from typing import Optional

from fastai import learner
from fastai.learner import Learner

from fastai_hf_callback.errors import PatchError

__all__ = ["find_active_patch", "raise_if_patched"]


def raise_if_patched() -> None:
    """Raise ``PatchError`` when the loop is already patched, by this or by anybody's code."""
    foreign = find_active_patch()
    if foreign is not None:
        raise PatchError(
            f"fastai's Learner._do_one_batch is already patched, by {foreign}; expected fastai's own. "
            f"Leave that patch first: take it out of the cell or file that makes it, and restart Python."
        )


def find_active_patch() -> Optional[str]:
    """Where the code of ``Learner._do_one_batch`` comes from, or None where it is fastai's own."""
    code = getattr(Learner._do_one_batch, "__code__", None)
    if code is None:
        return repr(Learner._do_one_batch)
    if code.co_filename == learner.save_model.__code__.co_filename:
        return None
    return f"{code.co_name} in {code.co_filename}, line {code.co_firstlineno}"
