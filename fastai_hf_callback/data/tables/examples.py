"""DataFrames or CSV files -> the texts and targets of train, valid and test, checked, or one line that says what is
wrong and what to write.

Built on ``splits.py`` (rows) and ``targets.py`` (labels as numbers). No row is ever dropped and nothing that the
caller gave is changed; rows go by position, whatever the index.
"""

import re
from itertools import repeat
from typing import Any, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from fastai_hf_callback.errors import InvalidInputError

from .columns import is_blank, is_list, is_unicode
from .qa_answers import has_squad_answers, read_answers
from .splits import Split, format_names, open_splits, unique_tables
from .targets import TASKS as TASKS
from .targets import choose_task, describe_targets, read_targets, takes_classes

__all__ = ["Examples", "LabeledSplits", "read_examples"]


class Examples(NamedTuple):
    """One split.

    Attributes
    ----------
    texts : list
        A str each; for ``"token-classification"`` a list of str (words) each.
    pairs : list of str or None
        The second texts.
    targets : numpy.ndarray or list of numpy.ndarray or None
        ``"single_label_classification"``: int64 ``(n,)``; ``"multi_label_classification"``: float32 ``(n, columns)`` of
        0 and 1; ``"regression"``: float32 ``(n,)``, or ``(n, columns)`` with several columns;
        ``"token-classification"``: an int64 array each, one class per word; ``"question-answering"``: int64 ``(n, 2)``,
        the characters of the second text that answer the first, the end excluded, -1 without an answer. None for a test
        without labels.
    split : Split or None
        The rows as the caller gave them.
    """

    texts: List[Any]
    pairs: Optional[List[str]]
    targets: Any
    split: Optional[Split] = None

    def locate_rows(self, rows: Any) -> str:
        """Format rows, by number, as the one who gave the data would write them."""
        return format_names(list(rows)) if self.split is None else self.split.locate_rows(rows)

    @property
    def items(self) -> List[Any]:
        """Each row's text, or its text and the second one."""
        return self.texts if self.pairs is None else list(zip(self.texts, self.pairs))


class LabeledSplits(NamedTuple):
    """Every split, and what the numbers mean.

    Attributes
    ----------
    train, valid : Examples
    test : Examples or None
        Its targets are None unless it has the label columns.
    task : str
        One of `TASKS`.
    names : list of str
        The classes in the order of their numbers; the label columns for ``"multi_label_classification"`` and
        ``"regression"``; ``["start", "end"]`` for ``"question-answering"``.
    messages : list of str
        Messages for the user, one line each.
    """

    train: Examples
    valid: Examples
    test: Optional[Examples]
    task: str
    names: List[str]
    messages: List[str]


def read_examples(
    train: Any,
    valid: Any,
    text: Any,
    labels: Any,
    *,
    text_pair: Any = None,
    test: Any = None,
    task: Optional[str] = None,
    classes: Optional[Sequence[Any]] = None,
    seed: int = 42,
    allow_blank: bool = True,
) -> LabeledSplits:
    """Read and check texts and labels.

    Parameters
    ----------
    train : pandas.DataFrame or path-like
        Or a Hugging Face ``Dataset``, whose classes come with their names and in their order, or anything else with
        ``to_pandas()``. A file is read as CSV (``.gz`` and the like included); a ``CsvFile`` says how.
    valid : pandas.DataFrame, path-like, float or str
        A fraction is drawn from `train` by `seed` alone; a name of a column of `train` marks its rows for validation
        (True, 1, ``"valid"``, ``"dev"``), and these leave `train`.
    text : str
        The column of texts; for ``"token-classification"`` of lists of words.
    labels : str or list of str
        A column of classes, numbers or lists; several columns of 0 and 1, or of numbers; for ``"question-answering"``
        see ``qa_answers.read_answers``.
    text_pair : str, optional
        The column of second texts.
    test : pandas.DataFrame, path-like or list of str, optional
        With or without the label columns.
    task : str, optional
        One of `TASKS`; without it the columns of `train` decide.
    classes : sequence, optional
        The classes in the order of their numbers. Where the labels are 0, 1, .., the names of these numbers.
    seed : int
        Of the draw of `valid`.
    allow_blank : bool
        False refuses texts that hold nothing but blanks.

    Returns
    -------
    LabeledSplits

    Raises
    ------
    InvalidInputError
        With one line that says what was given, what was expected and what to write.
    """
    columns = _as_list(labels)
    _check_names([text, text_pair, *columns])
    required = [text] if text_pair is None else [text, text_pair]
    splits = [split for split in open_splits(train, valid, test, text, required, columns, seed) if split is not None]
    if task is None and has_squad_answers(splits[0].column(columns[0])):
        task = "question-answering"
    task_given, task = task is not None, choose_task(splits[0], text, columns, task)
    _check_pair_fits(task, text_pair)
    if classes is None and takes_classes(splits, columns, task):
        classes = splits[0].classes
    for table in unique_tables(splits):
        _check_no_text_missing(table, required, allow_blank)
    texts = [_read_texts(split, text, is_split_into_words=task == "token-classification") for split in splits]
    pairs = [
        None if text_pair is None else _read_texts(split, text_pair, is_split_into_words=False) for split in splits
    ]
    labelled = [split for split in splits if _has_labels(split, columns)]
    answer_messages: List[str] = []
    class_messages: List[str] = []
    if task == "question-answering":
        names, targets, answer_messages = _read_qa_targets(labelled, pairs, columns, classes)
    else:
        names, targets = read_targets(labelled, columns, task, classes, task_given)
        class_messages = describe_targets(splits[0], names, targets[0], classes)
    if task == "token-classification":
        for split, words, target in zip(splits, texts, targets):
            _check_label_counts(split, words, target, text, columns[0])
    targets = (targets + [None])[: len(splits)]
    examples = [Examples(*each) for each in zip(texts, pairs, targets, splits)]
    messages = [line for split, of_split in zip(splits, examples) for line in _describe_blanks(split, of_split)]
    messages += (
        class_messages
        + _describe_numeric_texts(splits[0], text, examples[0].texts)
        + _describe_duplicates(splits[1], examples)
        + answer_messages
    )
    return LabeledSplits(examples[0], examples[1], examples[2] if len(examples) > 2 else None, task, names, messages)


