"""Label columns -> targets, the same numbers in every split, or one line that says what is wrong with them.

Stands between ``parts.py`` (rows) and ``examples.py`` (the whole). Imports pandas when it is used.
"""
from itertools import chain
from numbers import Number
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from .errors import UnusableInput
from .parts import Part, listed
from .table import as_number_or_text, nearest

__all__ = ["TASKS", "choose_task", "read_targets"]

TASKS = ("single", "several", "number", "tokens")
BITS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}
MANY = 20


class Coded(NamedTuple):
    """Labels as numbers: `codes` into `names`, `rows` of the split that each belongs to."""

    codes: np.ndarray
    names: List[str]
    rows: np.ndarray
    ordered: bool = False


# -- which task ------------------------------------------------------------------------------------


def choose_task(train: Part, text: Any, labels: List[Any], given: Optional[str]) -> str:
    """The task that was given, or the one that the columns of train speak for."""
    if given is not None:
        return _checked_task(given, labels)
    for label in labels:
        _check_missing(train, label)
    if len(labels) > 1:
        return "several" if all(_bits(train, label)[1] is None for label in labels) else _numbers_or_neither(
            train, labels)
    column = train.column(labels[0])
    if holds_lists(column):
        return "tokens" if holds_lists(train.column(text)) else _several_unless_per_word(train, text, labels[0], column)
    if _is_categorical(column):
        return "single"
    numbers = _as_numbers(column)
    if np.isnan(numbers).any() or _holds_words(column):
        return "single"
    return "single" if np.array_equal(numbers, np.floor(numbers)) and np.isfinite(numbers).all() else "number"


def _checked_task(given: Any, labels: List[Any]) -> str:
    if given not in TASKS:
        raise UnusableInput(f"task={given!r} was given{nearest(str(given), TASKS)}; expected one of "
                            f"{', '.join(TASKS)}")
    if given in ("single", "tokens") and len(labels) > 1:
        raise UnusableInput(f"task={given!r} takes one label column and {len(labels)} were given, {listed(labels)}; "
                            f"give one, or write task='several' (columns of 0 and 1) or task='number'")
    return given


def _numbers_or_neither(train: Part, labels: List[Any]) -> str:
    for label in labels:
        numbers = _as_numbers(train.column(label))
        wrong = np.isnan(numbers)
        if wrong.any():
            raise UnusableInput(f"label column {label!r} holds {_value(train, label, wrong)}, {train.at(wrong)}; "
                                f"several label columns must hold 0 and 1 (several labels per text) or numbers; give "
                                f"one column of classes alone")
    return "number"


def _several_unless_per_word(train: Part, text: Any, label: Any, column: Any) -> str:
    """A label for each word of a text that is not yet in words would be misread as several labels per text."""
    per_word = [isinstance(of_text, str) and is_list(held) and len(of_text.split()) == len(held)
                for of_text, held in zip(train.column(text), column)]
    if all(per_word) and train.column(label).map(len).max() > 1:
        raise UnusableInput(f"label column {label!r} holds as many labels as {text!r} has words, in every row of "
                            f"train; write task='several' if they belong to the text, or give lists of words (one "
                            f"label per word): train[{text!r}] = train[{text!r}].str.split()")
    return "several"


def holds_lists(column: Any) -> bool:
    """Whether the first value that is there is a list, tuple or array."""
    return is_list(next((value for value in column if is_list(value) or not _is_missing(value)), None))


def is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or isinstance(value, np.ndarray) and value.ndim > 0


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _is_categorical(column: Any) -> bool:
    import pandas as pd

    return isinstance(column.dtype, pd.CategoricalDtype)


def _holds_words(column: Any) -> bool:
    return column.dtype.kind not in "biuf" and any(isinstance(value, str) for value in column.tolist())


# -- targets ---------------------------------------------------------------------------------------


