"""Label columns -> targets, the same numbers in every split, or one line that says what is wrong with them.

Stands between ``splits.py`` (rows) and ``examples.py`` (the whole). Imports pandas when it is used.
"""

from itertools import chain
from numbers import Number
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from fastai_hf_callback.errors import InvalidInputError

from .columns import (
    BINARY_VALUES,
    check_no_missing,
    describe_first_wrong,
    has_lists,
    has_strings,
    is_categorical,
    is_list,
    parse_binary_column,
    to_numbers,
)
from .splits import Split, format_names, unique_tables
from .table import natural_sort_key, suggest_nearest

__all__ = ["TASKS", "choose_task", "read_targets"]

TASKS = (
    "single_label_classification",
    "multi_label_classification",
    "regression",
    "token-classification",
    "question-answering",
)
MANY_CLASSES = 20
# Share of values that are neither 0 nor 1 below which columns are taken for labels with mistakes in them.
MAX_STRAY_SHARE = 0.5


class CodedLabels(NamedTuple):
    """Labels as numbers: `codes` into `names`, `rows` of the split that each belongs to."""

    codes: np.ndarray
    names: List[str]
    rows: np.ndarray
    ordered: bool = False


# -- which task ------------------------------------------------------------------------------------


def choose_task(train: Split, text: Any, labels: List[Any], given: Optional[str]) -> str:
    """The task that was given, or the one that the columns of train speak for."""
    if given is not None:
        return _validate_task(given, labels)
    for label in labels:
        check_no_missing(unique_tables([train])[0], label)
    if len(labels) > 1:
        return _choose_multi_label_or_regression(train, labels)
    column = train.column(labels[0])
    if has_lists(column):
        return (
            "token-classification"
            if has_lists(train.column(text))
            else _choose_multi_label_of_lists(train, text, labels[0], column)
        )
    if is_categorical(column):
        return "single_label_classification"
    _check_no_stringified_lists(column, labels[0])
    numbers = to_numbers(column)
    if np.isnan(numbers).any() or has_strings(column):
        return "single_label_classification"
    return (
        "single_label_classification"
        if np.array_equal(numbers, np.floor(numbers)) and np.isfinite(numbers).all()
        else "regression"
    )


def _validate_task(given: Any, labels: List[Any]) -> str:
    if given not in TASKS:
        raise InvalidInputError(
            f"task={given!r} was given{suggest_nearest(str(given), TASKS)}; expected one of {', '.join(TASKS)}"
        )
    if given in ("single_label_classification", "token-classification") and len(labels) > 1:
        raise InvalidInputError(
            f"task={given!r} takes one label column and {len(labels)} were given, {format_names(labels)}; "
            f"give one, or write task='multi_label_classification' (columns of 0 and 1) or task='regression'"
        )
    return given


def _choose_multi_label_or_regression(train: Split, labels: List[Any]) -> str:
    wrong = [parse_binary_column(train, label)[1] for label in labels]
    if all(mask is None for mask in wrong):
        return "multi_label_classification"
    if all(mask is None or mask.mean() < MAX_STRAY_SHARE for mask in wrong):  # a stray value changes no task
        for label in labels:
            _read_binary_column(train, label)
    return _check_regression_columns(train, labels)


def _check_regression_columns(train: Split, labels: List[Any]) -> str:
    for label in labels:
        numbers = to_numbers(train.column(label))
        wrong = np.isnan(numbers)
        if wrong.any():
            raise InvalidInputError(
                f"label column {label!r} holds {describe_first_wrong(train, label, wrong)}, "
                f"{train.locate_rows(wrong)}; "
                f"several label columns must hold 0 and 1 (several labels per text) or numbers; give "
                f"one column of classes alone"
            )
    return "regression"


def _choose_multi_label_of_lists(train: Split, text: Any, label: Any, column: Any) -> str:
    """A label for each word of a text that is not yet in words would be misread as several labels per text."""
    per_word = [
        isinstance(of_text, str) and is_list(held) and len(of_text.split()) == len(held)
        for of_text, held in zip(train.column(text), column)
    ]
    if all(per_word) and train.column(label).map(len).max() > 1:
        raise InvalidInputError(
            f"label column {label!r} holds as many labels as {text!r} has words, in every row of "
            f"train; write task='multi_label_classification' if they belong to the text, or give lists of words (one "
            f"label per word): train[{text!r}] = train[{text!r}].str.split()"
        )
    return "multi_label_classification"


