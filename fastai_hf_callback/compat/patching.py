"""What ``heal`` does on either fastai: parts that mend something, each once, while blocks run. Imports torch.

A part looks whether its breakage is there, by trying it, before it touches anything: what works is left alone.
"""
import difflib
import sys
import warnings
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Mapping, Optional, Tuple

from fastai_hf_callback.errors import UnusableInput
from fastai_hf_callback.utils.rng import rng_preserved

__all__ = ["Part", "healed", "rebound", "replaced", "shared", "works"]

# Mends something, or gives None where nothing is broken.
Part = Callable[[], Optional[ContextManager[None]]]


def healed(which: Tuple[Any, ...], parts: Mapping[str, Part]) -> ContextManager[Tuple[str, ...]]:
    """Inside, `which` of the `parts` are mended, or all; gives the names of those that were broken.

    Raises
    ------
    UnusableInput
        When there is no part of such a name.
    """
    for name in which:
        _refuse_unless_known(name, parts)
    return _healed({name: part for name, part in parts.items() if name in which or not which})


@contextmanager
def _healed(parts: Mapping[str, Part]) -> Iterator[Tuple[str, ...]]:
    with ExitStack() as mended:
        yield tuple([name for name, part in parts.items() if mended.enter_context(shared(name, part))])


def _refuse_unless_known(name: Any, parts: Mapping[str, Part]) -> None:
    if not isinstance(name, str):
        raise UnusableInput(f"heal was given {name!r}; expected names of its parts: write heal() or @heal() for all")
    if name not in parts:
        nearest = difflib.get_close_matches(name, parts, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise UnusableInput(f"heal has no part {name!r}; {hint}expected one of {', '.join(parts)}")


_RUNNING: Dict[str, List[Any]] = {}  # part: how many blocks hold it, what undoes it, whether it does anything


@contextmanager
def shared(name: str, part: Part) -> Iterator[bool]:
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


@contextmanager
def replaced(owner: Any, **values: Any) -> Iterator[None]:
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
def rebound(name: str, original: Any, mended: Any) -> Iterator[None]:
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


def works(attempt: Callable[[], Any]) -> bool:
    """Whether `attempt` gets through and does not say False; it changes no random state and is not heard."""
    with rng_preserved(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return attempt() is not False
        except Exception:  # what an unknown version raises is unknown; any of it means broken
            return False