def read_targets(parts: Sequence[Part], labels: List[Any], task: str, classes: Optional[Sequence[Any]],
                 chosen: bool = False) -> Tuple[List[str], List[Any]]:
    """Names, and the targets of each part; the first is train. `chosen`: by the caller, and not from the columns."""
    for part in parts:
        for label in labels:
            _check_missing(part, label)
    of_lists = task == "several" and len(labels) == 1 and holds_lists(parts[0].column(labels[0]))
    if classes is not None and (task == "number" or task == "several" and not of_lists):
        raise UnusableInput(f"classes was given and task is {task!r}, whose names are its label columns, "
                            f"{listed(labels)}; leave classes out")
    if task == "number":
        return [str(label) for label in labels], [_numbers(part, labels) for part in parts]
    if task == "several" and not of_lists:
        return [str(label) for label in labels], _matrices_of_columns(parts, labels)
    if of_lists:
        _check_not_bits(parts[0], labels[0])
    coded = [_coded(part, labels[0], in_lists=task != "single") for part in parts]
    if task == "single" and not chosen and classes is None:
        _check_not_ids(parts[0], labels[0], coded[0])
    coded, names = _in_one_order(parts, labels[0], coded, classes)
    if task == "single":
        return names, [each.codes for each in coded]
    if task == "tokens":
        return names, [_per_row(each, part.size) for each, part in zip(coded, parts)]
    matrices = [_matrix(each, part.size, len(names)) for each, part in zip(coded, parts)]
    _check_no_constant(parts[0], names, matrices[0], f"label {{!r}} of column {labels[0]!r}", "those lists")
    return names, matrices


def _check_missing(part: Part, label: Any) -> None:
    column = part.column(label)
    missing = column.isna().to_numpy(dtype=bool)
    if column.dtype.kind not in "biufmM" and not _is_categorical(column):
        missing = missing | np.array([isinstance(value, str) and not value.strip() for value in column.tolist()])
    if missing.any():
        drop = f", or leave the column out: test.drop(columns=[{label!r}])" if part.split == "test" else ""
        raise UnusableInput(f"label column {label!r} of {part.split} is empty in {missing.sum()} of {part.size} "
                            f"row(s), {part.at(missing)}; fill or remove these rows{drop}")


def _value(part: Part, label: Any, wrong: np.ndarray) -> str:
    value = part.column(label).iloc[int(wrong.argmax())]
    value = value.item() if isinstance(value, np.generic) else value
    return repr(value) if isinstance(value, (str, Number)) else f"a value of type {type(value).__name__}"


def _as_numbers(column: Any) -> np.ndarray:
    """Every value as float64; NaN where it is none."""
    import pandas as pd

    if _is_categorical(column):
        column = column.astype(object)
    if column.dtype.kind in "mMc":
        return np.full(len(column), np.nan)
    if column.dtype.kind not in "biuf":
        values = column.to_numpy(dtype=object)
        values = [value if isinstance(value, (str, Number)) and not isinstance(value, complex) else "no number"
                  for value in values]
        column = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce")
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _numbers(part: Part, labels: List[Any]) -> np.ndarray:
    columns = []
    for label in labels:
        numbers = _as_numbers(part.column(label))
        with np.errstate(over="ignore"):
            small = numbers.astype(np.float32)
        for wrong, expected in ((np.isnan(numbers), "numbers: write task='single' for classes, or turn them into "
                                                    "numbers first"),
                                (~np.isfinite(small), "finite numbers that float32 holds: fill or remove these rows")):
            if wrong.any():
                raise UnusableInput(f"label column {label!r} of {part.split} holds {_value(part, label, wrong)}, "
                                    f"{part.at(wrong)}; expected {expected}")
        columns.append(small)
    return columns[0] if len(labels) == 1 else np.stack(columns, axis=1)


# -- several columns of 0 and 1 --------------------------------------------------------------------


def _bits(part: Part, label: Any) -> Tuple[np.ndarray, Optional[np.ndarray]]:
    """The column as 0.0 and 1.0, and a mask of what is neither (None: nothing)."""
    import pandas as pd

    column = part.column(label)
    if column.dtype.kind in "biuf":
        bits = column.to_numpy(dtype=np.float64, na_value=np.nan)
    elif holds_lists(column):
        bits = np.full(part.size, np.nan)
    else:
        codes, values = pd.factorize(column.map(str))
        bits = np.array([BITS.get(str(value).strip().lower(), np.nan) for value in values])[codes]
    wrong = (bits != 0) & (bits != 1)
    return bits.astype(np.float32), wrong if wrong.any() else None


def _matrices_of_columns(parts: Sequence[Part], labels: List[Any]) -> List[np.ndarray]:
    matrices = [np.stack([_checked_bits(part, label) for label in labels], axis=1) for part in parts]
    _check_no_constant(parts[0], labels, matrices[0], "label column {!r}", "labels")
    return matrices


