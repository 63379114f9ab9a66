"""``heal`` for fastai 2: repairs of its errors on the CPU and with several processes, while a block runs.

``compat/patching.py`` enters and leaves patches; ``distributed.py`` has those for several processes.
"""

import warnings
from contextlib import contextmanager
from functools import wraps
from typing import Any, Callable, ContextManager, Dict, Iterator, Optional, Tuple
from unittest.mock import patch

import torch
from fastai.callback.fp16 import MixedPrecision

from fastai_hf_callback.compat.autocast import preserve_autocast
from fastai_hf_callback.compat.patching import Patch, apply_patches

from .distributed import DISTRIBUTED_PATCHES

__all__ = ["heal"]


def heal(*which: str) -> ContextManager[Tuple[str, ...]]:
    """Repair what fastai 2 gets wrong while a block runs; afterwards everything is as it was.

    =======================  ======================================================================================
    part                     what works inside
    =======================  ======================================================================================
    distributed-on-cpu       ``distrib_ctx(cpu=True)``: fastai sends the order of the rows between GPUs alone
    distributed-predictions  ``get_preds``: rows in the order of the loader, inside ``distrib_ctx`` and, in a process
                             of ``torchrun``, outside
    distributed-metrics      metrics and the validation loss where rows are repeated so that they can be divided:
                             each row counts once
    bf16-on-cpu              ``to_bf16`` of a model on the CPU, which computes in float32 otherwise; autocast is left as
                             it was, also by a fit that was interrupted
    =======================  ======================================================================================

    The loaders of ``text_data`` with ``HFCallback`` need none of the first three: they share their rows in their own
    way.

    Parameters
    ----------
    *which : str
        The parts to repair; all of them by default.

    Returns
    -------
    context manager
        Usable as a decorator too. ``as`` gives the names of the parts that are repaired now.

    Raises
    ------
    InvalidInputError
        When there is no part of such a name.

    Notes
    -----
    Blocks may nest or overlap: the first patches, the last restores. Only what is loaded is patched: import
    ``fastai.distributed`` before the block.
    """
    return apply_patches(which, _PATCHES)


def _patch_bf16_on_cpu() -> Optional[ContextManager[Any]]:
    if not hasattr(torch, "autocast"):
        return None
    original = MixedPrecision.before_fit

    @wraps(original)
    def before_fit(self: MixedPrecision) -> Any:
        if next(self.learn.model.parameters()).device.type != "cpu" or self.amp_mode.value != "bf16":
            return original(self)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that it has no CUDA to compute in bf16
            original(self)
        self.autocast = torch.autocast("cpu", dtype=torch.bfloat16)
        return None

    return _patch_and_preserve_autocast(before_fit)


@contextmanager
def _patch_and_preserve_autocast(before_fit: Callable[..., Any]) -> Iterator[None]:
    with preserve_autocast(), patch.object(MixedPrecision, "before_fit", before_fit):
        yield


_PATCHES: Dict[str, Patch] = {**DISTRIBUTED_PATCHES, "bf16-on-cpu": _patch_bf16_on_cpu}
