"""``heal`` for fastai 2: what it does wrong on the CPU and with several processes, mended while a block runs.

How a part is entered and left stands in ``healing.py``; what concerns several processes in ``distributing.py``.
"""

import warnings
from functools import wraps
from typing import ContextManager, Dict, Optional, Tuple

import torch
from fastai.callback.fp16 import MixedPrecision

from fastai_hf_callback.compat.patching import Patch, apply_patches, replace_attributes

from .distributed import DISTRIBUTED_PATCHES

__all__ = ["heal"]


def heal(*which: str) -> ContextManager[Tuple[str, ...]]:
    """Inside, fastai 2 does what it gets wrong otherwise; afterwards everything is as it was.

    =======================  ======================================================================================
    part                     what works inside
    =======================  ======================================================================================
    distributed-on-cpu       ``distrib_ctx(cpu=True)``: fastai sends the order of the rows between GPUs alone
    distributed-predictions  ``get_preds``: rows in the order of the loader, inside ``distrib_ctx`` and, in a process
                             of ``torchrun``, outside
    distributed-metrics      metrics and the validation loss where rows are repeated so that they can be divided:
                             each row counts once
    bf16-on-cpu              ``to_bf16`` of a model on the CPU, which computes in float32 otherwise
    =======================  ======================================================================================

    The loaders of ``text_data`` with ``HFCallback`` need none of the first three: they share their rows in their own
    way.

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
    InvalidInputError
        When there is no part of such a name.

    Notes
    -----
    Blocks may nest or overlap: the first mends, the last puts back. Only what is loaded is mended: import
    ``fastai.distributed`` before the block.
    """
    return apply_patches(which, _PATCHES)


def _patch_bf16_on_cpu() -> Optional[ContextManager[None]]:
    if not hasattr(torch, "autocast"):
        return None
    original = MixedPrecision.before_fit

    @wraps(original)
    def before_fit(self):
        if next(self.learn.model.parameters()).device.type != "cpu" or self.amp_mode.value != "bf16":
            return original(self)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says that it has no CUDA to compute in bf16 on
            original(self)
        self.autocast = torch.autocast("cpu", dtype=torch.bfloat16)
        return None

    return replace_attributes(MixedPrecision, before_fit=before_fit)


_PATCHES: Dict[str, Patch] = {**DISTRIBUTED_PATCHES, "bf16-on-cpu": _patch_bf16_on_cpu}
