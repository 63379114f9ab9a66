"""Made-up texts with every kind of label, and tiny tokenizers for them. Imports no fastai."""

import os
import random
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.tiny_models import VOCAB

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ANIMALS = ["fox", "owl", "wren", "toad", "newt"]
PLANTS = ["oak", "fern", "moss", "ivy", "elm"]
OTHERS = ["the", "a", "and", "near", "under", "sees", "hides", "old", "red", "two", "small", "here", "often", "."]
VOCABULARY = [*SPECIAL, *ANIMALS, *PLANTS, *OTHERS, "##s", "##y"]
VOCABULARY += [f"[spare{n}]" for n in range(VOCAB - len(VOCABULARY))]
COLUMNS = ("animal", "plant", "plural")


def write_vocabulary(folder):
    """Write `folder`/vocab.txt for a BERT tokenizer; atomically, for processes that share a folder."""
    path, own = Path(folder) / "vocab.txt", Path(folder) / f"vocab-{os.getpid()}.txt"
    own.write_text("\n".join(VOCABULARY), encoding="utf-8")
    os.replace(str(own), str(path))
    return str(path)


def slow_tokenizer(folder):
    """Make pytorch-transformers' BertTokenizer with `VOCAB` ids."""
    return pytest.importorskip("pytorch_transformers").BertTokenizer(write_vocabulary(folder))


def fast_tokenizer(folder):
    """Make transformers' BertTokenizerFast with the same ids."""
    return pytest.importorskip("transformers").BertTokenizerFast(write_vocabulary(folder))


def frame(rows=60, seed=0, longest=14):
    """Make a DataFrame with a column for each task."""
    pandas = pytest.importorskip("pandas")
    draw = random.Random(seed)
    every = [word + ending for word in ANIMALS + PLANTS + OTHERS for ending in ("", "", "s")]
    texts = [[draw.choice(every) for _ in range(draw.randint(2, longest))] for _ in range(rows)]
    tags = [[tag_of(word) for word in words] for words in texts]
    return pandas.DataFrame(
        {
            "text": [" ".join(words) for words in texts],
            "second": [" ".join(words[::-1][:6]) for words in texts],
            "kind": [max(("animal", "plant", "other"), key=of.count) for of in tags],
            "animal": [int("animal" in of) for of in tags],
            "plant": [int("plant" in of) for of in tags],
            "plural": [int(any(word.endswith("s") for word in words)) for words in texts],
            "share": [of.count("animal") / len(of) for of in tags],
            "words": texts,
            "tags": tags,
            "asked": [words[len(words) // 2] for words in texts],
            "answers": [answer_in(words) for words in texts],
        }
    )


class Column(Sequence):
    """A column of a dataset that is no list, as those of datasets 5."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, at):
        return Column(self.rows[at]) if isinstance(at, slice) else self.rows[at]


def all_like(rows):
    """Return `rows` in everything that is like a list."""
    pandas = pytest.importorskip("pandas")
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return [tuple(rows), array, pandas.Series(rows, index=range(5, 5 + len(rows))), Column(rows), deque(rows)]


def answer_in(words):
    """Return the word in the middle as SQuAD writes an answer."""
    middle = len(words) // 2
    return {"text": [words[middle]], "answer_start": [len(" ".join(words[:middle])) + 1]}


def tag_of(word):
    return "animal" if word.rstrip("s") in ANIMALS else "plant" if word.rstrip("s") in PLANTS else "other"