def _as_list(labels: Any) -> List[Any]:
    columns = list(labels) if is_list(labels) or hasattr(labels, "tolist") else [labels]
    if not columns or columns == [None]:
        raise InvalidInputError(
            f"labels={labels!r} was given; expected the name of a column, or a list of names: labels='label'"
        )
    return columns


def _check_names(names: List[Any]) -> None:
    odd = [name for name in names if isinstance(name, (dict, set)) or is_list(name) or hasattr(name, "iloc")]
    if odd:
        raise InvalidInputError(
            f"a {type(odd[0]).__name__} was given for a column; expected the name of one: text='text', "
            f"labels='label' or labels=['a', 'b']"
        )


def _check_pair_fits(task: str, text_pair: Any) -> None:
    if task == "token-classification" and text_pair is not None:
        raise InvalidInputError(
            f"text_pair={text_pair!r} was given and task is 'token-classification'; expected one text of words per "
            f"row: leave text_pair out"
        )
    if task == "question-answering" and text_pair is None:
        raise InvalidInputError(
            "task is 'question-answering' and no text_pair was given; expected the column of questions and that of "
            "their contexts: write text='question', text_pair='context'"
        )


def _read_qa_targets(
    splits: List[Split], contexts: List[Any], labels: List[Any], classes: Any
) -> Tuple[List[str], List[Any], List[str]]:
    if classes is not None:
        raise InvalidInputError("classes was given and task is 'question-answering', which has none; leave classes out")
    found = [read_answers(split, of_split, labels) for split, of_split in zip(splits, contexts)]
    return (
        ["start", "end"],
        [char_spans for char_spans, _ in found],
        [line for _, messages in found for line in messages],
    )


def _has_labels(split: Split, labels: List[Any]) -> bool:
    there = [label for label in labels if label in split.frame.columns]
    if there and len(there) < len(labels):
        lacking = [label for label in labels if label not in there]
        raise InvalidInputError(
            f"{split.name} has the label column(s) {format_names(there)} and lacks {format_names(lacking)}; "
            f"expected all or none: write {split.format_drop(there)}, or add the others"
        )
    return bool(there)


# -- texts -----------------------------------------------------------------------------------------


def _check_no_text_missing(table: Split, columns: List[Any], allow_blank: bool) -> None:
    fill = table.in_python(" them, as with .fillna(''),")
    for column in columns:
        values = table.column(column)
        missing, what = values.isna().to_numpy(dtype=bool), "missing"
        if not allow_blank:
            missing, what = (
                missing | np.array([isinstance(value, str) and is_blank(value) for value in values]),
                "blank",
            )
        if missing.any():
            raise InvalidInputError(
                f"text column {column!r} of {table.name} is {what} in {missing.sum()} of "
                f"{table.size} row(s), {table.locate_rows(missing)}; fill{fill} or remove these rows"
            )


def _read_texts(split: Split, column: Any, is_split_into_words: bool) -> List[Any]:
    values = split.column(column).tolist()
    return _read_words(split, column, values) if is_split_into_words else _read_strings(split, column, values)


