"""DataFrames and CSV files -> the rows of train, valid and test, each with a way to name its rows to the user.

Stands between ``table.py`` (a file) and ``targets.py`` (labels). Imports pandas when it is used.
"""
import collections.abc
import os
from pathlib import Path
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from fastai_hf_callback.errors import UnusableInput
from .hf_datasets import frame_of, is_dataset, refuse_many_splits
from .table import below_header, check_column, nearest, read_frame, split_rows

__all__ = ["Part", "as_keyword", "open_parts", "whole_tables"]

MARKS = {"valid": True, "validation": True, "val": True, "dev": True, "true": True, "1": True, "1.0": True,
         "train": False, "false": False, "0": False, "0.0": False}


class Part(NamedTuple):
    """The rows of one split: `positions` of the caller's `frame`, which is never written to.

    ``rows_as`` is how the caller would write some of these rows, ``without`` how a frame without some columns; ``path``
    is the file they were read from, ``classes`` the order of classes that the data bring themselves.
    """

    split: str
    frame: Any
    rows_as: str
    path: Optional[str]
    positions: np.ndarray
    without: str = "{split}.drop(columns={columns!r})"
    classes: Optional[List[str]] = None

    @property
    def size(self) -> int:
        return len(self.positions)

    def column(self, name: Any) -> Any:
        return self.frame[name].iloc[self.positions]

    def at(self, rows: Any) -> str:
        """Rows of this split (numbers, or a mask) as the caller can paste them: the first five."""
        rows = np.asarray(rows)
        rows = self.positions[np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)].tolist()
        if self.path:
            return f"{below_header([row + 1 for row in rows])} of {self.path}"
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        return self.rows_as.format(", ".join(map(str, rows[:5]))) + more

    def leaving_out(self, columns: Sequence[Any]) -> str:
        """How the caller would write this split without some columns."""
        return self.without.format(split=self.split, columns=list(columns))


def open_parts(train: Any, valid: Any, test: Any, text: Any, needed: Sequence[Any], optional: Sequence[Any],
               seed: int) -> Tuple[Part, Part, Optional[Part]]:
    """Train, valid and test, not empty, with the columns in `needed`; those in `optional` may lack in test."""
    whole = _open(train, "train", optional)
    _check_columns(whole, [*needed, *optional])
    mark = valid if isinstance(valid, str) and valid in whole.frame.columns else None
    _check_each_once([*needed, *optional], mark)
    whole = _with_numbers(whole, optional)
    if mark is not None:
        train, valid = _marked(whole, mark)
    elif _is_number(valid):
        train, valid = _drawn(whole, valid, seed)
    else:
        train, valid = whole, _open_valid(valid, whole, optional)
        _check_columns(valid, [*needed, *optional])
        valid = _with_numbers(valid, optional)
    if test is None:
        return train, valid, None
    test = _listed(test, text, needed) if _is_list(test) else _open(test, "test", optional)
    _check_columns(test, [*needed, *(label for label in optional if label in test.frame.columns)])
    return train, valid, _with_numbers(test, optional)


def whole_tables(parts: Sequence[Part]) -> List[Part]:
    """The tables that the parts are rows of, each once: what is drawn for validation is a row of train to its owner."""
    tables: List[Part] = []
    for part in parts:
        if not any(part.frame is table.frame for table in tables):
            tables.append(part)
    return [table._replace(positions=np.arange(len(table.frame))) for table in tables]


def _numbers_if_all_are(column: Any) -> Any:
    """A column of str, stripped; as numbers if each is one."""
    import pandas as pd

    stripped = column.str.strip()
    if stripped.str.contains(r"^[+-]?0\d").any():  # 01 and 007 are names, and 1 and 7 others
        return stripped
    try:
        numbers = pd.to_numeric(stripped)
    except (ValueError, TypeError):
        return stripped
    return stripped if numbers.isna().any() else numbers


