"""What today's Python breaks in fastai 1, mended while a block runs; and full pickles from named files only.

A part looks whether its breakage is there, by trying it, before it touches anything: what works is left alone.
"""
import difflib
import inspect
import io
import os
import sys
import warnings
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional, Tuple

import numpy as np
import torch
from fastai import core, metrics
from fastai.basic_train import Learner
from fastai.train import AccumulateScheduler

from ..errors import UnusableInput
from ..output import tensors_in
from ..rng import rng_preserved

__all__ = ["heal", "trusted"]


def heal(*which: str) -> ContextManager[Tuple[str, ...]]:
    """Inside, fastai 1 does what today's numpy and torch broke in it; afterwards everything is as it was.

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
    accuracy-thresh       ``accuracy_thresh`` for bool, byte, float and int targets
    ====================  =========================================================================================

    Parameters
    ----------
    *which : str
        The parts to mend; all of them by default.

    Returns
    -------
    context manager
        Usable as a decorator too. ``as`` gives the names of the parts that were broken here, and now are not.

    Raises
    ------
    UnusableInput
        When there is no part of such a name.

    Notes
    -----
    Blocks may nest or overlap: the first mends, the last puts back. Only what is loaded is mended: import
    ``fastai.text`` and ``fastai.distributed`` before the block. What your own module took from fastai by ``import *``
    stays as it was. ``torch.load`` keeps loading weights only; `trusted` is for the rest.
    """
    for name in which:
        _refuse_unless_known(name)
    return _healed([name for name in _PARTS if name in which or not which])


def trusted(*paths: Any) -> ContextManager[None]:
    """Inside, ``torch.load`` reads full pickles from these files, as ``load_learner``, ``load_data``, ``purge`` need.

    A pickle can do whatever a program can: name only files of whose origin you are sure.

    Parameters
    ----------
    *paths : str or Path
        Files, or folders, which stand for all in them (``purge`` writes into ``learn.model_dir``); links are followed.

    Returns
    -------
    context manager
        Usable as a decorator too.

    Raises
    ------
    UnusableInput
        When no path is given, or something that is none.

    Notes
    -----
    Every other file, and what is no file on disk, is loaded as torch does by default. Where the caller of
    ``torch.load`` says ``weights_only``, that holds. torch 1.4 knows no such thing: every file is a full pickle there.
    """
    if not paths:
        raise UnusableInput("trusted() names no file; expected the files whose pickles may run, as in "
                            "trusted('models/export.pkl')")
    return _trusting([_resolved(path) for path in paths])


# -- blocks ----------------------------------------------------------------------------------------


@contextmanager
def _healed(names: List[str]) -> Iterator[Tuple[str, ...]]:
    with ExitStack() as mended:
        yield tuple([name for name in names if mended.enter_context(_shared(name, _PARTS[name]))])


_RUNNING: Dict[str, List[Any]] = {}  # part: how many blocks hold it, what undoes it, whether it does anything


@contextmanager
def _shared(name: str, part: Callable[[], Optional[ContextManager[None]]]) -> Iterator[bool]:
    """`part`, once however many blocks want it: the first enters it and the last leaves. Whether it does anything."""
    if name not in _RUNNING:
        undo, mending = ExitStack(), part()
        undo.enter_context(mending or ExitStack())
        _RUNNING[name] = [0, undo, mending is not None]
    running = _RUNNING[name]
    running[0] += 1
    try:
        yield running[2]
    finally:
        running[0] -= 1
        if not running[0]:
            _RUNNING.pop(name)[1].close()


