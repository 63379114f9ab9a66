"""Class names -> numbers, the same in every split. Imports numpy, and pandas when it is used.

Between ``columns.py`` (content of columns) and ``targets.py`` (labels of every task).
"""

from itertools import chain
from numbers import Number
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from fastai_hf_callback.errors import InvalidInputError

from .columns import BINARY_VALUES, describe_first_wrong, is_categorical, is_list, to_numbers
from .splits import Split, format_names
from .table import natural_sort_key, suggest_nearest

__all__ = [
    "CodedLabels",
    "align_class_order",
    "check_not_ids",
    "check_not_packed_columns",
    "count_rows_of_classes",
    "describe_absent_classes",
    "encode_labels",
    "split_by_row",
    "to_multi_hot",
]

MANY_CLASSES = 20


class CodedLabels(NamedTuple):
    """Labels as numbers: `codes` into `names`, `rows` of the split that each belongs to."""

    codes: np.ndarray
    names: List[str]
    rows: np.ndarray
    ordered: bool = False


def check_not_packed_columns(train: Split, label: Any) -> None:
    """Refuse lists of 0 and 1 of one length: they are columns packed together, not class names."""
    lists = train.column(label)
    lengths = {len(value) for value in lists if is_list(value)}
    if (
        len(lengths) == 1
        and max(lengths) > 1
        and all(BINARY_VALUES.get(str(bit).lower()) is not None for value in lists if is_list(value) for bit in value)
    ):
        raise InvalidInputError(
            f"label column {label!r} holds lists of {max(lengths)} times 0 or 1; expected lists of the "
            f"names of labels, or columns of 0 and 1: train[names] = train[{label!r}].tolist() and "
            f"labels=names"
        )


def encode_labels(split: Split, label: Any, in_lists: bool) -> CodedLabels:
    import pandas as pd

    column = split.column(label)
    rows = np.arange(split.size)
    if in_lists:
        column, rows = _flatten_lists(split, label, column)
    elif is_categorical(column):
        column = column.cat.remove_unused_categories()
        return _merge_by_name(
            column.cat.codes.to_numpy().astype(np.int64), list(column.cat.categories), rows, ordered=True
        )
    else:
        _check_label_types(split, label, column.tolist(), rows)
    codes, values = pd.factorize(column)
    return _merge_by_name(codes, list(values), rows)


def _flatten_lists(split: Split, label: Any, column: Any) -> Tuple[np.ndarray, np.ndarray]:
    """Return all labels of all lists in one array, and the row of each."""
    lists = [value.tolist() if isinstance(value, np.ndarray) else value for value in column]
    wrong = np.array([not is_list(value) for value in lists])
    if wrong.any():
        raise InvalidInputError(
            f"label column {label!r} of {split.name} holds {describe_first_wrong(split, label, wrong)}, "
            f"{split.locate_rows(wrong)}; expected a list in every row, as in the others"
        )
    rows = np.repeat(np.arange(split.size), [len(value) for value in lists])
    values = list(chain.from_iterable(lists))
    _check_label_types(split, label, values, rows, in_lists=True)
    flat = np.empty(len(values), dtype=object)
    flat[:] = values
    return flat, rows


def _check_label_types(split: Split, label: Any, values: Any, rows: np.ndarray, in_lists: bool = False) -> None:
    """Check that labels are str, bool or numbers; None and NaN within lists are found here."""
    kinds = set(map(type, values))
    if all(issubclass(kind, (str, int, np.integer, np.bool_)) for kind in kinds):
        return
    odd = {kind for kind in kinds if not issubclass(kind, (str, Number, np.bool_))}
    wrong = np.array(
        [type(value) in odd or value != value or in_lists and _is_fraction(value) for value in values], dtype=bool
    )
    if wrong.any():
        first = values[int(wrong.argmax())]
        held = repr(first) if first is None or isinstance(first, Number) else f"a {type(first).__name__}"
        raise InvalidInputError(
            f"label column {label!r} of {split.name} holds {held}, which is no label, "
            f"{split.locate_rows(np.unique(rows[wrong]))}; expected str, whole numbers or bools"
        )


def _is_fraction(value: Any) -> bool:
    return isinstance(value, (float, np.floating)) and not float(value).is_integer()


def _class_name(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value.item() if isinstance(value, np.generic) else value)


def _merge_by_name(codes: np.ndarray, values: Sequence[Any], rows: np.ndarray, ordered: bool = False) -> CodedLabels:
    """Give each name one code, as 1 and ``"1"`` in one column are one class."""
    number: Dict[str, int] = {}
    merged = [number.setdefault(_class_name(value), len(number)) for value in values]
    return CodedLabels(np.array(merged, dtype=np.int64)[codes], list(number), rows, ordered)


def check_not_ids(train: Split, label: Any, coded: CodedLabels) -> None:
    n = len(coded.names)
    if n <= MANY_CLASSES or 2 * n <= train.size:
        return
    column = train.column(label)
    are_numbers = not is_categorical(column) and not np.isnan(to_numbers(column)).any()
    held, what = ("numbers", train.in_python("write task='regression', or ")) if are_numbers else ("ids or texts", "")
    otherwise = train.in_python(" (task='single_label_classification' if these are classes)")
    raise InvalidInputError(
        f"label column {label!r} holds {n} different values in {train.size} rows of train, as {held} "
        f"do; {what}give a column of classes{otherwise}"
    )