def listed(names: Sequence[Any], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def as_keyword(name: str, value: str = "") -> str:
    return f"pd.read_csv(path, {name}={repr(value) if value else '...'})"


def _open(given: Any, split: str, labels: Sequence[Any]) -> Part:
    import pandas as pd

    rows_as = f"{split}.iloc[[{{}}]]"
    if isinstance(given, (str, os.PathLike)):
        frame = read_frame(Path(given), option=as_keyword)
        part = Part(split, frame, rows_as, str(given), np.arange(len(frame)))
    elif isinstance(given, pd.DataFrame):
        part = Part(split, given, rows_as, None, np.arange(len(given)))
    elif is_dataset(given):
        frame, classes = frame_of(given, split, labels)
        rows_as = f"{split}.select([{{}}])" if hasattr(given, "select") else f"list({split})[i] for i in [{{}}]"
        part = Part(split, frame, rows_as, None, np.arange(len(frame)), "{split}.remove_columns({columns!r})", classes)
    else:
        refuse_many_splits(given, split)
        frame = _to_pandas(given, split)
        part = Part(split, frame, f"{split}.to_pandas().iloc[[{{}}]]", None, np.arange(len(frame)))
    return _not_empty(part)


def _with_numbers(part: Part, labels: Sequence[Any]) -> Part:
    """Label columns of a file are stripped, and numbers where they hold numbers throughout."""
    if part.path is None:
        return part
    return part._replace(frame=part.frame.assign(**{label: _numbers_if_all_are(part.frame[label]) for label in labels
                                                    if label in part.frame.columns}))


def _to_pandas(given: Any, split: str) -> Any:
    import pandas as pd

    frame = given.to_pandas() if callable(getattr(given, "to_pandas", None)) else None
    if not isinstance(frame, pd.DataFrame):
        also = " (test may be a list of str, too)" if split == "test" else ""
        raise UnusableInput(f"{split} is {_described(given)}; expected a DataFrame, a Hugging Face Dataset or the path "
                            f"of a CSV file: write pd.DataFrame({{'text': [...], 'label': [...]}}){also}")
    return frame


def _described(given: Any) -> str:
    kind = type(given).__name__
    if given is None or _is_number(given) or isinstance(given, (bool, np.bool_)):
        return repr(given) if given is None else f"{kind} {given!r}"
    if hasattr(given, "shape"):
        return f"{kind} of shape {tuple(given.shape)}"
    return f"{kind} of length {len(given)}" if hasattr(given, "__len__") else kind


def _not_empty(part: Part) -> Part:
    if not part.size:
        raise UnusableInput(f"{part.split} has 0 rows; expected at least one: look at what was filtered before, or "
                            f"leave {part.split} out" if part.split == "test" else
                            f"{part.split} has 0 rows; expected at least one: look at what was filtered before")
    return part


def _check_columns(part: Part, columns: Sequence[Any]) -> None:
    for column in columns:
        owner = "" if part.split == "train" else f"pd.read_csv({part.path!r})" if part.path else part.split
        check_column(part.frame, column, part.path or part.split, option=as_keyword, owner=owner)
        if getattr(part.frame[column], "ndim", 1) > 1:
            raise UnusableInput(f"{part.path or part.split}: {part.frame[column].shape[1]} columns are called "
                                f"{column!r}; expected one: rename or drop the others")


def _check_each_once(columns: List[Any], mark: Any) -> None:
    columns = columns if mark is None else [*columns, mark]
    if len(set(columns)) < len(columns):
        twice = sorted({str(column) for column in columns if columns.count(column) > 1})
        raise UnusableInput(f"columns {columns} were given for text, pair, labels and valid, {listed(twice)} more than "
                            f"once; expected each once")


# -- valid -----------------------------------------------------------------------------------------


def _is_number(given: Any) -> bool:
    return isinstance(given, (int, float, np.integer, np.floating)) and not isinstance(given, bool)


def _open_valid(valid: Any, whole: Part, labels: Sequence[Any]) -> Part:
    if valid is None or isinstance(valid, (bool, np.bool_)):
        raise UnusableInput(f"valid={valid} was given; expected a DataFrame, a path, a fraction as in valid=0.1, or "
                            f"the name of the column of train that marks the rows to validate on")
    if isinstance(valid, str) and not os.path.exists(valid) and not _looks_like_a_path(valid):
        columns = [str(column) for column in whole.frame.columns]
        raise UnusableInput(f"valid={valid!r} is no column of train and no file{nearest(valid, columns)}; the "
                            f"columns of train are: {', '.join(columns[:12])}{', ...' if len(columns) > 12 else ''}")
    return _open(valid, "valid", labels)


def _looks_like_a_path(given: str) -> bool:
    return "/" in given or os.sep in given or "." in given


def _drawn(whole: Part, fraction: Any, seed: int) -> Tuple[Part, Part]:
    if not 0 < fraction < 1:
        raise UnusableInput(f"valid={fraction} was given; expected a fraction above 0 and below 1 (valid=0.1 is a "
                            f"tenth of train)")
    n_valid = int(round(whole.size * fraction))
    if not 0 < n_valid < whole.size:
        raise UnusableInput(f"valid={fraction:g} of {whole.size} row(s) leaves {whole.size - n_valid} to train and "
                            f"{n_valid} to validate; expected both above 0: give more rows or another fraction")
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or not 0 <= seed < 2 ** 32:
        raise UnusableInput(f"seed={seed!r} was given; expected a whole number from 0 on")
    train, valid = split_rows(whole.size, fraction, seed)
    return whole._replace(positions=train), whole._replace(split="valid", positions=valid)


def _marked(whole: Part, mark: str) -> Tuple[Part, Part]:
    import pandas as pd

    _check_columns(whole, [mark])
    codes, values = pd.factorize(whole.column(mark).astype(object).map(str, na_action="ignore"))
    known = [MARKS.get(value.strip().lower()) for value in values]
    wrong = np.array([side is None for side in known] + [True])[codes]
    if wrong.any():
        first = codes[wrong.argmax()]
        held = repr(values[first]) if first >= 0 else "no value"
        raise UnusableInput(f"column {mark!r} that marks the rows of valid holds {held}, {whole.at(wrong)}; expected "
                            f"True and False, 1 and 0, or 'valid' and 'train': take other rows out of train first")
    in_valid = np.array([bool(side) for side in known])[codes]
    if in_valid.all() or not in_valid.any():
        how_many = "all" if in_valid.all() else "none"
        raise UnusableInput(f"column {mark!r} marks {how_many} of {whole.size} row(s) as valid; expected some to train "
                            f"and some to validate: mark others, or write valid=0.1")
    return (whole._replace(positions=np.flatnonzero(~in_valid)),
            whole._replace(split="valid", positions=np.flatnonzero(in_valid)))


# -- test ------------------------------------------------------------------------------------------


def _is_list(given: Any) -> bool:
    """A list or anything like it, as a column of a frame or of a dataset."""
    import pandas as pd

    return isinstance(given, (collections.abc.Sequence, np.ndarray, pd.Series)) and not isinstance(given, str)


def _listed(test: Any, text: Any, needed: Sequence[Any]) -> Part:
    import pandas as pd

    if len(needed) == 1:
        frame = pd.DataFrame({text: pd.Series(list(test), dtype=object)})
    elif all(isinstance(row, (list, tuple)) and len(row) == len(needed) for row in test):
        frame = pd.DataFrame(list(test), columns=list(needed), dtype=object)
    else:
        raise UnusableInput(f"test is {_described(test)} and there are pairs; expected pairs of str, or a DataFrame "
                            f"with the columns {listed(needed)}")
    return _not_empty(Part("test", frame, "[test[i] for i in [{}]]", None, np.arange(len(frame))))
