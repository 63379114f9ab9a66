"""Content of columns: lists, words, numbers, bits, blanks. Imports numpy, and pandas when it is used.

Built on ``splits.py``; ``targets.py`` turns the content into numbers.
"""

from numbers import Number
from typing import Any, Optional, Tuple

import numpy as np

from fastai_hf_callback.errors import InvalidInputError

from .splits import Split

__all__ = [
    "BINARY_VALUES",
    "to_numbers",
    "parse_binary_column",
    "check_no_missing",
    "has_lists",
    "has_strings",
    "is_blank",
    "is_categorical",
    "is_list",
    "is_missing",
    "is_unicode",
    "describe_first_wrong",
]

BINARY_VALUES = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}


def has_lists(column: Any) -> bool:
    """Return whether the first value that is not missing is a list, tuple or array."""
    return is_list(next((value for value in column if is_list(value) or not is_missing(value)), None))


def is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or isinstance(value, np.ndarray) and value.ndim > 0


def is_blank(text: Any) -> bool:
    """Return whether a text, or a list of words, holds nothing but blanks."""
    return not text.strip() if isinstance(text, str) else not any(word.strip() for word in text)


def is_unicode(text: str) -> bool:
    """Return whether a text can be encoded as UTF-8, and so tokenized: half a character (a lone surrogate) cannot."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def is_categorical(column: Any) -> bool:
    import pandas as pd

    return isinstance(column.dtype, pd.CategoricalDtype)


def has_strings(column: Any) -> bool:
    return column.dtype.kind not in "biuf" and any(isinstance(value, str) for value in column.tolist())


def check_no_missing(split: Split, label: Any) -> None:
    column = split.column(label)
    missing = column.isna().to_numpy(dtype=bool)
    if column.dtype.kind not in "biufmM" and not is_categorical(column):
        missing = missing | np.array([isinstance(value, str) and not value.strip() for value in column.tolist()])
    if missing.any():
        drop = f", or leave the column out: {split.format_drop([label])}" if split.name == "test" else ""
        raise InvalidInputError(
            f"label column {label!r} of {split.name} is empty in {missing.sum()} of {split.size} "
            f"row(s), {split.locate_rows(missing)}; fill or remove these rows{drop}"
        )


def describe_first_wrong(split: Split, label: Any, wrong: np.ndarray) -> str:
    value = split.column(label).iloc[int(wrong.argmax())]
    value = value.item() if isinstance(value, np.generic) else value
    return repr(value) if isinstance(value, (str, Number)) else f"a value of type {type(value).__name__}"


def to_numbers(column: Any) -> np.ndarray:
    """Convert every value to float64; NaN where it is no number."""
    import pandas as pd

    if is_categorical(column):
        column = column.astype(object)
    if column.dtype.kind in "mMc":
        return np.full(len(column), np.nan)
    if column.dtype.kind not in "biuf":
        values = column.to_numpy(dtype=object)
        values = [
            value if isinstance(value, (str, Number)) and not isinstance(value, complex) else "no number"
            for value in values
        ]
        column = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce")
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def parse_binary_column(split: Split, label: Any) -> Tuple[np.ndarray, Optional[np.ndarray]]:
    """Return the column as 0.0 and 1.0, and a mask of the values that are neither (None: there are none)."""
    import pandas as pd

    column = split.column(label)
    if column.dtype.kind in "biuf":
        bits = column.to_numpy(dtype=np.float64, na_value=np.nan)
    elif has_lists(column):
        bits = np.full(split.size, np.nan)
    else:
        codes, values = pd.factorize(column.map(str))
        bits = np.array([BINARY_VALUES.get(str(value).strip().lower(), np.nan) for value in values])[codes]
    wrong = (bits != 0) & (bits != 1)
    return bits.astype(np.float32), wrong if wrong.any() else None