def _check_no_stringified_lists(column: Any, label: Any) -> None:
    """What ``to_csv`` makes of lists."""
    texts = [value for value in column.tolist() if isinstance(value, str)]
    if len(texts) == len(column) and all(text.startswith("[") and text.endswith("]") for text in texts):
        raise InvalidInputError(
            f"label column {label!r} holds lists written as text, as {texts[0]!r}; expected lists: "
            f"frame[{label!r}] = frame[{label!r}].map(ast.literal_eval), and give the frame"
        )


# -- targets ---------------------------------------------------------------------------------------


def read_targets(
    splits: Sequence[Split], labels: List[Any], task: str, classes: Optional[Sequence[Any]], task_given: bool = False
) -> Tuple[List[str], List[Any]]:
    """Names, and the targets of each split; the first is train. `task_given`: by the caller, not from the columns."""
    for table in unique_tables(splits):
        for label in labels:
            check_no_missing(table, label)
    of_lists = task == "multi_label_classification" and len(labels) == 1 and has_lists(splits[0].column(labels[0]))
    if classes is not None and (task == "regression" or task == "multi_label_classification" and not of_lists):
        raise InvalidInputError(
            f"classes was given and task is {task!r}, whose names are its label columns, "
            f"{format_names(labels)}; leave classes out"
        )
    if task == "regression":
        return [str(label) for label in labels], [_read_numbers(split, labels) for split in splits]
    if task == "multi_label_classification" and not of_lists:
        return [str(label) for label in labels], _read_binary_matrices(splits, labels)
    if of_lists:
        _check_not_packed_columns(splits[0], labels[0])
    coded = [_encode_labels(split, labels[0], in_lists=task != "single_label_classification") for split in splits]
    if task == "single_label_classification" and not task_given and classes is None:
        _check_not_ids(splits[0], labels[0], coded[0])
    coded, names = _align_class_order(splits, labels[0], coded, classes)
    if task == "single_label_classification":
        return names, [each.codes for each in coded]
    if task == "token-classification":
        return names, [_split_by_row(each, split.size) for each, split in zip(coded, splits)]
    matrices = [_to_multi_hot(each, split.size, len(names)) for each, split in zip(coded, splits)]
    _check_no_constant_label(splits[0], names, matrices[0], f"label {{!r}} of column {labels[0]!r}", "those lists")
    return names, matrices


def _read_numbers(split: Split, labels: List[Any]) -> np.ndarray:
    columns = []
    for label in labels:
        numbers = to_numbers(split.column(label))
        with np.errstate(over="ignore"):
            small = numbers.astype(np.float32)
        for wrong, expected in (
            (
                np.isnan(numbers),
                "numbers: write task='single_label_classification' for classes, or turn them into numbers first",
            ),
            (~np.isfinite(small), "finite numbers that float32 holds: fill or remove these rows"),
        ):
            if wrong.any():
                raise InvalidInputError(
                    f"label column {label!r} of {split.name} holds {describe_first_wrong(split, label, wrong)}, "
                    f"{split.locate_rows(wrong)}; expected {expected}"
                )
        columns.append(small)
    return columns[0] if len(labels) == 1 else np.stack(columns, axis=1)


# -- several columns of 0 and 1 --------------------------------------------------------------------


def _read_binary_matrices(splits: Sequence[Split], labels: List[Any]) -> List[np.ndarray]:
    matrices = [np.stack([_read_binary_column(split, label) for label in labels], axis=1) for split in splits]
    _check_no_constant_label(splits[0], labels, matrices[0], "label column {!r}", "labels")
    return matrices


