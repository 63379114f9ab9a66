"""Which line of the user's own code an exception passed last. Imports nothing of this package."""

import traceback
from pathlib import Path
from typing import Any, NamedTuple, Optional

__all__ = ["PACKAGE", "OwnLine", "find_own_line", "is_installed"]

PACKAGE = Path(__file__).resolve().parents[1]
_STDLIB = str(Path(traceback.__file__).parent)
# By a base class's name: fastai is not imported here.
_KINDS = {
    "Callback": "callback",
    "Metric": "metric",
    "Dataset": "dataset",
    "Module": "module",
    "Transform": "transform",
}


class OwnLine(NamedTuple):
    """The last line of the user's own that an exception passed.

    Attributes
    ----------
    place : str
        As in ``after_pred of your callback Unwrap, train.py, line 7``.
    file, line : str, int
    raised_here : bool
        Whether that very line raised, and no library that it called.
    """

    place: str
    file: str
    line: int
    raised_here: bool


def find_own_line(error: BaseException) -> Optional[OwnLine]:
    """Find the last line of the user's own that an exception passed; None where it passed none."""
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [i for i, (frame, _) in enumerate(frames) if not is_installed(frame.f_code.co_filename)]
    if not own:
        return None
    frame, line = frames[own[-1]]
    owner, file = _name_owner(frame.f_locals.get("self")), Path(frame.f_code.co_filename).name
    return OwnLine(f"{frame.f_code.co_name}{owner}, {file}, line {line}", file, line, own[-1] == len(frames) - 1)


def is_installed(filename: str) -> bool:
    """Return whether a file is this package's, a library's or Python's own, and no line of the user's."""
    return filename.startswith((str(PACKAGE), _STDLIB, "<frozen")) or "site-packages" in filename


def _name_owner(owner: Any) -> str:
    """Name the kind and the class of the object whose method it is."""
    names = [base.__name__ for base in type(owner).__mro__[1:]]
    kind = next((kind for base, kind in _KINDS.items() if any(name.endswith(base) for name in names)), "")
    return f" of your {kind} {type(owner).__name__}" if kind else ""
