"""Texts with a planted signal for each task, and the error of one who never reads them."""

import random
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import pandas as pd

__all__ = [
    "KINDS",
    "LONG_TEXT",
    "NEUTRAL",
    "WORDS",
    "constant_error",
    "kind_of",
    "label_columns",
    "make_table",
    "split_into_words",
]

KINDS = ("calm", "merry", "sad")
NEUTRAL = "so"
OWN_WORDS, NEUTRAL_WORDS = 6, 12
WORDS_BY_KIND = {kind: [f"{kind}{i}" for i in range(OWN_WORDS)] for kind in KINDS}
NEUTRALS = [f"{NEUTRAL}{i}" for i in range(NEUTRAL_WORDS)]
WORDS = [word for words in WORDS_BY_KIND.values() for word in words] + NEUTRALS
SHORTEST, LONGEST = 4, 10
LONG_TEXT = " ".join(NEUTRALS * 3)  # a batch mate next to which a short text is mostly padding

Row = Tuple[List[str], Any]


def make_table(task: str, rows: int, seed: int) -> pd.DataFrame:
    """Make texts of 4 to 10 words (labels: to 12) and their labels, in the columns that ``text_data`` reads."""
    draw = random.Random(seed)
    made = [ROW_BY_TASK[task](draw) for _ in range(rows)]
    words = [row[0] for row in made]
    labels = [row[1] for row in made]
    frame = pd.DataFrame({"text": words if task == "tokens" else [" ".join(text) for text in words]})
    if task == "labels":
        return frame.assign(**{kind: [label[i] for label in labels] for i, kind in enumerate(KINDS)})
    return frame.assign(label=labels)


def label_columns(task: str) -> Any:
    """Return what ``text_data`` is given as ``labels``."""
    return list(KINDS) if task == "labels" else "label"


def split_into_words(task: str, text: str) -> Any:
    """Return a text as this task's learner takes it."""
    return text.split() if task == "tokens" else text


def _one_class(draw: random.Random) -> Row:
    """Two words in three are of the text's own class."""
    kind = draw.choice(KINDS)
    words = [draw.choice(WORDS_BY_KIND[kind] if draw.random() < 0.67 else NEUTRALS) for _ in range(_length(draw))]
    return [draw.choice(WORDS_BY_KIND[kind]), *words], kind


def _several_labels(draw: random.Random) -> Row:
    """Each label is there in half of the texts, and then with two words of its own."""
    there = [int(draw.random() < 0.5) for _ in KINDS]
    words = [draw.choice(WORDS_BY_KIND[kind]) for kind, one in zip(KINDS, there) if one for _ in range(2)]
    words += [draw.choice(NEUTRALS) for _ in range(draw.randint(3, 6))]
    draw.shuffle(words)
    return words, there


def _a_number(draw: random.Random) -> Row:
    """The number is the share of merry words less that of sad ones, between 1 and 5."""
    merry = draw.random()
    words = [
        draw.choice(WORDS_BY_KIND["merry" if draw.random() < merry else "sad"] if draw.random() < 0.8 else NEUTRALS)
        for _ in range(_length(draw))
    ]
    shares = [sum(word.startswith(kind) for word in words) / len(words) for kind in ("merry", "sad")]
    return words, round(3 + 2 * (shares[0] - shares[1]), 4)


def _a_label_per_word(draw: random.Random) -> Row:
    words = [draw.choice(WORDS) for _ in range(_length(draw))]
    return words, [kind_of(word) for word in words]


def kind_of(word: str) -> str:
    """Return the kind that a word begins with."""
    return word.rstrip("0123456789")


def _length(draw: random.Random) -> int:
    return draw.randint(SHORTEST, LONGEST)


ROW_BY_TASK: Dict[str, Callable[[random.Random], Row]] = {
    "classes": _one_class,
    "labels": _several_labels,
    "number": _a_number,
    "tokens": _a_label_per_word,
}


def constant_error(task: str, frame: pd.DataFrame) -> float:
    """Return the least error of one answer for every text: wrong classes, labels or words, or the mean distance."""
    if task == "labels":
        shares = frame[list(KINDS)].to_numpy().mean(0)
        return float(np.minimum(shares, 1 - shares).mean())
    if task == "number":
        return float((frame.label - frame.label.median()).abs().mean())
    labels = frame.label.explode() if task == "tokens" else frame.label
    return 1 - float(labels.value_counts(normalize=True).max())
