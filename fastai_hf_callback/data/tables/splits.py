"""DataFrames and CSV files -> the rows of train, valid and test, each with a way to name its rows to the user.

Between ``table.py`` (a file) and ``targets.py`` (labels). Imports pandas when it is used.
"""

import collections.abc
import os
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from fastai_hf_callback.errors import InvalidInputError

from .hf_datasets import check_single_split, dataset_to_frame, is_dataset
from .table import CsvFile, check_column, format_row_numbers, read_frame, suggest_nearest

__all__ = ["Split", "format_names", "open_splits", "unique_tables"]

VALID_MARKS = {
    "valid": True,
    "validation": True,
    "val": True,
    "dev": True,
    "true": True,
    "1": True,
    "1.0": True,
    "train": False,
    "false": False,
    "0": False,
    "0.0": False,
}


class Split(NamedTuple):
    """The rows of one split: `positions` of the caller's `frame`, which is never written to.

    ``row_template`` is how the caller would write some of these rows, ``drop_template`` a frame without some columns;
    ``file`` is the file they were read from, ``classes`` the order of classes that the data themselves give.
    """

    name: str
    frame: Any
    row_template: str
    file: Optional[CsvFile]
    positions: np.ndarray
    drop_template: str = "{split}.drop(columns={columns!r})"
    classes: Optional[List[str]] = None

    @property
    def size(self) -> int:
        return len(self.positions)

    @property
    def source(self) -> str:
        """What the caller calls the table."""
        return str(self.file.path) if self.file else self.name

    def format_argument(self, name: str, value: Any) -> str:
        """Format an argument as the one who gave the table would write it."""
        return (self.file or CsvFile("")).format_argument(name, value)

    def in_python(self, advice: str) -> str:
        """Return `advice` that only Python code can follow; nothing for the command line."""
        return "" if self.file and self.file.on_command_line else advice

    def column(self, name: Any) -> Any:
        return self.frame[name].iloc[self.positions]

    def locate_rows(self, rows: Any) -> str:
        """Format rows of this split (numbers, or a mask) as code that the caller can paste: the first five."""
        rows = np.asarray(rows)
        rows = self.positions[np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)].tolist()
        if self.file:
            return f"{format_row_numbers([row + 1 for row in rows])} of {self.source}"
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        return self.row_template.format(", ".join(map(str, rows[:5]))) + more

    def format_drop(self, columns: Sequence[Any]) -> str:
        """Format this split without some columns, as the caller would write it."""
        return self.drop_template.format(split=self.name, columns=list(columns))


def open_splits(
    train: Any, valid: Any, test: Any, text: Any, required: Sequence[Any], optional: Sequence[Any], seed: int
) -> Tuple[Split, Split, Optional[Split]]:
    """Open train, valid and test, not empty, with the columns in `required`; test may lack those in `optional`."""
    whole = _open_split(train, "train", optional)
    _check_columns(whole, [*required, *optional])
    valid_column = valid if isinstance(valid, str) and valid in whole.frame.columns else None
    _check_columns_distinct([*required, *optional], valid_column)
    whole = _convert_label_columns(whole, optional)
    if valid_column is not None:
        train, valid = _split_by_column(whole, valid_column)
    elif _is_number(valid):
        train, valid = _draw_valid(whole, valid, seed)
    else:
        train, valid = whole, _open_valid(valid, whole, optional)
        _check_columns(valid, [*required, *optional])
        valid = _convert_label_columns(valid, optional)
    if test is None:
        return train, valid, None
    test = _test_from_list(test, text, required) if _is_list_like(test) else _open_split(test, "test", optional)
    _check_columns(test, [*required, *(label for label in optional if label in test.frame.columns)])
    return train, valid, _convert_label_columns(test, optional)


def unique_tables(splits: Sequence[Split]) -> List[Split]:
    """Return the tables of these rows, each once: to the caller, rows drawn for validation are rows of train."""
    tables: List[Split] = []
    for split in splits:
        if not any(split.frame is table.frame for table in tables):
            tables.append(split)
    return [table._replace(positions=np.arange(len(table.frame))) for table in tables]