def _checked_bits(part: Part, label: Any) -> np.ndarray:
    bits, wrong = _bits(part, label)
    if wrong is not None:
        raise UnusableInput(f"label column {label!r} of {part.split} holds {_value(part, label, wrong)}, "
                            f"{part.at(wrong)}; several labels need columns that hold 0 and 1 only: write 1 for yes "
                            f"and 0 for no (numbers: task='number'; one column of classes: give it alone)")
    return bits


def _check_no_constant(train: Part, names: Sequence[Any], matrix: np.ndarray, what: str, where: str) -> None:
    sums = matrix.sum(axis=0, dtype=np.float64)
    for constant, always in ((sums == 0, "never"), (sums == train.size, "always")):
        if constant.any():
            found = [name for name, is_it in zip(names, constant) if is_it]
            others = f" ({len(found) - 1} more like it: {listed(found[1:])})" if len(found) > 1 else ""
            raise UnusableInput(f"{what.format(found[0])} is {always} 1 in the {train.size} row(s) of train{others}: "
                                f"nothing can be learned of it; leave it out of {where}, or give more rows")


# -- classes ---------------------------------------------------------------------------------------


def _check_not_bits(train: Part, label: Any) -> None:
    """Lists of 0 and 1 of one length are columns packed together, not names."""
    lists = train.column(label)
    lengths = {len(value) for value in lists if is_list(value)}
    if len(lengths) == 1 and max(lengths) > 1 and all(
            BITS.get(str(bit).lower()) is not None for value in lists if is_list(value) for bit in value):
        raise UnusableInput(f"label column {label!r} holds lists of {max(lengths)} times 0 or 1; expected lists of the "
                            f"names of labels, or columns of 0 and 1: train[names] = train[{label!r}].tolist() and "
                            f"labels=names")


def _coded(part: Part, label: Any, in_lists: bool) -> Coded:
    import pandas as pd

    column = part.column(label)
    rows = np.arange(part.size)
    if in_lists:
        column, rows = _flat(part, label, column)
    elif _is_categorical(column):
        column = column.cat.remove_unused_categories()
        return _by_name(column.cat.codes.to_numpy().astype(np.int64), list(column.cat.categories), rows, ordered=True)
    else:
        _check_kinds(part, label, column.tolist(), rows)
    codes, values = pd.factorize(column)
    return _by_name(codes, list(values), rows)


def _flat(part: Part, label: Any, column: Any) -> Tuple[np.ndarray, np.ndarray]:
    """All labels of all lists in one array, and the row of each."""
    lists = [value.tolist() if isinstance(value, np.ndarray) else value for value in column]
    wrong = np.array([not is_list(value) for value in lists])
    if wrong.any():
        raise UnusableInput(f"label column {label!r} of {part.split} holds {_value(part, label, wrong)}, "
                            f"{part.at(wrong)}; expected a list in every row, as in the others")
    rows = np.repeat(np.arange(part.size), [len(value) for value in lists])
    values = list(chain.from_iterable(lists))
    _check_kinds(part, label, values, rows, in_lists=True)
    flat = np.empty(len(values), dtype=object)
    flat[:] = values
    return flat, rows


def _check_kinds(part: Part, label: Any, values: Any, rows: np.ndarray, in_lists: bool = False) -> None:
    """Labels are str, bool or numbers; None and NaN are found in lists here."""
    kinds = set(map(type, values))
    if all(issubclass(kind, (str, int, np.integer, np.bool_)) for kind in kinds):
        return
    odd = {kind for kind in kinds if not issubclass(kind, (str, Number, np.bool_))}
    wrong = np.array([type(value) in odd or value != value or in_lists and _is_fraction(value) for value in values],
                     dtype=bool)
    if wrong.any():
        first = values[int(wrong.argmax())]
        held = repr(first) if first is None or isinstance(first, Number) else f"a {type(first).__name__}"
        raise UnusableInput(f"label column {label!r} of {part.split} holds {held}, which is no label, "
                            f"{part.at(np.unique(rows[wrong]))}; expected str, whole numbers or bools")


def _is_fraction(value: Any) -> bool:
    return isinstance(value, (float, np.floating)) and not float(value).is_integer()


def _name(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value.item() if isinstance(value, np.generic) else value)


