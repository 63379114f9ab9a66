"""``heal`` for fastai 1: repairs of what today's Python, numpy and torch broke in it, while a block runs.

``compat/patching.py`` enters and leaves patches; ``distributed.py`` has those for several processes.
"""

import io
import sys
from functools import wraps
from types import ModuleType
from typing import Any, ContextManager, Dict, Iterator, List, Optional, Tuple
from unittest.mock import patch

import numpy as np
import torch
from fastai import core, metrics
from fastai.basic_train import Learner
from fastai.train import AccumulateScheduler

from fastai_hf_callback.compat.patching import Patch, apply_patches, replace_in_modules, works
from fastai_hf_callback.model.output import tensors_in

from .distributed import DISTRIBUTED_PATCHES

__all__ = ["heal"]


def heal(*which: str) -> ContextManager[Tuple[str, ...]]:
    """Repair what today's numpy and torch broke in fastai 1 while a block runs; afterwards everything is as it was.

    ====================  =========================================================================================
    part                  what works inside
    ====================  =========================================================================================
    ragged-arrays         lists of unequal length in the data block: texts, several labels per row
    numpy-names           fastai's ``np.object``, ``np.int`` and ``np.float``, in fastai's modules only
    sortish-sampler       ``SortishSampler`` (every ``TextClasDataBunch``) with a short last batch, or a single one
    optimizer-load        ``Learner.load`` after ``fit_one_cycle``, and so ``lr_find``, ``SaveModelCallback``
    accumulate            ``AccumulateScheduler``, also with several inputs and with parameters that get no gradient;
                          where nothing is left at the epoch's end, it makes no step there
    distributed-on-cpu    ``to_distributed`` of a model on the CPU
    distributed-validate  ``learn.validate()`` of such a learner: fastai leaves the model wrapped, once more each time
    distributed-metrics   validation loss and metrics of a fit over the whole set; fastai's loss is that of a share of
                          it, and rows that it repeats count twice
    accuracy-thresh       ``accuracy_thresh`` for bool, byte, float and int targets
    ====================  =========================================================================================

    Parameters
    ----------
    *which : str
        The parts to repair; all of them by default.

    Returns
    -------
    context manager
        Usable as a decorator too. ``as`` gives the names of the parts that were broken here, and now are not.

    Raises
    ------
    InvalidInputError
        When there is no part of such a name.

    Notes
    -----
    Blocks may nest or overlap: the first patches, the last restores. Only what is loaded is patched: import
    ``fastai.text`` and ``fastai.distributed`` before the block. What your own module took from fastai by ``import *``
    stays as it was. ``torch.load`` keeps loading weights only; `trusted` is for the rest.
    """
    return apply_patches(which, _PATCHES)


# -- parts: each a context manager, or None where nothing is broken ------------------------------------


def _patch_ragged_arrays() -> Optional[ContextManager[Any]]:
    original = core.array
    if works(lambda: original([[1], [1, 2]])):
        return None

    @wraps(original)
    def array(a, dtype=None, **kwargs):
        a = a if hasattr(a, "__len__") or hasattr(a, "__array_interface__") else list(a)  # read a generator once
        try:
            return original(a, dtype=dtype, **kwargs)
        except ValueError:
            if dtype is not None:
                raise
            return original(a, dtype=object, **kwargs)  # what numpy did by itself before 1.24

    return replace_in_modules("array", original, array)


def _patch_numpy_names() -> Optional[ContextManager[Any]]:
    if all(works(lambda name=name: getattr(np, name)) for name in ("object", "int", "float")):
        return None
    return replace_in_modules("np", np, _NumpyWithOldNames("numpy"))


class _NumpyWithOldNames(ModuleType):
    """numpy, with the names of Python's types that it once had and fastai still uses."""

    object, int, float = object, int, float

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def _patch_sortish_sampler() -> Optional[ContextManager[Any]]:
    if "fastai.text.data" not in sys.modules:
        return None
    sampler = sys.modules["fastai.text.data"].SortishSampler

    def draws(rows: int) -> List[int]:
        return list(sampler(range(rows), key=lambda row: row, bs=2))

    if works(lambda: draws(5)) and works(lambda: draws(2)):
        return None
    return patch.object(sampler, "__iter__", _iterate_sortish)