def _refuse_unless_known(name: Any) -> None:
    if not isinstance(name, str):
        raise UnusableInput(f"heal was given {name!r}; expected names of its parts: write heal() or @heal() for all")
    if name not in _PARTS:
        nearest = difflib.get_close_matches(name, _PARTS, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise UnusableInput(f"heal has no part {name!r}; {hint}expected one of {', '.join(_PARTS)}")


@contextmanager
def _replaced(owner: Any, **values: Any) -> Iterator[None]:
    """Attributes of a module or class set to `values`; the very objects that were there come back."""
    originals = {name: vars(owner)[name] for name in values}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in originals.items():
            setattr(owner, name, value)


@contextmanager
def _rebound(name: str, original: Any, mended: Any) -> Iterator[None]:
    """`mended` for `original` wherever a loaded fastai module holds it, mostly by ``import *``.

    A module imported meanwhile, fastai's or not, may have taken `mended` along: put back is wherever it is.
    """
    try:
        for module in _holders(name, original):
            if module.__name__.split(".")[0] == "fastai":
                setattr(module, name, mended)
        yield
    finally:
        for module in _holders(name, mended):
            setattr(module, name, original)


def _holders(name: str, value: Any) -> List[ModuleType]:
    return [module for module in list(sys.modules.values())
            if isinstance(module, ModuleType) and vars(module).get(name) is value]


def _works(attempt: Callable[[], Any]) -> bool:
    """Whether `attempt` gets through and does not say False; it changes no random state and is not heard."""
    with rng_preserved(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return attempt() is not False
        except Exception:  # what an unknown version raises is unknown; any of it means broken
            return False


# -- parts: each a context manager, or None where nothing is broken ------------------------------------


def _ragged_arrays() -> Optional[ContextManager[None]]:
    original = core.array
    if _works(lambda: original([[1], [1, 2]])):
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

    return _rebound("array", original, array)


def _numpy_names() -> Optional[ContextManager[None]]:
    if all(_works(lambda name=name: getattr(np, name)) for name in ("object", "int", "float")):
        return None
    return _rebound("np", np, _NumpyOf2019("numpy"))


class _NumpyOf2019(ModuleType):
    """numpy, and beside it the names of Python's types that it once had and fastai still writes."""

    object, int, float = object, int, float

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def _sortish_sampler() -> Optional[ContextManager[None]]:
    if "fastai.text.data" not in sys.modules:
        return None
    sampler = sys.modules["fastai.text.data"].SortishSampler

    def draws(rows: int) -> List[int]:
        return list(sampler(range(rows), key=lambda row: row, bs=2))

    if _works(lambda: draws(5)) and _works(lambda: draws(2)):
        return None
    return _replaced(sampler, __iter__=_sortish)


def _sortish(self) -> Iterator[int]:
    """fastai's ``SortishSampler.__iter__`` without arrays of unequal rows: the same draws, the same order."""
    rows = np.random.permutation(len(self.data_source))
    by_length = [row for part in _cut(rows, self.bs * 50) for row in sorted(part, key=self.key, reverse=True)]
    batches = _cut(by_length, self.bs)
    longest = int(np.argmax([self.key(batch[0]) for batch in batches]))
    batches[0], batches[longest] = batches[longest], batches[0]
    first, rest = batches[0], batches[1:]
    order = np.random.permutation(len(rest)) if rest else []
    return iter(np.array([*first, *(row for at in order for row in rest[at])]))


def _cut(rows: Any, size: int) -> List[Any]:
    return [rows[at:at + size] for at in range(0, len(rows), size)]


def _optimizer_load() -> Optional[ContextManager[None]]:
    if _works(_load_a_numpy_scalar) or not hasattr(torch.serialization, "safe_globals"):
        return None
    original = Learner.load

    @wraps(original)
    def load(self, *args, **kwargs):
        known = torch.serialization.get_safe_globals()
        with torch.serialization.safe_globals([one for one in _numpy_scalars() if one not in known]):
            return original(self, *args, **kwargs)

    return _replaced(Learner, load=load)


def _load_a_numpy_scalar() -> None:
    file = io.BytesIO()
    torch.save({"lr": np.float64(1)}, file)
    file.seek(0)
    torch.load(file)


def _numpy_scalars() -> List[Any]:
    """What a pickled numpy number is made of, under numpy 1's and numpy 2's names: numbers and nothing else."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = (np.float64, np.float32, np.float16, np.int64, np.int32, np.bool_)
    return [(scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar"),
            (np.dtype, "numpy.dtype"), *(type(np.dtype(kind)) for kind in kinds)]


def _accumulate() -> ContextManager[None]:
    return _replaced(AccumulateScheduler, on_batch_begin=_on_batch_begin, on_backward_end=_on_backward_end,
                     on_epoch_end=_on_epoch_end)


def _on_batch_begin(self, last_input: Any, last_target: Any, **kwargs: Any) -> None:
    """fastai's, which counts the rows of a single tensor only."""
    self.acc_samples += next(tensors_in(last_input)).shape[0]
    self.acc_batches += 1


def _on_backward_end(self, **kwargs: Any) -> Optional[Dict[str, bool]]:
    """fastai's, which counts on every parameter having a gradient."""
    if self.acc_batches % self.n_step:
        return {"skip_step": True, "skip_zero": True}
    for gradient in _gradients(self.learn.model):
        gradient.div_(self.acc_samples)
    self.acc_samples = 0
    return None


def _on_epoch_end(self, **kwargs: Any) -> None:
    """fastai's "step the rest of the accumulated grads if not perfectly divisible", where there is a rest."""
    rest = _gradients(self.learn.model)
    for gradient in rest:
        gradient.div_(self.acc_samples)
    if rest and not self.drop_last:
        self.learn.opt.step()
    self.learn.opt.zero_grad()


def _gradients(model: torch.nn.Module) -> List[torch.Tensor]:
    return [p.grad for p in model.parameters() if p.requires_grad and p.grad is not None]


def _distributed_on_cpu() -> Optional[ContextManager[None]]:
    distributed = sys.modules.get("fastai.distributed")
    if distributed is None:  # and only a process group could show whether it is broken: the mended one works anyway
        return None
    original = distributed.DistributedDataParallel

    @wraps(original, updated=())
    def on_its_device(module, *args, **kwargs):
        if all(parameter.device.type == "cpu" for parameter in module.parameters()):
            kwargs.update(device_ids=None, output_device=None)
        return original(module, *args, **kwargs)

    return _replaced(distributed, DistributedDataParallel=on_its_device)


def _accuracy_thresh() -> Optional[ContextManager[None]]:
    original, outputs = metrics.accuracy_thresh, torch.tensor([1.0, 1.0])
    targets = [torch.tensor([1, 0]).to(kind) for kind in (torch.bool, torch.uint8, torch.float32, torch.int64)]
    if _works(lambda: all(float(original(outputs, target)) == 0.5 for target in targets)):
        return None

    @wraps(original)
    def accuracy_thresh(y_pred, y_true, thresh=0.5, sigmoid=True):
        y_pred = y_pred.sigmoid() if sigmoid else y_pred
        return ((y_pred > thresh).byte() == y_true.byte()).float().mean()

    return _rebound("accuracy_thresh", original, accuracy_thresh)


_PARTS: Dict[str, Callable[[], Optional[ContextManager[None]]]] = {
    "ragged-arrays": _ragged_arrays, "numpy-names": _numpy_names, "sortish-sampler": _sortish_sampler,
    "optimizer-load": _optimizer_load, "accumulate": _accumulate, "distributed-on-cpu": _distributed_on_cpu,
    "accuracy-thresh": _accuracy_thresh,
}


# -- trust -----------------------------------------------------------------------------------------

_TRUSTED: List[Path] = []


@contextmanager
def _trusting(paths: List[Path]) -> Iterator[None]:
    with _shared("torch.load", _load_of_trusted_files):
        _TRUSTED.extend(paths)
        try:
            yield
        finally:
            for path in paths:
                _TRUSTED.remove(path)


def _load_of_trusted_files() -> Optional[ContextManager[None]]:
    if "weights_only" not in inspect.signature(torch.serialization.load).parameters:
        return None
    original = torch.load

    @wraps(original)
    def load(f, *args, **kwargs):
        if kwargs.get("weights_only") is None and _is_trusted(f):
            kwargs["weights_only"] = False
        return original(f, *args, **kwargs)

    return _replaced(torch, load=load)


def _is_trusted(file: Any) -> bool:
    path = _path_of(file)
    return path is not None and any(path == one or one in path.parents for one in _TRUSTED)


def _path_of(file: Any) -> Optional[Path]:
    """Where a path, or an open file, leads; None where there is nothing on disk."""
    try:
        if isinstance(file, (str, os.PathLike)):
            return Path(file).resolve()
        if os.path.samestat(os.fstat(file.fileno()), os.stat(file.name)):  # its name may have passed to another file
            return Path(file.name).resolve()
    except (AttributeError, OSError, TypeError, ValueError):
        pass
    return None


def _resolved(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise UnusableInput(f"trusted was given {path!r}; expected paths of files or folders")
    return Path(path).resolve()