def align_class_order(
    splits: Sequence[Split], label: Any, coded: List[CodedLabels], classes: Optional[Sequence[Any]]
) -> Tuple[List[CodedLabels], List[str]]:
    train = coded[0]
    if classes is not None:
        names = _validate_classes(classes)
        if _are_names_of_numbers(names, train.names):
            coded = [_rename_numbers(each, names) for each in coded]
        _check_classes_fit(splits[0], label, coded[0], names)
    else:
        names = train.names if train.ordered else sorted(train.names, key=natural_sort_key)
    if len(names) < 2:
        raise InvalidInputError(
            f"label column {label!r} holds only {format_names(names) or 'empty lists'} in the "
            f"{splits[0].size} row(s) of train; expected at least two classes: give rows of another"
        )
    return [_apply_class_order(split, label, each, names) for split, each in zip(splits, coded)], names


def _validate_classes(classes: Any) -> List[str]:
    names = (
        None
        if isinstance(classes, (str, dict, set)) or not hasattr(classes, "__iter__")
        else [_class_name(each) for each in classes]
    )
    if not names or len(set(names)) < len(names):
        raise InvalidInputError(
            f"classes={classes!r} was given; expected a list of names, each once, in the order of their numbers"
        )
    return names


def _are_names_of_numbers(names: List[str], held: List[str]) -> bool:
    """Return whether labels are 0, 1, .. and `classes` their names, as in ``classes=["no", "yes"]``."""
    numbers = {str(i) for i in range(len(names))}
    return set(held) <= numbers and not any(natural_sort_key(name)[0] == 0 for name in names)


def _rename_numbers(coded: CodedLabels, names: List[str]) -> CodedLabels:
    number = {str(i): name for i, name in enumerate(names)}
    return coded._replace(names=[number.get(name, name) for name in coded.names])


def _check_classes_fit(train: Split, label: Any, coded: CodedLabels, names: List[str]) -> None:
    unknown = [name for name in coded.names if name not in set(names)]
    if unknown:
        rows = np.unique(coded.rows[np.isin(coded.codes, [coded.names.index(name) for name in unknown])])
        raise InvalidInputError(
            f"label column {label!r} of train holds {format_names(unknown)}, {train.locate_rows(rows)}, and classes "
            f"does not{suggest_nearest(unknown[0], names)}; add to classes, or remove these rows"
        )


def describe_absent_classes(train: Split, names: Sequence[str], counts: np.ndarray) -> List[str]:
    """Describe the classes of a given list that train has no row of; they keep their numbers."""
    absent = [name for name, count in zip(names, counts) if not count]
    if not absent:
        return []
    return [
        f"the {train.size} row(s) of train hold no {format_names(absent)}, which {len(names)} classes were given for: "
        f"the model has an output for it and learns nothing of it"
    ]


def count_rows_of_classes(targets: Any, n_names: int) -> np.ndarray:
    """Count how often each class is among targets: numbers, an array of numbers a row, or a matrix of 0 and 1."""
    if isinstance(targets, np.ndarray) and targets.ndim == 2:
        return targets.sum(axis=0)
    numbers = targets if isinstance(targets, np.ndarray) else np.concatenate([*targets, np.empty(0, dtype=np.int64)])
    return np.bincount(numbers.astype(np.int64), minlength=n_names)


def _apply_class_order(split: Split, label: Any, coded: CodedLabels, names: List[str]) -> CodedLabels:
    number = {name: i for i, name in enumerate(names)}
    codes = np.array([number.get(name, -1) for name in coded.names], dtype=np.int64)[coded.codes]
    if (codes < 0).any():
        unknown = sorted({name for name in coded.names if name not in number}, key=natural_sort_key)
        rows = np.unique(coded.rows[codes < 0])
        are_numbers = all(map(_is_number, [*names, *unknown]))
        numbers = split.in_python("; numbers to be predicted: task='regression'") if are_numbers else ""
        raise InvalidInputError(
            f"label column {label!r} of {split.name} holds {format_names(unknown)} in {len(rows)} row(s), "
            f"{split.locate_rows(rows)}, and train never does{suggest_nearest(unknown[0], names)}; give train rows of "
            f"it, or leave these out{numbers}"
        )
    return coded._replace(codes=codes, names=names)


def _is_number(name: str) -> bool:
    return natural_sort_key(name)[0] == 0


def split_by_row(coded: CodedLabels, n: int) -> List[np.ndarray]:
    return np.split(coded.codes, np.cumsum(np.bincount(coded.rows, minlength=n))[:-1])


def to_multi_hot(coded: CodedLabels, n: int, n_names: int) -> np.ndarray:
    matrix = np.zeros((n, n_names), dtype=np.float32)
    matrix[coded.rows, coded.codes] = 1
    return matrix
