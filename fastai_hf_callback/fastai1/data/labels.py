"""fastai 1 label lists of every task: the labels of ``predict``, the loss, and the names stored in an export."""

from typing import Any, List, Optional

import numpy as np
from fastai.core import ItemBase
from fastai.data_block import (
    CategoryList,
    CategoryListBase,
    CategoryProcessor,
    FloatList,
    ItemList,
    MultiCategoryList,
    PreProcessor,
)
from fastai.layers import FlattenedLoss
from torch import Tensor

from fastai_hf_callback.data.batches.collate import to_object_array
from fastai_hf_callback.data.batches.padding import IGNORE_INDEX
from fastai_hf_callback.data.batches.token_labels import CrossEntropyLoss, gather_word_labels, to_class_names

__all__ = ["build_label_list", "find_task"]


def build_label_list(targets: Any, task: str, names: List[str], path: Any) -> ItemList:
    """Build fastai's own label list for `task`, processed; it brings its loss, its ``predict`` and its classes.

    Parameters
    ----------
    targets, task, names
        As ``examples.read_examples`` gives them.
    path : path-like
        The ``DataBunch``'s.
    """
    if task == "single_label_classification":
        return CategoryList([names[target] for target in targets], classes=names, path=path)
    if task == "multi_label_classification":
        return MultiCategoryList(targets, classes=names, one_hot=True, path=path)
    if task == "token-classification":
        return WordLabelList(to_object_array(targets), classes=names, path=path)
    return RegressionList(targets, classes=names, path=path)


def find_task(labels: ItemList) -> Optional[str]:
    """Return the task of a list that ``build_label_list`` made; None for any other."""
    for task, kind in (
        ("single_label_classification", CategoryList),
        ("multi_label_classification", MultiCategoryList),
        ("token-classification", WordLabelList),
        ("regression", RegressionList),
    ):
        if isinstance(labels, kind):
            return task
    return None


class WordLabels(ItemBase):
    """A class for each word of a text."""

    def __init__(self, numbers: np.ndarray, names: List[str]):
        self.data, self.obj = numbers, names

    def __str__(self) -> str:
        return " ".join(self.obj)

    __repr__ = __str__

    def __hash__(self) -> int:
        return hash(str(self))


class RegressionProcessor(PreProcessor):
    """The processor that keeps the names of the columns of numbers."""

    def __init__(self, ds: Any):
        self.classes = ds.classes

    def process_one(self, item: Any) -> Any:
        return item

    def process(self, ds: "RegressionList") -> None:
        ds.classes, ds.c = self.classes, len(self.classes)


class RegressionList(FloatList):
    """Numbers to predict; ``classes`` are the names of their columns, ``c`` how many there are, also when loaded."""

    _processor = RegressionProcessor

    def __init__(self, items: Any, classes: Optional[List[str]] = None, **kwargs: Any):
        super().__init__(items, **kwargs)
        self.classes = classes
        self.copy_new.append("classes")


class WordLabelProcessor(CategoryProcessor):
    """The processor that keeps the classes; the labels are numbers already."""

    def process_one(self, item: Any) -> Any:
        return item

    def process(self, ds: "WordLabelList") -> None:
        ds.classes, ds.c2i = self.classes, self.c2i


class WordLabelList(CategoryListBase):
    """A label per word; the loss uses each word's first piece only (the others' targets are ``IGNORE_INDEX``)."""

    _processor = WordLabelProcessor

    def __init__(self, items: Any, classes: Optional[List[str]] = None, **kwargs: Any):
        super().__init__(items, classes=classes, **kwargs)
        self.loss_func = FlattenedLoss(CrossEntropyLoss, axis=-1, ignore_index=IGNORE_INDEX)

    def get(self, i: int) -> WordLabels:
        return self._to_word_labels(self.items[i])

    def analyze_pred(self, pred: Tensor) -> Tensor:
        return pred.argmax(-1)

    def reconstruct(self, t: Tensor, x: Any) -> WordLabels:
        """Return the words' labels from those of a padded row's pieces."""
        return self._to_word_labels(gather_word_labels(t.numpy(), x.data, x.n_words, x.encoder.padding_side))

    def _to_word_labels(self, numbers: np.ndarray) -> WordLabels:
        return WordLabels(numbers, to_class_names(numbers, self.classes))
