"""Label columns -> targets, the same numbers in every split, or one line that says what is wrong with them.

Between ``splits.py`` (rows) and ``examples.py`` (the whole). Imports pandas when it is used.
"""

from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from fastai_hf_callback.errors import InvalidInputError

from .classes import (
    align_class_order,
    check_not_ids,
    check_not_packed_columns,
    count_rows_of_classes,
    describe_absent_classes,
    encode_labels,
    split_by_row,
    to_multi_hot,
)
from .columns import (
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
from .table import suggest_nearest

__all__ = ["TASKS", "choose_task", "describe_targets", "read_targets", "takes_classes"]

TASKS = (
    "single_label_classification",
    "multi_label_classification",
    "regression",
    "token-classification",
    "question-answering",
)
# Columns with a smaller share of values other than 0 and 1 are taken for labels with mistakes in them.
MAX_STRAY_SHARE = 0.5


# -- which task ------------------------------------------------------------------------------------


def choose_task(train: Split, text: Any, labels: List[Any], given: Optional[str]) -> str:
    """Return the task that was given, or the one that the columns of train indicate."""
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
    _check_no_stringified_lists(train, labels[0])
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
    if all(mask is None or mask.mean() < MAX_STRAY_SHARE for mask in wrong):  # a stray value does not change the task
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
                f"{train.locate_rows(wrong)}; several label columns must hold 0 and 1 (several labels per text) or "
                f"numbers; give one column of classes alone"
            )
    return "regression"


def _choose_multi_label_of_lists(train: Split, text: Any, label: Any, column: Any) -> str:
    """Choose several labels per text; refuse what looks like a label per word of texts not split into words."""
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


def _check_no_stringified_lists(train: Split, label: Any) -> None:
    """Refuse lists written as text, as ``to_csv`` does."""
    column = train.column(label)
    texts = [value for value in column.tolist() if isinstance(value, str)]
    if len(texts) == len(column) and all(text.startswith("[") and text.endswith("]") for text in texts):
        expected = train.in_python(
            f"lists: frame[{label!r}] = frame[{label!r}].map(ast.literal_eval), and give the frame"
        )
        raise InvalidInputError(
            f"label column {label!r} holds lists written as text, as {texts[0]!r}; expected "
            f"{expected or 'one class per row, or several columns of 0 and 1'}"
        )


# -- targets ---------------------------------------------------------------------------------------


def read_targets(
    splits: Sequence[Split], labels: List[Any], task: str, classes: Optional[Sequence[Any]], task_given: bool = False
) -> Tuple[List[str], List[Any]]:
    """Return names, and each split's targets; train is first. `task_given`: by the caller, not from the columns."""
    for table in unique_tables(splits):
        for label in labels:
            check_no_missing(table, label)
    named = takes_classes(splits, labels, task)
    of_lists = named and task == "multi_label_classification"
    if classes is not None and not named:
        raise InvalidInputError(
            f"classes was given and task is {task!r}, whose names are its label columns, "
            f"{format_names(labels)}; leave classes out"
        )
    if task == "regression":
        return [str(label) for label in labels], [_read_numbers(split, labels) for split in splits]
    if task == "multi_label_classification" and not of_lists:
        return [str(label) for label in labels], _read_binary_matrices(splits, labels)
    if of_lists:
        check_not_packed_columns(splits[0], labels[0])
    coded = [encode_labels(split, labels[0], in_lists=task != "single_label_classification") for split in splits]
    if task == "single_label_classification" and not task_given and classes is None:
        check_not_ids(splits[0], labels[0], coded[0])
    coded, names = align_class_order(splits, labels[0], coded, classes)
    if task == "single_label_classification":
        return names, [each.codes for each in coded]
    if task == "token-classification":
        return names, [split_by_row(each, split.size) for each, split in zip(coded, splits)]
    matrices = [to_multi_hot(each, split.size, len(names)) for each, split in zip(coded, splits)]
    what = f"label {{!r}} of column {labels[0]!r}"
    _check_no_constant_label(splits[0], names, matrices[0], what, "those lists", may_be_absent=classes is not None)
    return names, matrices


def takes_classes(splits: Sequence[Split], labels: List[Any], task: str) -> bool:
    """Return whether the labels of `task` are names of classes, in one column."""
    return (
        task in ("single_label_classification", "token-classification")
        or task == "multi_label_classification"
        and len(labels) == 1
        and has_lists(splits[0].column(labels[0]))
    )


def describe_targets(train: Split, names: Sequence[str], targets: Any, classes: Optional[Sequence[Any]]) -> List[str]:
    """Describe what a given list of classes has and train has not, for the user."""
    return [] if classes is None else describe_absent_classes(train, names, count_rows_of_classes(targets, len(names)))


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
        numbers = split.in_python("numbers: task='regression'; ")
        raise InvalidInputError(
            f"label column {label!r} of {split.name} holds {describe_first_wrong(split, label, wrong)}, "
            f"{split.locate_rows(wrong)}; several labels need columns that hold 0 and 1 only: write 1 for yes "
            f"and 0 for no ({numbers}one column of classes: give it alone)"
        )
    return bits


def _check_no_constant_label(
    train: Split, names: Sequence[Any], matrix: np.ndarray, what: str, where: str, may_be_absent: bool = False
) -> None:
    sums = matrix.sum(axis=0, dtype=np.float64)
    for constant, always in ((sums == 0, "never"), (sums == train.size, "always")):
        if constant.any() and not (may_be_absent and always == "never"):
            found = [name for name, is_it in zip(names, constant) if is_it]
            others = f" ({len(found) - 1} more like it: {format_names(found[1:])})" if len(found) > 1 else ""
            raise InvalidInputError(
                f"{what.format(found[0])} is {always} 1 in the {train.size} row(s) of train{others}: "
                f"nothing can be learned of it; leave it out of {where}, or give more rows"
            )
