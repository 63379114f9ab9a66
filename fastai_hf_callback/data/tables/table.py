"""A CSV file -> texts and targets, or one line that says what is wrong. Imports pandas when it reads.

Everything is read as text: a comment that says ``NA`` is a comment.
"""

import difflib
import os
from pathlib import Path
from typing import Any, Callable, List, NamedTuple, Sequence, Tuple

import numpy as np

from fastai_hf_callback.errors import InvalidInputError

__all__ = ["Table", "read_table", "split_rows"]


class Table(NamedTuple):
    """Texts with their targets.

    Attributes
    ----------
    texts : list of str
    targets : numpy.ndarray
        ``(n, columns)`` float32 of 0 and 1 with several label columns; ``(n,)`` int64 with one column of
        classes.
    names : list of str
        The label columns, or the classes in the order of their numbers.
    """

    texts: List[str]
    targets: np.ndarray
    names: List[str]

    @property
    def is_multi_label(self) -> bool:
        return self.targets.ndim == 2


def read_table(path: Any, text: str, labels: Sequence[str], encoding: str = "utf-8", sep: str = ",") -> Table:
    """Read `path` (``.gz`` and the like included).

    Parameters
    ----------
    path : path-like
    text : str
        The column of texts.
    labels : sequence of str
        Several columns of 0 and 1, or one column of classes.
    encoding, sep : str
        Of the file.

    Returns
    -------
    Table

    Raises
    ------
    InvalidInputError
        With one line that says what was given, what was expected and what to write.
    """
    if not labels:
        raise InvalidInputError(
            "no label column was given; expected one column of classes, or several of 0 and 1: --labels A,B,.."
        )
    frame = read_frame(Path(path), encoding, sep)
    for column in [text, *labels]:
        check_column(frame, column, path)
    if len(set(labels)) < len(labels) or text in labels:
        raise InvalidInputError(f"columns {[text, *labels]} were given; expected each once: --text COL --labels A,B,..")
    texts = frame[text].tolist()
    _check_texts(texts, text, path)
    targets, names = _read_binary_columns(frame, labels) if len(labels) > 1 else _read_classes(frame, labels[0])
    return Table(texts, targets, names)


def split_rows(n: int, valid_fraction: float, seed: int) -> Tuple[np.ndarray, np.ndarray]:
    """Row numbers for training and validation, drawn from `seed` alone, each in ascending order.

    Raises
    ------
    InvalidInputError
        When one side would be empty.
    """
    n_valid = int(round(n * valid_fraction))
    if not 0 < n_valid < n:
        raise InvalidInputError(
            f"{n} rows split at {valid_fraction:g} leave {n - n_valid} to train and {n_valid} to "
            f"validate; expected both above 0: give more rows or another --valid"
        )
    order = np.random.RandomState(seed).permutation(n)
    return np.sort(order[n_valid:]), np.sort(order[:n_valid])


def format_as_flag(name: str, value: str = "") -> str:
    """How an option is written on the command line."""
    return f"--{name} {value if value[:1].isalnum() else repr(value)}" if value else f"--{name}"


def read_frame(
    path: Path, encoding: str = "utf-8", sep: str = ",", format_option: Callable[..., str] = format_as_flag
) -> Any:
    """Every column of a file as text; `format_option` says how the caller would give ``sep`` or ``encoding``."""
    import pandas as pd

    if not os.path.isfile(str(path)):
        what = "a folder, not a file" if os.path.isdir(str(path)) else "no such file"
        raise InvalidInputError(
            f"{path}: {what}; expected a CSV file{suggest_nearest(path.name, _list_siblings(path))}"
        )
    try:
        frame = pd.read_csv(path, encoding=encoding, sep=sep, dtype=str, keep_default_na=False)
    except UnicodeError as error:
        raise InvalidInputError(
            f"{path}: not {encoding} ({error}); write {format_option('encoding', 'latin-1')}, or save it as UTF-8"
        ) from None
    except LookupError:
        raise InvalidInputError(f"--encoding {encoding}: no such encoding; write --encoding utf-8 or latin-1") from None
    except pd.errors.EmptyDataError:
        raise InvalidInputError(f"{path}: the file is empty; expected a header line and rows") from None
    except Exception as error:  # pandas and a dozen unpackers fail in their own ways; what they said is handed on
        said = " ".join(str(error).split())
        raise InvalidInputError(
            f"{path}: not readable as CSV ({said}); write {format_option('sep')}, or repair it"
        ) from None
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes the first of too many fields for an index
        raise InvalidInputError(
            f"{path}: not readable as CSV (rows have more fields than the header, as with commas in "
            f"unquoted texts); write {format_option('sep')}, or quote the texts"
        )
    frame.columns = [str(column).strip() for column in frame.columns]
    if not len(frame):
        raise InvalidInputError(f"{path}: a header and no rows; expected at least one text per class")
    return frame