def _to_numbers_if_numeric(column: Any) -> Any:
    """Strip a column of str; return numbers if each value is one."""
    import pandas as pd

    stripped = column.str.strip()
    if stripped.str.contains(r"^[+-]?0\d").any():  # 01 and 007 are names, and 1 and 7 others
        return stripped
    try:
        numbers = pd.to_numeric(stripped)
    except (ValueError, TypeError):
        return stripped
    return stripped if numbers.isna().any() else numbers


def format_names(names: Sequence[Any], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def _open_split(given: Any, name: str, labels: Sequence[Any]) -> Split:
    import pandas as pd

    row_template = f"{name}.iloc[[{{}}]]"
    if isinstance(given, (str, os.PathLike, CsvFile)):
        file = given if isinstance(given, CsvFile) else CsvFile(given)
        frame = read_frame(file)
        split = Split(name, frame, row_template, file, np.arange(len(frame)))
    elif isinstance(given, pd.DataFrame):
        split = Split(name, given, row_template, None, np.arange(len(given)))
    elif is_dataset(given):
        frame, classes = dataset_to_frame(given, name, labels)
        row_template = f"{name}.select([{{}}])" if hasattr(given, "select") else f"list({name})[i] for i in [{{}}]"
        split = Split(
            name, frame, row_template, None, np.arange(len(frame)), "{split}.remove_columns({columns!r})", classes
        )
    else:
        check_single_split(given, name)
        frame = _to_pandas(given, name)
        split = Split(name, frame, f"{name}.to_pandas().iloc[[{{}}]]", None, np.arange(len(frame)))
    return _check_not_empty(split)


def _convert_label_columns(split: Split, labels: Sequence[Any]) -> Split:
    """Strip a file's label columns, and convert those that hold nothing but numbers."""
    if split.file is None:
        return split
    return split._replace(
        frame=split.frame.assign(
            **{label: _to_numbers_if_numeric(split.frame[label]) for label in labels if label in split.frame.columns}
        )
    )


def _to_pandas(given: Any, name: str) -> Any:
    import pandas as pd

    frame = given.to_pandas() if callable(getattr(given, "to_pandas", None)) else None
    if not isinstance(frame, pd.DataFrame):
        also = " (test may be a list of str, too)" if name == "test" else ""
        raise InvalidInputError(
            f"{name} is {_describe_argument(given)}; expected a DataFrame, a Hugging Face Dataset or the path "
            f"of a CSV file: write pd.DataFrame({{'text': [...], 'label': [...]}}){also}"
        )
    return frame


def _describe_argument(given: Any) -> str:
    kind = type(given).__name__
    if given is None or _is_number(given) or isinstance(given, (bool, np.bool_)):
        return repr(given) if given is None else f"{kind} {given!r}"
    if hasattr(given, "shape"):
        return f"{kind} of shape {tuple(given.shape)}"
    return f"{kind} of length {len(given)}" if hasattr(given, "__len__") else kind


def _check_not_empty(split: Split) -> Split:
    if not split.size:
        raise InvalidInputError(
            f"{split.name} has 0 rows; expected at least one: look at what was filtered before, or "
            f"leave {split.name} out"
            if split.name == "test"
            else f"{split.name} has 0 rows; expected at least one: look at what was filtered before"
        )
    return split


def _check_columns(split: Split, columns: Sequence[Any]) -> None:
    file = split.file or CsvFile("")
    expression = "" if split.name == "train" else f"pd.read_csv({split.source!r})" if split.file else split.name
    for column in columns:
        check_column(split.frame, column, split.source, file, expression)


def _check_columns_distinct(columns: List[Any], valid_column: Any) -> None:
    columns = columns if valid_column is None else [*columns, valid_column]
    if len(set(columns)) < len(columns):
        twice = sorted({str(column) for column in columns if columns.count(column) > 1})
        raise InvalidInputError(
            f"columns {columns} were given, {format_names(twice)} more than once; expected each once"
        )


# -- valid -----------------------------------------------------------------------------------------


def _is_number(given: Any) -> bool:
    return isinstance(given, (int, float, np.integer, np.floating)) and not isinstance(given, bool)


def _open_valid(valid: Any, whole: Split, labels: Sequence[Any]) -> Split:
    if valid is None or isinstance(valid, (bool, np.bool_)):
        raise InvalidInputError(
            f"valid={valid} was given; expected a DataFrame, a path, a fraction as in valid=0.1, or "
            f"the name of the column of train that marks the rows to validate on"
        )
    if isinstance(valid, str) and not os.path.exists(valid) and not _looks_like_a_path(valid):
        columns = [str(column) for column in whole.frame.columns]
        raise InvalidInputError(
            f"valid={valid!r} is no column of train and no file{suggest_nearest(valid, columns)}; the "
            f"columns of train are: {', '.join(columns[:12])}{', ...' if len(columns) > 12 else ''}"
        )
    return _open_split(valid, "valid", labels)


def _looks_like_a_path(given: str) -> bool:
    return "/" in given or os.sep in given or "." in given


def _draw_valid(whole: Split, fraction: Any, seed: int) -> Tuple[Split, Split]:
    if not 0 < fraction < 1:
        raise InvalidInputError(
            f"valid={fraction} was given; expected a fraction above 0 and below 1 (valid=0.1 is a tenth of train)"
        )
    n_valid = int(round(whole.size * fraction))
    if not 0 < n_valid < whole.size:
        raise InvalidInputError(
            f"{whole.format_argument('valid', f'{fraction:g}')} of {whole.size} row(s) leaves {whole.size - n_valid} "
            f"to train and {n_valid} to validate; expected both above 0: give more rows or another fraction"
        )
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise InvalidInputError(f"seed={seed!r} was given; expected a whole number of at least 0")
    order = np.random.RandomState(int(seed) % 2**32).permutation(whole.size)  # folded as seed_everything folds it
    train, valid = np.sort(order[n_valid:]), np.sort(order[:n_valid])
    return whole._replace(positions=train), whole._replace(name="valid", positions=valid)


def _split_by_column(whole: Split, valid_column: str) -> Tuple[Split, Split]:
    import pandas as pd

    _check_columns(whole, [valid_column])
    codes, values = pd.factorize(whole.column(valid_column).astype(object).map(str, na_action="ignore"))
    known = [VALID_MARKS.get(value.strip().lower()) for value in values]
    wrong = np.array([side is None for side in known] + [True])[codes]
    if wrong.any():
        first = codes[wrong.argmax()]
        held = repr(values[first]) if first >= 0 else "no value"
        raise InvalidInputError(
            f"column {valid_column!r} that marks the rows of valid holds {held}, {whole.locate_rows(wrong)}; expected "
            f"True and False, 1 and 0, or 'valid' and 'train': take other rows out of train first"
        )
    in_valid = np.array([bool(side) for side in known])[codes]
    if in_valid.all() or not in_valid.any():
        how_many = "all" if in_valid.all() else "none"
        raise InvalidInputError(
            f"column {valid_column!r} marks {how_many} of {whole.size} row(s) as valid; expected some to train "
            f"and some to validate: mark others, or write valid=0.1"
        )
    return (
        whole._replace(positions=np.flatnonzero(~in_valid)),
        whole._replace(name="valid", positions=np.flatnonzero(in_valid)),
    )


# -- test ------------------------------------------------------------------------------------------


def _is_list_like(given: Any) -> bool:
    """Return whether `given` is a list or like one, such as a column of a frame or of a dataset."""
    import pandas as pd

    return isinstance(given, (collections.abc.Sequence, np.ndarray, pd.Series)) and not isinstance(given, str)


def _test_from_list(test: Any, text: Any, required: Sequence[Any]) -> Split:
    import pandas as pd

    if len(required) == 1:
        frame = pd.DataFrame({text: pd.Series(list(test), dtype=object)})
    elif all(isinstance(row, (list, tuple)) and len(row) == len(required) for row in test):
        frame = pd.DataFrame(list(test), columns=list(required), dtype=object)
    else:
        raise InvalidInputError(
            f"test is {_describe_argument(test)} and there are pairs; expected pairs of str, or a DataFrame "
            f"with the columns {format_names(required)}"
        )
    return _check_not_empty(Split("test", frame, "[test[i] for i in [{}]]", None, np.arange(len(frame))))
