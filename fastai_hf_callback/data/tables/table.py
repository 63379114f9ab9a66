"""A CSV file -> a frame whose columns are all text, or one line that says what is wrong. Imports pandas when it reads.

Everything is read as text: a comment that says ``NA`` is a comment.
"""

import difflib
import os
from pathlib import Path
from typing import Any, List, NamedTuple, Sequence, Tuple

from fastai_hf_callback.errors import InvalidInputError

__all__ = ["CsvFile", "check_column", "format_row_numbers", "natural_sort_key", "read_frame", "suggest_nearest"]

UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class CsvFile(NamedTuple):
    """A CSV file (``.gz`` and the like included), and how it is read.

    Attributes
    ----------
    path : path-like
    encoding, sep : str
    on_command_line : bool
        Whether the file was named on the command line, where ``sep=';'`` is ``--sep ';'``; errors say what to write.
    """

    path: Any
    encoding: str = "utf-8"
    sep: str = ","
    on_command_line: bool = False

    def format_argument(self, name: str, value: Any) -> str:
        """Format an argument as the one who named the file would write it."""
        return f"--{name} {value}" if self.on_command_line else f"{name}={value}"

    def format_reader_option(self, name: str, value: str = "") -> str:
        """Format how ``sep`` or ``encoding`` is given, with or without a value to write."""
        if self.on_command_line:
            return f"--{name} {value if value[:1].isalnum() else repr(value)}" if value else f"--{name}"
        return f"pd.read_csv(path, {name}={repr(value) if value else '...'})"


def read_frame(file: CsvFile) -> Any:
    """Read every column of a file as text; two columns may have one name, if the header has it twice.

    Raises
    ------
    InvalidInputError
        With one line that says what was given, what was expected and what to write.
    """
    import pandas as pd

    path = Path(file.path)
    if not os.path.isfile(str(path)):
        what = "a folder, not a file" if os.path.isdir(str(path)) else "no such file"
        raise InvalidInputError(
            f"{path}: {what}; expected a CSV file{suggest_nearest(path.name, _list_siblings(path))}"
        )
    try:  # the header as a row: pandas would rename a name that comes twice
        rows = pd.read_csv(path, encoding=file.encoding, sep=file.sep, dtype=str, keep_default_na=False, header=None)
    except UnicodeError as error:
        option = file.format_reader_option("encoding", _guess_encoding(path))
        raise InvalidInputError(f"{path}: not {file.encoding} ({error}); write {option}, or save it as UTF-8") from None
    except pd.errors.EmptyDataError:
        raise InvalidInputError(f"{path}: the file is empty; expected a header line and rows") from None
    except Exception as error:  # pandas and a dozen unpackers fail in their own ways; their messages are passed on
        said = " ".join(str(error).split())
        raise InvalidInputError(
            f"{path}: not readable as CSV ({said}); write {file.format_reader_option('sep')}, or repair it"
        ) from None
    frame = rows.iloc[1:].reset_index(drop=True)
    frame.columns = [str(name).strip() or f"Unnamed: {at}" for at, name in enumerate(rows.iloc[0])]
    if not len(frame):
        raise InvalidInputError(f"{path}: a header and no rows; expected at least one text per class")
    return frame


def _guess_encoding(path: Path) -> str:
    with open(str(path), "rb") as file:
        return "utf-16" if file.read(2) in UTF_16_MARKS else "latin-1"


def check_column(frame: Any, column: Any, name: str, file: CsvFile, frame_expression: str = "") -> None:
    """Raise where `frame` has no such column, or several; `name` is what the user calls the frame.

    `file` says how arguments are written; `frame_expression` is an expression of the frame, where another table said
    how the column is called.
    """
    columns = [str(c) for c in frame.columns]
    count = list(frame.columns).count(column)
    if count > 1:
        raise InvalidInputError(
            f"{name}: {count} columns are called {column!r}; expected one: rename or drop the others"
        )
    if count:
        return
    other = next((sep for sep in ";\t|" if len(columns) == 1 and sep in columns[0]), None)
    if other:
        raise InvalidInputError(
            f"{name}: its header is one column, {columns[0]!r}; write {file.format_reader_option('sep', other)}"
        )
    shown = ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")
    rename = f"; write {suggest_rename(frame_expression, columns, column)}" if frame_expression else ""
    raise InvalidInputError(
        f"{name}: no column {column!r}{suggest_nearest(str(column), columns)}; give one of its columns: {shown}{rename}"
    )


def suggest_rename(frame_expression: str, columns: Sequence[str], column: Any) -> str:
    """Suggest code that renames the only column, or one that the reader puts in, to the missing one."""
    only = columns[0] if len(columns) == 1 else "..."
    return f"{frame_expression}.rename(columns={{{only!r}: {column!r}}})"


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