def _by_name(codes: np.ndarray, values: Sequence[Any], rows: np.ndarray, ordered: bool = False) -> Coded:
    """One code per name, as 1 and ``"1"`` in one column are one class."""
    number: Dict[str, int] = {}
    merged = [number.setdefault(_name(value), len(number)) for value in values]
    return Coded(np.array(merged, dtype=np.int64)[codes], list(number), rows, ordered)


def _check_not_ids(train: Part, label: Any, coded: Coded) -> None:
    n = len(coded.names)
    if n <= MANY or 2 * n <= train.size:
        return
    column = train.column(label)
    are_numbers = not _is_categorical(column) and not np.isnan(_as_numbers(column)).any()
    held, what = ("numbers", "write task='number', or ") if are_numbers else ("ids or texts", "")
    raise UnusableInput(f"label column {label!r} holds {n} different values in {train.size} rows of train, as {held} "
                        f"do; {what}give a column of classes (task='single' if these are classes)")


def _in_one_order(parts: Sequence[Part], label: Any, coded: List[Coded],
                  classes: Optional[Sequence[Any]]) -> Tuple[List[Coded], List[str]]:
    train = coded[0]
    if classes is not None:
        names = _checked_classes(classes)
        if _classes_name_numbers(names, train.names):
            coded = [_renamed(each, names) for each in coded]
        _check_classes_fit(parts[0], label, coded[0], names)
    else:
        names = train.names if train.ordered else sorted(train.names, key=as_number_or_text)
    if len(names) < 2:
        raise UnusableInput(f"label column {label!r} holds only {listed(names) or 'empty lists'} in the "
                            f"{parts[0].size} row(s) of train; expected at least two classes: give rows of another")
    return [_numbered(part, label, each, names) for part, each in zip(parts, coded)], names


def _checked_classes(classes: Any) -> List[str]:
    names = None if isinstance(classes, (str, dict, set)) or not hasattr(classes, "__iter__") else [
        _name(each) for each in classes]
    if not names or len(set(names)) < len(names):
        raise UnusableInput(f"classes={classes!r} was given; expected a list of names, each once, in the order of "
                            f"their numbers")
    return names


def _classes_name_numbers(names: List[str], held: List[str]) -> bool:
    """Labels 0, 1, .. with ``classes=["no", "yes"]``: the classes are the names of these numbers."""
    numbers = {str(i) for i in range(len(names))}
    return set(held) <= numbers and not any(as_number_or_text(name)[0] == 0 for name in names)


def _renamed(coded: Coded, names: List[str]) -> Coded:
    number = {str(i): name for i, name in enumerate(names)}
    return coded._replace(names=[number.get(name, name) for name in coded.names])


def _check_classes_fit(train: Part, label: Any, coded: Coded, names: List[str]) -> None:
    unknown = [name for name in coded.names if name not in set(names)]
    if unknown:
        rows = np.unique(coded.rows[np.isin(coded.codes, [coded.names.index(name) for name in unknown])])
        raise UnusableInput(f"label column {label!r} of train holds {listed(unknown)}, {train.at(rows)}, and classes "
                            f"does not{nearest(unknown[0], names)}; add to classes, or remove these rows")
    lacking = [name for name in names if name not in set(coded.names)]
    if lacking:
        raise UnusableInput(f"classes holds {listed(lacking)} and the {train.size} row(s) of train never do; leave it "
                            f"out of classes, or give rows of it")


def _numbered(part: Part, label: Any, coded: Coded, names: List[str]) -> Coded:
    number = {name: i for i, name in enumerate(names)}
    codes = np.array([number.get(name, -1) for name in coded.names], dtype=np.int64)[coded.codes]
    if (codes < 0).any():
        unknown = sorted({name for name in coded.names if name not in number}, key=as_number_or_text)
        rows = np.unique(coded.rows[codes < 0])
        raise UnusableInput(f"label column {label!r} of {part.split} holds {listed(unknown)} in {len(rows)} row(s), "
                            f"{part.at(rows)}, and train never does{nearest(unknown[0], names)}; give train rows of "
                            f"it, or leave these out")
    return coded._replace(codes=codes, names=names)


def _per_row(coded: Coded, n: int) -> List[np.ndarray]:
    return np.split(coded.codes, np.cumsum(np.bincount(coded.rows, minlength=n))[:-1])


def _matrix(coded: Coded, n: int, n_names: int) -> np.ndarray:
    matrix = np.zeros((n, n_names), dtype=np.float32)
    matrix[coded.rows, coded.codes] = 1
    return matrix