def _read_strings(split: Split, column: Any, values: List[Any]) -> List[str]:
    wrong = [row for row, value in enumerate(values) if not isinstance(value, str)]
    if wrong:
        first = values[wrong[0]]
        cure = ".str.join(' ')" if is_list(first) else ".astype(str)"
        raise InvalidInputError(
            f"text column {column!r} of {split.name} holds {type(first).__name__}, no str, in "
            f"{len(wrong)} of {split.size} row(s), {split.locate_rows(wrong)}; expected a str each: name the "
            f"column of texts, or turn it into str with {cure}"
        )
    _check_unicode(split, column, values)
    return values


def _read_words(split: Split, column: Any, values: List[Any]) -> List[List[str]]:
    wrong = [
        row
        for row, words in enumerate(values)
        if not is_list(words) or not all(isinstance(word, str) for word in words)
    ]
    if wrong:
        first = values[wrong[0]]
        held = (
            f"a list with {next(type(word).__name__ for word in first if not isinstance(word, str))}"
            if is_list(first)
            else type(first).__name__
        )
        raise InvalidInputError(
            f"text column {column!r} of {split.name} holds {held} in {len(wrong)} of {split.size} "
            f"row(s), {split.locate_rows(wrong)}; task 'token-classification' needs a list of str in each, as "
            f".str.split() gives"
        )
    _check_unicode(split, column, map("".join, values))
    return [list(words) for words in values]


def _check_unicode(split: Split, column: Any, texts: Iterable[str]) -> None:
    wrong = [row for row, text in enumerate(texts) if not is_unicode(text)]
    if wrong:
        raise InvalidInputError(
            f"text column {column!r} of {split.name} holds half a character (a lone surrogate, as JSON that was cut "
            f"leaves it) in {len(wrong)} of {split.size} row(s), {split.locate_rows(wrong)}; repair or remove these "
            f"rows, or write .map(lambda text: text.encode('utf-8', 'replace').decode())"
        )


def _check_label_counts(split: Split, texts: List[List[str]], targets: Any, text: Any, label: Any) -> None:
    if targets is None:
        return
    wrong = [row for row, (words, target) in enumerate(zip(texts, targets)) if len(words) != len(target)]
    if wrong:
        raise InvalidInputError(
            f"{len(wrong)} row(s) of {split.name} have other numbers of words and labels, "
            f"{split.locate_rows(wrong)} (the first: {len(texts[wrong[0]])} words in {text!r}, "
            f"{len(targets[wrong[0]])} labels in {label!r}); expected one label per word"
        )


# -- what the user is told -------------------------------------------------------------------------


def _describe_blanks(split: Split, examples: Examples) -> List[str]:
    first = np.array([is_blank(text) for text in examples.texts])
    second = first if examples.pairs is None else np.array([is_blank(text) for text in examples.pairs])
    does = "train" if split.name == "train" else "count"
    return [
        line
        for line in (
            _describe_count(split, first & second, "text", "blank", f"{does} as special tokens alone"),
            _describe_count(split, first ^ second, "pair", "half blank", f"{does} with one text and special tokens"),
        )
        if line
    ]


def _describe_count(split: Split, rows: np.ndarray, what: str, how: str, then: str) -> str:
    n = int(rows.sum())
    if not n:
        return ""
    verb, rest = then.split(" ", 1)
    return (
        f"1 {what} of {split.name} is {how} ({split.locate_rows(rows)}): it {verb}s {rest}"
        if n == 1
        else f"{n} {what}s of {split.name} are {how} ({split.locate_rows(rows)}): they {verb} {rest}"
    )


def _describe_numeric_texts(train: Split, column: Any, texts: List[Any]) -> List[str]:
    """Describe a column of numbers named as the texts: an id, a date or a label is easily taken for them."""
    if not all(isinstance(text, str) and re.fullmatch(r"\s*[-+]?[\d.,:/-]+\s*", text) for text in texts):
        return []
    return [
        f"column {column!r} holds a number in each of {train.size} row(s) of train, as {texts[0]!r}: is it that of "
        f"the texts? {train.format_argument('text', '...')} names it"
    ]


def _text_keys(examples: Examples) -> List[Tuple[Any, Any]]:
    texts = (
        examples.texts if not examples.texts or isinstance(examples.texts[0], str) else list(map(tuple, examples.texts))
    )
    return list(zip(texts, examples.pairs or repeat(None)))


def _describe_duplicates(valid: Split, examples: List[Examples]) -> List[str]:
    trained_on = set(_text_keys(examples[0]))
    duplicates = [row for row, key in enumerate(_text_keys(examples[1])) if key in trained_on]
    if not duplicates:
        return []
    are = "is" if len(duplicates) == 1 else "are"
    return [
        f"{len(duplicates)} of {valid.size} texts of valid {are} also in train: the score on valid counts what was "
        f"learned by heart; remove these rows from one of the two ({valid.locate_rows(duplicates)})"
    ]
