"""Patches of ``heal``, for either fastai, each applied once, while blocks run. Imports torch.

A patch first tries whether fastai is broken here: what works is left alone.
"""

import difflib
import sys
import warnings
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Mapping, Optional, Tuple

from fastai_hf_callback.errors import InvalidInputError, PatchError
from fastai_hf_callback.utils.rng import preserve_rng_state

__all__ = [
    "Patch",
    "apply_patches",
    "apply_once",
    "find_foreign_code",
    "raise_if_foreign",
    "replace_in_modules",
    "when_loaded",
    "works",
]

# Returns what repairs a part of fastai, or None where nothing is broken.
Patch = Callable[[], Optional[ContextManager[Any]]]


def apply_patches(names: Tuple[Any, ...], patches: Mapping[str, Patch]) -> ContextManager[Tuple[str, ...]]:
    """Apply the `patches` of these `names`, or all, while a block runs; ``as`` gives those that were needed.

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
    """Apply `patch` once: of several blocks the first enters it and the last leaves. Yield whether it does anything."""
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


def when_loaded(module: str) -> Callable[[Callable[[Any], ContextManager[Any]]], Patch]:
    """Turn a function of `module` into a patch that applies where that module is loaded: only then it can be in use."""

    def build_patch(patch: Callable[[Any], ContextManager[Any]]) -> Patch:
        return lambda: patch(sys.modules[module]) if module in sys.modules else None

    return build_patch


@contextmanager
def replace_in_modules(name: str, original: Any, patched: Any) -> Iterator[None]:
    """Replace `original` by `patched` wherever a loaded fastai module holds it, mostly by ``import *``.

    A module imported inside, fastai's or not, may hold `patched` too: `original` is restored there as well.
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
    """Return whether `attempt` succeeds and does not return False; random states are kept and warnings ignored."""
    with preserve_rng_state(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return attempt() is not False
        except Exception:  # what an unknown version raises is unknown; any of it means broken
            return False


def find_foreign_code(function: Any, neighbor: Any) -> Optional[str]:
    """Return where the code of `function` comes from, or None where it stands in the file that `neighbor` stands in."""
    code = getattr(function, "__code__", None)
    if code is None:
        return repr(function)
    if code.co_filename == neighbor.__code__.co_filename:
        return None
    return f"{code.co_name} in {code.co_filename}, line {code.co_firstlineno}"


def raise_if_foreign(name: str, foreign: Optional[str]) -> None:
    """Raise ``PatchError`` where the function of this name is `foreign` code."""
    if foreign is not None:
        raise PatchError(
            f"{name} is already patched, by {foreign}; expected fastai's own. "
            f"Leave that patch first: take it out of the cell or file that makes it, and restart Python."
        )