def _read_binary_column(split: Split, label: Any) -> np.ndarray:
    bits, wrong = parse_binary_column(split, label)
    if wrong is not None:
        raise InvalidInputError(
            f"label column {label!r} of {split.name} holds {describe_first_wrong(split, label, wrong)}, "
            f"{split.locate_rows(wrong)}; several labels need columns that hold 0 and 1 only: write 1 for yes "
            f"and 0 for no (numbers: task='regression'; one column of classes: give it alone)"
        )
    return bits


def _check_no_constant_label(train: Split, names: Sequence[Any], matrix: np.ndarray, what: str, where: str) -> None:
    sums = matrix.sum(axis=0, dtype=np.float64)
    for constant, always in ((sums == 0, "never"), (sums == train.size, "always")):
        if constant.any():
            found = [name for name, is_it in zip(names, constant) if is_it]
            others = f" ({len(found) - 1} more like it: {format_names(found[1:])})" if len(found) > 1 else ""
            raise InvalidInputError(
                f"{what.format(found[0])} is {always} 1 in the {train.size} row(s) of train{others}: "
                f"nothing can be learned of it; leave it out of {where}, or give more rows"
            )


# -- classes ---------------------------------------------------------------------------------------


def _check_not_packed_columns(train: Split, label: Any) -> None:
    """Lists of 0 and 1 of one length are columns packed together, not names."""
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


def _encode_labels(split: Split, label: Any, in_lists: bool) -> CodedLabels:
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
    """All labels of all lists in one array, and the row of each."""
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
    """Labels are str, bool or numbers; None and NaN are found in lists here."""
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
    """One code per name, as 1 and ``"1"`` in one column are one class."""
    number: Dict[str, int] = {}
    merged = [number.setdefault(_class_name(value), len(number)) for value in values]
    return CodedLabels(np.array(merged, dtype=np.int64)[codes], list(number), rows, ordered)


def _check_not_ids(train: Split, label: Any, coded: CodedLabels) -> None:
    n = len(coded.names)
    if n <= MANY_CLASSES or 2 * n <= train.size:
        return
    column = train.column(label)
    are_numbers = not is_categorical(column) and not np.isnan(to_numbers(column)).any()
    held, what = ("numbers", "write task='regression', or ") if are_numbers else ("ids or texts", "")
    raise InvalidInputError(
        f"label column {label!r} holds {n} different values in {train.size} rows of train, as {held} "
        f"do; {what}give a column of classes (task='single_label_classification' if these are classes)"
    )


def _align_class_order(
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
    """Labels 0, 1, .. with ``classes=["no", "yes"]``: the classes are the names of these numbers."""
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
    lacking = [name for name in names if name not in set(coded.names)]
    if lacking:
        raise InvalidInputError(
            f"classes holds {format_names(lacking)} and the {train.size} row(s) of train never do; leave it "
            f"out of classes, or give rows of it"
        )


def _apply_class_order(split: Split, label: Any, coded: CodedLabels, names: List[str]) -> CodedLabels:
    number = {name: i for i, name in enumerate(names)}
    codes = np.array([number.get(name, -1) for name in coded.names], dtype=np.int64)[coded.codes]
    if (codes < 0).any():
        unknown = sorted({name for name in coded.names if name not in number}, key=natural_sort_key)
        rows = np.unique(coded.rows[codes < 0])
        numbers = "; numbers to be predicted: task='regression'" if all(map(_is_number, [*names, *unknown])) else ""
        raise InvalidInputError(
            f"label column {label!r} of {split.name} holds {format_names(unknown)} in {len(rows)} row(s), "
            f"{split.locate_rows(rows)}, and train never does{suggest_nearest(unknown[0], names)}; give train rows of "
            f"it, or leave these out{numbers}"
        )
    return coded._replace(codes=codes, names=names)


def _is_number(name: str) -> bool:
    return natural_sort_key(name)[0] == 0


def _split_by_row(coded: CodedLabels, n: int) -> List[np.ndarray]:
    return np.split(coded.codes, np.cumsum(np.bincount(coded.rows, minlength=n))[:-1])


def _to_multi_hot(coded: CodedLabels, n: int, n_names: int) -> np.ndarray:
    matrix = np.zeros((n, n_names), dtype=np.float32)
    matrix[coded.rows, coded.codes] = 1
    return matrix
