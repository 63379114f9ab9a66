"""What ``heal`` does on either fastai: parts that mend something, each once, while blocks run. Imports torch.

A part looks whether its breakage is there, by trying it, before it touches anything: what works is left alone.
"""

import difflib
import sys
import warnings
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Mapping, Optional, Tuple

from fastai_hf_callback.errors import InvalidInputError
from fastai_hf_callback.utils.rng import preserve_rng_state

__all__ = ["Patch", "apply_patches", "replace_in_modules", "replace_attributes", "apply_once", "works"]

# Mends something, or gives None where nothing is broken.
Patch = Callable[[], Optional[ContextManager[None]]]


def apply_patches(names: Tuple[Any, ...], patches: Mapping[str, Patch]) -> ContextManager[Tuple[str, ...]]:
    """Inside, `names` of the `patches` are mended, or all; gives the names of those that were broken.

    Raises
    ------
    InvalidInputError
        When there is no part of such a name.
    """
    for name in names:
        _check_patch_name(name, patches)
    return _apply_patches({name: patch for name, patch in patches.items() if name in names or not names})


@contextmanager
def _apply_patches(patches: Mapping[str, Patch]) -> Iterator[Tuple[str, ...]]:
    with ExitStack() as patched:
        yield tuple([name for name, patch in patches.items() if patched.enter_context(apply_once(name, patch))])


def _check_patch_name(name: Any, patches: Mapping[str, Patch]) -> None:
    if not isinstance(name, str):
        raise InvalidInputError(
            f"heal was given {name!r}; expected names of its parts: write heal() or @heal() for all"
        )
    if name not in patches:
        nearest = difflib.get_close_matches(name, patches, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise InvalidInputError(f"heal has no part {name!r}; {hint}expected one of {', '.join(patches)}")


_ACTIVE: Dict[str, List[Any]] = {}  # part: how many blocks hold it, what undoes it, whether it does anything


@contextmanager
def apply_once(name: str, patch: Patch) -> Iterator[bool]:
    """`patch`, once however many blocks want it: the first enters it and the last leaves. Whether it does anything."""
    if name not in _ACTIVE:
        undo, context = ExitStack(), patch()
        undo.enter_context(context or ExitStack())
        _ACTIVE[name] = [0, undo, context is not None]
    active = _ACTIVE[name]
    active[0] += 1
    try:
        yield active[2]
    finally:
        active[0] -= 1
        if not active[0]:
            _ACTIVE.pop(name)[1].close()


@contextmanager
def replace_attributes(owner: Any, **values: Any) -> Iterator[None]:
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
def replace_in_modules(name: str, original: Any, patched: Any) -> Iterator[None]:
    """`patched` for `original` wherever a loaded fastai module holds it, mostly by ``import *``.

    A module imported meanwhile, fastai's or not, may have taken `patched` along: put back is wherever it is.
    """
    try:
        for module in _find_modules_holding(name, original):
            if module.__name__.split(".")[0] == "fastai":
                setattr(module, name, patched)
        yield
    finally:
        for module in _find_modules_holding(name, patched):
            setattr(module, name, original)


def _find_modules_holding(name: str, value: Any) -> List[ModuleType]:
    return [
        module
        for module in list(sys.modules.values())
        if isinstance(module, ModuleType) and vars(module).get(name) is value
    ]


def works(attempt: Callable[[], Any]) -> bool:
    """Whether `attempt` gets through and does not say False; it changes no random state and is not heard."""
    with preserve_rng_state(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return attempt() is not False
        except Exception:  # what an unknown version raises is unknown; any of it means broken
            return False
