"""One case: what is typed, in which folder, and what good software answers. The names of options stand here alone."""

from pathlib import Path
from typing import Any, Callable, FrozenSet, List, NamedTuple, Optional, Tuple

__all__ = [
    "ANSWERED",
    "BITS",
    "Case",
    "EITHER",
    "INTERRUPTED",
    "MODEL",
    "OPTIONS",
    "Prepare",
    "REFUSED",
    "RUNS",
    "csv_command",
    "demo_command",
    "diagnose_command",
    "factory_command",
    "options",
    "write",
]

OPTIONS = {
    "csv": "--csv",
    "text": "--text",
    "labels": "--labels",
    "model": "--model",
    "epochs": "--epochs",
    "lr": "--lr",
    "bs": "--bs",
    "max_length": "--max-length",
    "valid": "--valid",
    "encoding": "--encoding",
    "sep": "--sep",
    "seed": "--seed",
    "arms": "--arms",
    "json": "--json",
    "html": "--html",
    "plot": "--plot",
    "batches": "--batches",
    "fail_on": "--fail-on",
}

MODEL = "tinybert"  # the model's folder in each room: a word that no message uses by chance
BITS = "animal,plant"  # columns of 0 and 1 in train.csv

REFUSED: FrozenSet[int] = frozenset({2})
RUNS: FrozenSet[int] = frozenset({0, 1, 3})
EITHER: FrozenSet[int] = REFUSED | RUNS  # it may be taken or refused, but never with a traceback or in silence
INTERRUPTED: FrozenSet[int] = frozenset({2, 130})
ANSWERED: FrozenSet[int] = frozenset({1, 2})  # a finding, or unusable

Prepare = Callable[[Path], Any]


class Case(NamedTuple):
    """One command in a folder of its own, which begins as a copy of the room (``room.py``).

    Attributes
    ----------
    kind, name : str
        What is wrong, broadly and exactly.
    argv : list of str
        What is typed after ``fastai-hf``; ``{here}`` stands for the case's folder.
    names : str
        A pattern of which the one line on stderr must hold a match; of no use where nothing may be refused.
    codes : set of int
        Exit codes of good software.
    prepare : callable, optional
        Makes the folder what the case needs.
    may_write, must_write : tuple of str
        Files that may be made or changed; files that must be there after a run that was not refused.
    ordinary_user : bool
        Run as one whom permissions bind.
    noisy : bool
        The user's own code writes to stderr too.
    stdout : str
        A file to write stdout to, instead of one that is read afterwards.
    """

    kind: str
    name: str
    argv: List[str]
    names: str = ""
    codes: FrozenSet[int] = REFUSED
    prepare: Optional[Prepare] = None
    may_write: Tuple[str, ...] = ()
    must_write: Tuple[str, ...] = ()
    ordinary_user: bool = False
    noisy: bool = False
    stdout: str = ""


def options(**given: Any) -> List[str]:
    """``--name value`` for each that is not None."""
    return [word for name, value in given.items() if value is not None for word in (OPTIONS[name], str(value))]


def csv_command(**given: Any) -> List[str]:
    """``compare`` of the room's table and model; None leaves an option out."""
    usual = {
        "csv": "train.csv",
        "text": "text",
        "labels": "kind",
        "model": MODEL,
        "epochs": 1,
        "bs": 8,
        "max_length": 16,
    }
    return ["compare", *options(**{**usual, **given})]


def factory_command(spec: str = "factories.py:good", **given: Any) -> List[str]:
    """``compare`` of a factory."""
    return ["compare", spec, *options(**{"epochs": 1, **given})]


def diagnose_command(spec: str = "factories.py:good", **given: Any) -> List[str]:
    """``diagnose`` of a factory."""
    return ["diagnose", spec, *options(**{"batches": 1, **given})]


def demo_command(**given: Any) -> List[str]:
    """``demo``; only ever with what must be refused, as it takes a minute."""
    return ["demo", *options(**given)]


def write(name: str, content: Any) -> Prepare:
    """Text (as UTF-8) or bytes into one file of the folder; other folders on the way are made."""

    def prepare(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))

    return prepare