def _iterate_sortish(self) -> Iterator[int]:
    """Iterate as fastai's ``SortishSampler``, without arrays of unequal rows: the same draws, the same order."""
    rows = np.random.permutation(len(self.data_source))
    by_length = [
        row for part in _cut_into_chunks(rows, self.bs * 50) for row in sorted(part, key=self.key, reverse=True)
    ]
    batches = _cut_into_chunks(by_length, self.bs)
    longest = int(np.argmax([self.key(batch[0]) for batch in batches]))
    batches[0], batches[longest] = batches[longest], batches[0]
    first, rest = batches[0], batches[1:]
    order = np.random.permutation(len(rest)) if rest else []
    return iter(np.array([*first, *(row for at in order for row in rest[at])]))


def _cut_into_chunks(rows: Any, size: int) -> List[Any]:
    return [rows[at : at + size] for at in range(0, len(rows), size)]


def _patch_optimizer_load() -> Optional[ContextManager[Any]]:
    if works(_load_numpy_scalar) or not hasattr(torch.serialization, "safe_globals"):
        return None
    original = Learner.load

    @wraps(original)
    def load(self, *args, **kwargs):
        known = torch.serialization.get_safe_globals()
        with torch.serialization.safe_globals([one for one in _list_numpy_scalar_globals() if one not in known]):
            return original(self, *args, **kwargs)

    return patch.object(Learner, "load", load)


def _load_numpy_scalar() -> None:
    file = io.BytesIO()
    torch.save({"lr": np.float64(1)}, file)
    file.seek(0)
    torch.load(file)


def _list_numpy_scalar_globals() -> List[Any]:
    """List what a pickled numpy number is made of, under numpy 1's and 2's names: numbers and nothing else."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = (np.float64, np.float32, np.float16, np.int64, np.int32, np.bool_)
    return [
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        (np.dtype, "numpy.dtype"),
        *(type(np.dtype(kind)) for kind in kinds),
    ]


def _patch_accumulate_scheduler() -> ContextManager[Any]:
    return patch.multiple(
        AccumulateScheduler,
        on_batch_begin=_on_batch_begin,
        on_backward_end=_on_backward_end,
        on_epoch_end=_on_epoch_end,
    )


def _on_batch_begin(self, last_input: Any, last_target: Any, **kwargs: Any) -> None:
    """Count the rows as fastai does, also of several inputs: fastai's counts those of a single tensor only."""
    self.acc_samples += next(tensors_in(last_input)).shape[0]
    self.acc_batches += 1


def _on_backward_end(self, **kwargs: Any) -> Optional[Dict[str, bool]]:
    """Scale the gradients as fastai does, also where a parameter has none: fastai's expects one of each."""
    if self.acc_batches % self.n_step:
        return {"skip_step": True, "skip_zero": True}
    for gradient in _get_gradients(self.learn.model):
        gradient.div_(self.acc_samples)
    self.acc_samples = 0
    return None


def _on_epoch_end(self, **kwargs: Any) -> None:
    """Run fastai's "step the rest of the accumulated grads if not perfectly divisible", where there is a rest."""
    rest = _get_gradients(self.learn.model)
    for gradient in rest:
        gradient.div_(self.acc_samples)
    if rest and not self.drop_last:
        self.learn.opt.step()
    self.learn.opt.zero_grad()


def _get_gradients(model: torch.nn.Module) -> List[torch.Tensor]:
    return [p.grad for p in model.parameters() if p.requires_grad and p.grad is not None]


def _patch_accuracy_thresh() -> Optional[ContextManager[Any]]:
    original, outputs = metrics.accuracy_thresh, torch.tensor([1.0, 1.0])
    targets = [torch.tensor([1, 0]).to(kind) for kind in (torch.bool, torch.uint8, torch.float32, torch.int64)]
    if works(lambda: all(float(original(outputs, target)) == 0.5 for target in targets)):
        return None

    @wraps(original)
    def accuracy_thresh(y_pred, y_true, thresh=0.5, sigmoid=True):
        y_pred = y_pred.sigmoid() if sigmoid else y_pred
        return ((y_pred > thresh).byte() == y_true.byte()).float().mean()

    return replace_in_modules("accuracy_thresh", original, accuracy_thresh)


_PATCHES: Dict[str, Patch] = {
    "ragged-arrays": _patch_ragged_arrays,
    "numpy-names": _patch_numpy_names,
    "sortish-sampler": _patch_sortish_sampler,
    "optimizer-load": _patch_optimizer_load,
    "accumulate": _patch_accumulate_scheduler,
    **DISTRIBUTED_PATCHES,
    "accuracy-thresh": _patch_accuracy_thresh,
}
