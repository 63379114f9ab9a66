"""The meaning of every task's targets on fastai 2: the loss, the classes, and a label in words."""

from typing import Any, List, Sequence

import numpy as np
from fastai.data.transforms import CategoryMap
from fastai.losses import BaseLoss, BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat

from fastai_hf_callback.data.batches.collate import TextCollator
from fastai_hf_callback.data.batches.padding import IGNORE_INDEX
from fastai_hf_callback.data.batches.qa_encoding import QACollator
from fastai_hf_callback.data.batches.token_labels import CrossEntropyLoss, gather_word_labels, to_class_names
from fastai_hf_callback.data.encoding.encoder import EncodedText
from fastai_hf_callback.model.losses import SpanLoss

__all__ = ["TaskLabels", "WordLabels", "WordLossFlat"]


class WordLabels(list):
    """The class of each word of a text; printed in the order of the words."""

    def __str__(self) -> str:
        return " ".join(self)


class WordLossFlat(CrossEntropyLossFlat):
    """fastai's loss for a label per word, at words' first pieces only; 0 for a batch without words."""

    def __init__(self) -> None:
        BaseLoss.__init__(self, CrossEntropyLoss, axis=-1, ignore_index=IGNORE_INDEX)


LOSS_BY_TASK = {
    "single_label_classification": CrossEntropyLossFlat,
    "multi_label_classification": BCEWithLogitsLossFlat,
    "regression": MSELossFlat,
    "token-classification": WordLossFlat,
    "question-answering": SpanLoss,
}


class TaskLabels:
    """A task and its names.

    Parameters
    ----------
    task : str
        One of ``examples.TASKS``.
    names : list of str
        The classes in the order of their numbers; the label columns for ``"multi_label_classification"`` and
        ``"regression"``; what the two outputs say for ``"question-answering"``.
    """

    def __init__(self, task: str, names: List[str]):
        self.task, self.names = task, list(names)
        self.loss_func = LOSS_BY_TASK[task]()

    @property
    def vocab(self) -> CategoryMap:
        # A plain list would be taken for one vocabulary per input by ClassificationInterpretation.
        return CategoryMap(self.names, sort=False)

    def decode_target(self, numbers: np.ndarray, row: EncodedText, n_words: int, collator: TextCollator) -> Any:
        """Return the label that one row's decoded prediction, or its target, stands for.

        Parameters
        ----------
        numbers : ndarray
            A class, a 0 or 1 for each label, numbers, a class for each piece, or an answer's first and last token.
        row, n_words
            The text, as ``TextCollator.recover_row`` gives it.
        collator : TextCollator
        """
        if self.task == "single_label_classification":
            return self.names[int(numbers)]
        if self.task == "multi_label_classification":
            return [name for name, there in zip(self.names, _flatten(numbers)) if there]
        if isinstance(collator, QACollator):
            return collator.decode_answer(row, _flatten(numbers))
        if self.task == "regression":
            values = [float(value) for value in _flatten(numbers)]
            return values[0] if len(self.names) == 1 else values
        return WordLabels(to_class_names(gather_word_labels(numbers, row, n_words, collator.padding.side), self.names))


def _flatten(numbers: np.ndarray) -> Sequence[Any]:
    return np.asarray(numbers).reshape(-1).tolist()
