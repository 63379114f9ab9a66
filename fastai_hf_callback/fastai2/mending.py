"""``heal`` for fastai 2: what it does wrong with several processes, mended while a block runs.

How a part is entered and left stands in ``healing.py``.
"""
from typing import ContextManager, Tuple

from ..healing import healed
from .distributing import PARTS

__all__ = ["heal"]


def heal(*which: str) -> ContextManager[Tuple[str, ...]]:
    """Inside, fastai 2 does what it gets wrong with several processes; afterwards everything is as it was.

    =======================  ======================================================================================
    part                     what works inside
    =======================  ======================================================================================
    distributed-on-cpu       ``distrib_ctx(cpu=True)``: fastai sends the order of the rows between GPUs alone
    distributed-predictions  ``get_preds``: rows in the order of the loader, inside ``distrib_ctx`` and, in a process
                             of ``torchrun``, outside
    distributed-metrics      metrics and the validation loss where rows are repeated so that they can be divided:
                             each row counts once
    =======================  ======================================================================================

    The loaders of ``text_data`` with ``HFCallback`` need none of it: they share their rows in their own way.

    Parameters
    ----------
    *which : str
        The parts to mend; all of them by default.

    Returns
    -------
    context manager
        Usable as a decorator too. ``as`` gives the names of the parts that are mended now.

    Raises
    ------
    UnusableInput
        When there is no part of such a name.

    Notes
    -----
    Blocks may nest or overlap: the first mends, the last puts back. Only what is loaded is mended: import
    ``fastai.distributed`` before the block.
    """
    return healed(which, PARTS)
