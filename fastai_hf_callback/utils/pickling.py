"""What of an object cannot be pickled, and what to write. Imports torch and ``errors``."""

import functools
import io
from types import FunctionType, MethodType
from typing import Any, Collection, Dict, Iterator, Mapping, NamedTuple, Optional, Tuple

from torch import Tensor, nn

from fastai_hf_callback.errors import ExportError

__all__ = ["Unpicklable", "find_unpicklable", "raise_if_unpicklable"]

_DEEPEST = 40


class Unpicklable(NamedTuple):
    """The innermost object that cannot be pickled: where it is, itself, and what pickle said."""

    path: str
    value: Any
    error: Exception

    def describe(self) -> str:
        """Format what it is, such as "learn.metrics[0] is a lambda"."""
        name, kind = _name_of(self.value), type(self.value)
        if name.endswith("<lambda>"):
            return f"{self.path} is a lambda"
        if name:
            return f"{self.path} is {name}"
        within = f"of the class {kind.__qualname__}" if "<locals>" in kind.__qualname__ else _article(kind.__name__)
        return f"{self.path} is {within}"

    def describe_fix(self) -> str:
        """Format what to write instead."""
        name = _name_of(self.value)
        if name.endswith("<lambda>"):
            return "a function with a name, in a module that can be imported"
        if name or "<locals>" in type(self.value).__qualname__:
            return f"{'it' if name else 'the class'} at the top level of a module that can be imported"
        is_attribute = self.path.rpartition(".")[2].isidentifier()
        remove = f"{self.path} = None" if is_attribute else f"it out of {self.path.split('[')[0]}"
        return f"{remove} before, or leave it out in __getstate__"


def _name_of(value: Any) -> str:
    """Return the name of a function or a class; nothing for what has none of its own."""
    return value.__qualname__ if isinstance(value, (type, FunctionType)) else ""


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def find_unpicklable(value: Any, path: str, pickle_module: Any, skip: Collection[Any] = ()) -> Optional[Unpicklable]:
    """Find the innermost object inside `value` that cannot be pickled; tensors are taken for granted.

    Parameters
    ----------
    value : object
    path : str
        What to call it.
    pickle_module : module
        ``pickle``, or one like it with a ``Pickler``.
    skip : collection of object
        Objects that are pickled elsewhere, such as the one that `value` belongs to.

    Examples
    --------
    >>> import pickle
    >>> find_unpicklable({"loss": [len, lambda x: x]}, "learn", pickle).path
    "learn['loss'][1]"
    """
    found = None
    above = {id(one) for one in skip}
    for _ in range(_DEEPEST):
        error = _try(value, pickle_module, above)
        if error is None:
            break
        found = Unpicklable(path, value, error)
        above.add(id(value))
        inner = ((p, v) for p, v in _parts_of(value, path) if id(v) not in above and _try(v, pickle_module, above))
        path, value = next(inner, (path, None))
    return found


def raise_if_unpicklable(
    parts: Mapping[str, Any], error: Exception, pickle_module: Any, skip: Collection[Any] = ()
) -> None:
    """Explain an export's `error` by the first of a learner's `parts` (by where they are) that cannot be pickled.

    Raises
    ------
    ExportError
        From `error`; nothing is raised where all of them can be pickled.
    """
    for path, value in parts.items():
        found = find_unpicklable(value, path, pickle_module, skip)
        if found is not None:
            raise ExportError(
                f"The learner cannot be exported: {found.describe()}, and {type(found.error).__name__} was raised "
                f"({found.error}). Write {found.describe_fix()}."
            ) from error


def _try(value: Any, pickle_module: Any, above: Collection[int]) -> Optional[Exception]:
    """Return what pickle raises; what is in `above` and tensors are not gone into."""

    class Probe(pickle_module.Pickler):
        def persistent_id(self, obj: Any) -> Optional[str]:
            return "known" if obj is not value and (isinstance(obj, Tensor) or id(obj) in above) else None

    try:
        Probe(io.BytesIO(), 2).dump(value)
    except Exception as error:
        return error
    return None


def _parts_of(value: Any, path: str) -> Iterator[Tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"{path}[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)) or type(value).__name__ == "L":  # fastcore's list
        yield from ((f"{path}[{at}]", part) for at, part in enumerate(value))
    elif isinstance(value, functools.partial):
        yield from ((f"{path}.{name}", getattr(value, name)) for name in ("func", "args", "keywords"))
    elif isinstance(value, MethodType):
        yield f"{path}.__self__", value.__self__
    elif not isinstance(value, (type, FunctionType)):
        state = _state_of(value)
        if isinstance(value, nn.Module):
            yield from ((f"{path}.{name}", child) for name, child in state.pop("_modules", {}).items())
        yield from ((f"{path}.{name}", part) for name, part in state.items())


def _state_of(value: Any) -> Dict[str, Any]:
    """Return what pickle would store of an object's attributes."""
    try:
        state = value.__getstate__() if hasattr(value, "__getstate__") else vars(value)
    except Exception:  # it cannot be told
        state = None
    state = vars(value) if not isinstance(state, dict) and hasattr(value, "__dict__") else state
    return dict(state) if isinstance(state, dict) else {}
