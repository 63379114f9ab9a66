"""Columns of answers -> the position of each in its context, or one line that says what is wrong with them.

Built on ``splits.py`` and ``columns.py``; ``qa_encoding.py`` turns characters into positions of tokens. Imports numpy.
"""

from collections.abc import Mapping
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from fastai_hf_callback.errors import InvalidInputError

from .columns import is_missing
from .splits import Split, format_names

__all__ = ["NO_ANSWER", "has_squad_answers", "read_answers"]

NO_ANSWER = (-1, -1)  # the question has none in its context


class Answer(NamedTuple):
    """One answer as the caller gave it; `begin` is None where its position was not given."""

    text: str
    begin: Optional[int]


def has_squad_answers(column: Any) -> bool:
    """Return whether the first value not missing is SQuAD's: ``{"text": [...], "answer_start": [...]}``."""
    return _is_squad_answer(
        next((value for value in column if isinstance(value, Mapping) or not is_missing(value)), None)
    )


def read_answers(split: Split, contexts: Sequence[str], labels: Sequence[Any]) -> Tuple[np.ndarray, List[str]]:
    """Return where in their contexts the answers of a split are.

    Parameters
    ----------
    split : Split
    contexts : sequence of str
    labels : sequence
        One column of answers, as text or as SQuAD has them (of several for one question the first counts); or two
        columns, of the text and of the position of its first character. An empty text means: no answer in the context.

    Returns
    -------
    ndarray of int64, (rows, 2)
        The first character, and the one after the last; ``NO_ANSWER`` where there is none.
    list of str
        What the user should be told.

    Raises
    ------
    InvalidInputError
        When an answer is not in its context word for word, or not at the position given.
    """
    answers = _read_answer_columns(split, labels)
    char_spans = np.array(
        [_locate_answer(answer, context) for answer, context in zip(answers, contexts)], dtype=np.int64
    )
    _check_answers_found(split, labels, answers, contexts, char_spans)
    several = [
        row
        for row, (answer, context) in enumerate(zip(answers, contexts))
        if answer.text and answer.begin is None and context.count(answer.text) > 1
    ]
    messages = (
        [
            f"{len(several)} answer(s) of {split.name} stand in their context more than once "
            f"({split.locate_rows(several)}): the first place is taken; two columns, labels=[answer, its first "
            f"character], say which"
        ]
        if several
        else []
    )
    return char_spans.reshape(-1, 2), messages


def _is_squad_answer(value: Any) -> bool:
    return isinstance(value, Mapping) and "text" in value and "answer_start" in value


# -- what was given --------------------------------------------------------------------------------


def _read_answer_columns(split: Split, labels: Sequence[Any]) -> List[Answer]:
    if len(labels) > 2:
        raise InvalidInputError(
            f"task='question-answering': {len(labels)} label columns were given, {format_names(labels)}; expected one, "
            f"of answers, or two, of answers and of the place of their first character"
        )
    values = [split.column(label).tolist() for label in labels]
    return [_parse_answer(split, labels, row, given) for row, given in enumerate(zip(*values))]


def _parse_answer(split: Split, labels: Sequence[Any], row: int, given: Tuple[Any, ...]) -> Answer:
    text, begin = given[0], given[1] if len(given) > 1 else None
    if _is_squad_answer(text):
        texts, begins = list(text["text"]), list(text["answer_start"])
        text, begin = (texts[0], begins[0] if begins else None) if texts else ("", None)
    if text is None or not isinstance(text, str) and is_missing(text):
        text = ""
    if isinstance(text, (int, np.integer)) and split.file is not None:
        text = str(text)  # a file whose answers are years, read as numbers
    if not isinstance(text, str):
        raise InvalidInputError(
            f"label column {labels[0]!r} of {split.name} holds {type(text).__name__}, "
            f"{split.locate_rows([row])}; expected the answer as it stands in the context, a str, or "
            f"{{'text': [...], 'answer_start': [...]}}"
        )
    return _strip_answer(
        text, None if len(given) == 1 and begin is None else _parse_start(split, labels, row, begin, text)
    )


def _parse_start(split: Split, labels: Sequence[Any], row: int, begin: Any, text: str) -> Optional[int]:
    if not text.strip():
        return None
    try:
        number = float(begin)
    except (TypeError, ValueError):
        number = float("nan")
    if number != int(number) if number == number else True:
        raise InvalidInputError(
            f"label column {labels[-1]!r} of {split.name} holds {begin!r} for the place of an answer's "
            f"first character, {split.locate_rows([row])}; expected a whole number of at least 0"
        )
    return int(number)


def _strip_answer(text: str, begin: Optional[int]) -> Answer:
    """Strip the space around an answer, which belongs to no token."""
    return Answer(text.strip(), begin if begin is None else begin + len(text) - len(text.lstrip()))


# -- where it stands -------------------------------------------------------------------------------


def _locate_answer(answer: Answer, context: str) -> Tuple[int, int]:
    """Return the answer's position; `NO_ANSWER` also where it is not there."""
    if not answer.text:
        return NO_ANSWER
    begin = context.find(answer.text) if answer.begin is None else answer.begin
    end = begin + len(answer.text)
    return (begin, end) if begin >= 0 and context[begin:end] == answer.text else NO_ANSWER


def _check_answers_found(
    split: Split, labels: Sequence[Any], answers: List[Answer], contexts: Sequence[str], char_spans: np.ndarray
) -> None:
    lost = [row for row, answer in enumerate(answers) if answer.text and char_spans[row][0] < 0]
    if not lost:
        return
    first, context = answers[lost[0]], contexts[lost[0]]
    if first.begin is None or first.text not in context:
        raise InvalidInputError(
            f"{len(lost)} of {split.size} answer(s) of {split.name} do not stand in their context word "
            f"for word, {split.locate_rows(lost)} (the first: {first.text!r}); expected a part of the context "
            f"each, or an empty text where it holds none: correct them, or leave these rows out"
        )
    raise InvalidInputError(
        f"{len(lost)} of {split.size} answer(s) of {split.name} do not stand where {labels[-1]!r} says, "
        f"{split.locate_rows(lost)} (the first: {first.text!r} at {first.begin}, where "
        f"{context[first.begin : first.begin + len(first.text)]!r} stands); expected the place of the "
        f"first character, counted from 0: correct them, or give the answers' column alone"
    )
