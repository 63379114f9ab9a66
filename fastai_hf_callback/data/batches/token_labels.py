"""One label per word: the loss, and words' labels from those of their pieces. Imports torch."""

from typing import Any, Iterable, List, Sequence, Tuple

import numpy as np
from torch import Tensor, nn

from fastai_hf_callback.data.encoding.tokenization import EncodedText

from .padding import IGNORE_INDEX

__all__ = ["CrossEntropyLoss", "gather_word_labels", "to_class_names", "count_correct_words"]

NO_LABEL = "-"  # shown for a word of which the model saw no piece


class CrossEntropyLoss(nn.CrossEntropyLoss):
    """Cross entropy that is 0 for a batch without words, where torch's mean of nothing is NaN and would ruin training.

    fastai 1 finds the activation of predictions (softmax) by this name.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if self.reduction == "mean" and not bool((target != self.ignore_index).any()):
            return input.sum() * 0
        return super().forward(input, target)


def gather_word_labels(pieces: np.ndarray, row: EncodedText, n_words: int, side: str) -> np.ndarray:
    """Return the class of each word of a row, ``IGNORE_INDEX`` for those of which the model saw no piece.

    Parameters
    ----------
    pieces : ndarray of int, (width,)
        The class of each position of the padded row.
    row : EncodedText
        Without padding. Where it has no ``word_ids``, `pieces` are targets, and all labelled ones are words.
    n_words : int
    side : str
        On which the row was padded.
    """
    length = len(row.input_ids)
    real = pieces[len(pieces) - length :] if side == "left" else pieces[:length]
    if row.word_ids is None:
        return real[real != IGNORE_INDEX]
    first = find_first_subwords(row.word_ids)
    word_labels = np.full(n_words, IGNORE_INDEX, dtype=np.int64)
    word_labels[row.word_ids[first]] = real[first]
    return word_labels


def to_class_names(numbers: Iterable[int], classes: Sequence[str]) -> List[str]:
    """Return the class names of words."""
    return [NO_LABEL if number == IGNORE_INDEX else classes[number] for number in numbers]


def count_correct_words(outputs: Tensor, targets: Tensor, ahead: int = 0) -> Tuple[int, int]:
    """Count the words of a batch that are labelled right, and all its words.

    Parameters
    ----------
    outputs : Tensor, float, (rows, width, classes)
    targets : Tensor, int64, (rows, width)
        ``IGNORE_INDEX`` where there is no word.
    ahead : int
        How many positions after the output its target is.
    """
    if ahead:
        outputs, targets = outputs[:, :-ahead], targets[:, ahead:]
    word = targets != IGNORE_INDEX
    return int((outputs.argmax(-1) == targets)[word].sum()), int(word.sum())


def find_first_subwords(word_ids: np.ndarray) -> np.ndarray:
    """Find the position of the first piece of each word of an encoded row, int64."""
    before = np.concatenate([[-1], word_ids[:-1]])
    return np.flatnonzero((word_ids >= 0) & (word_ids != before))


def align_labels_with_tokens(row: EncodedText, labels: Any) -> np.ndarray:
    """Return each piece's target: its word's class at the first, ``IGNORE_INDEX`` elsewhere; int64, (pieces,)."""
    targets = np.full(len(row.input_ids), IGNORE_INDEX, dtype=np.int64)
    assert row.word_ids is not None, "only rows of words have labels of words"
    first = find_first_subwords(row.word_ids)
    # Rows of a test set, and of `predict`, have no labels: 0 then, so that the positions of words are still known.
    targets[first] = labels[row.word_ids[first]] if isinstance(labels, np.ndarray) else 0
    return targets
