"""Where an object's code is written: file and line, or "" for what comes from an installed package."""

import inspect
from pathlib import Path
from typing import Any

__all__ = ["is_own_code", "locate", "name_object"]


def locate(thing: Any) -> str:
    """Return the file's name and the line where the thing's class, or the function itself, begins."""
    target = _find_source(thing)
    line = _find_line(target)
    if not line and inspect.isclass(target):  # made by a call: its functions are written somewhere
        target = next((member for member in vars(target).values() if inspect.isfunction(member)), target)
        line = _find_line(target)
    try:
        file = str(inspect.getsourcefile(target) or inspect.getfile(target))
    except (TypeError, OSError):
        return ""
    if _is_installed(file):
        return ""
    return f"{Path(file).name}, line {line}" if line else Path(file).name


def is_own_code(thing: Any) -> bool:
    """Return whether the thing is written by the user, in a file or a notebook."""
    target = _find_source(thing)
    try:
        return not _is_installed(str(inspect.getfile(target)))
    except (TypeError, OSError):
        return getattr(target, "__module__", "") == "__main__"


def name_object(thing: Any) -> str:
    """Return the name of a function or of an object's class."""
    inner = getattr(thing, "func", thing)
    return str(getattr(inner, "__name__", None) or type(inner).__name__)


def _find_source(thing: Any) -> Any:
    thing = inspect.unwrap(getattr(thing, "func", thing))
    is_code = inspect.isclass(thing) or inspect.isfunction(thing) or inspect.ismethod(thing)
    return thing if is_code else type(thing)


def _find_line(target: Any) -> int:
    code = getattr(target, "__code__", None)
    if code is not None:
        return int(code.co_firstlineno)
    try:
        return int(inspect.getsourcelines(target)[1])
    except (TypeError, OSError, IndexError):
        return 0


def _is_installed(file: str) -> bool:
    return "site-packages" in file or file.startswith((_STDLIB, _PACKAGE))


_STDLIB = str(Path(inspect.__file__).parent)
_PACKAGE = str(Path(__file__).resolve().parents[2])