def check_column(
    frame: Any, column: Any, path: Any, format_option: Callable[..., str] = format_as_flag, frame_expression: str = ""
) -> None:
    """Raise where `frame` has no such column; `path` is what the user calls the frame.

    `frame_expression` is an expression of the frame, where another table said how the column is called.
    """
    if column in frame.columns:
        return
    columns = [str(c) for c in frame.columns]
    other = next((sep for sep in ";\t|" if len(columns) == 1 and sep in columns[0]), None)
    if other:
        raise InvalidInputError(
            f"{path}: its header is one column, {columns[0]!r}; write {format_option('sep', other)}"
        )
    shown = ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")
    rename = f"; write {suggest_rename(frame_expression, columns, column)}" if frame_expression else ""
    raise InvalidInputError(
        f"{path}: no column {column!r}{suggest_nearest(str(column), columns)}; give one of its columns: {shown}{rename}"
    )


def suggest_rename(frame_expression: str, columns: Sequence[str], column: Any) -> str:
    """How a table gets the column: the only one it has, or one that the reader knows."""
    only = columns[0] if len(columns) == 1 else "..."
    return f"{frame_expression}.rename(columns={{{only!r}: {column!r}}})"


def _check_texts(texts: List[str], column: str, path: Any) -> None:
    empty = [row for row, text in enumerate(texts, 1) if not isinstance(text, str) or not text.strip()]
    if empty:
        raise InvalidInputError(
            f"{path}: {len(empty)} empty text(s) in column {column!r}, {format_row_numbers(empty)}; fill or remove them"
        )


def _read_binary_columns(frame: Any, labels: Sequence[str]) -> Tuple[np.ndarray, List[str]]:
    bits = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
    columns = []
    for label in labels:
        values = [value.strip() for value in frame[label].fillna("")]
        wrong = [row for row, value in enumerate(values, 1) if value not in bits]
        if wrong:
            raise InvalidInputError(
                f"label column {label!r} holds {values[wrong[0] - 1]!r}, {format_row_numbers(wrong)}; "
                f"several label columns must hold 0 and 1 only: write 1 for yes and 0 for no (one "
                f"column of classes: give it alone)"
            )
        columns.append([bits[value] for value in values])
    return np.array(columns, dtype=np.float32).T.copy(), list(labels)


def _read_classes(frame: Any, label: str) -> Tuple[np.ndarray, List[str]]:
    values = [value.strip() for value in frame[label].fillna("")]
    missing = [row for row, value in enumerate(values, 1) if not value]
    if missing:
        raise InvalidInputError(
            f"label column {label!r} is empty, {format_row_numbers(missing)}; fill or remove these rows"
        )
    names = sorted(set(values), key=natural_sort_key)
    if len(names) < 2:
        raise InvalidInputError(f"label column {label!r} holds only {names[0]!r}; expected at least two classes")
    if len(names) > max(2, len(values) // 2):
        raise InvalidInputError(
            f"label column {label!r} holds {len(names)} different values in {len(values)} rows, as "
            f"numbers or ids do; expected a column of classes"
        )
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[value] for value in values], dtype=np.int64), names


def natural_sort_key(value: str) -> Tuple[int, float, str]:
    try:
        number = float(value)
        return (1, 0.0, value) if number != number else (0, number, value)
    except ValueError:
        return 1, 0.0, value


def format_row_numbers(rows: Sequence[int]) -> str:
    shown = ", ".join(map(str, rows[:5])) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
    return f"row(s) {shown} (counted from 1 below the header)"


def _list_siblings(path: Path) -> List[str]:
    try:
        return [entry.name for entry in path.parent.iterdir() if entry.name != path.name]
    except OSError:
        return []


def suggest_nearest(name: str, candidates: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, candidates)
    return f"; nearest: {', '.join(close)}" if close else ""
