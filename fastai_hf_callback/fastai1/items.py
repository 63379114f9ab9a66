"""fastai 1 item lists of texts and of their labels; what ``predict``, ``show_batch`` and ``export`` go through."""
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from fastai.core import ItemBase, show_some
from fastai.data_block import (
    CategoryList,
    CategoryListBase,
    CategoryProcessor,
    FloatList,
    ItemList,
    MultiCategoryList,
    PreProcessor,
)
from fastai.layers import CrossEntropyFlat
from torch import Tensor

from ..batching import IGNORED, Padding, first_pieces
from ..errors import UnusableInput
from ..text import Encoded, TextEncoder
from .bunch import TextBunch, as_objects
from .showing import show_table

__all__ = ["TextItem", "TextList", "TextProcessor", "WordLabelList", "label_list"]

class TextItem(ItemBase):
    """One encoded text; printed as the tokenizer reads it."""

    def __init__(self, row: Encoded, encoder: TextEncoder):
        self.data = self.obj = row
        self.encoder = encoder

    def __str__(self) -> str:
        return self.encoder.decode(self.data.ids)

    def __hash__(self) -> int:
        return hash(self.data.ids.tobytes())

    def apply_tfms(self, tfms: Any, **kwargs: Any) -> "TextItem":
        return self


class TextProcessor(PreProcessor):
    """Texts -> ``Encoded`` rows, once and in bulk. What a batch needs to be made is kept here, for here it is exported.

    Parameters
    ----------
    encoder : TextEncoder
    paired : bool
        Whether each text has a second one.
    words : bool
        Whether texts are lists of words, for a label per word.
    progress : callable, optional
        Wrapped around long work, ``progress(iterable, total)``.
    """

    def __init__(self, encoder: TextEncoder, paired: bool = False, words: bool = False, progress: Any = None):
        self.encoder, self.paired, self.words, self.progress = encoder, paired, words, progress
        self.names: Tuple[str, ...] = ()
        self.predicted: Optional[Encoded] = None  # the last row that `predict` was asked for

    @property
    def padding(self) -> Padding:
        return Padding(self.encoder.pad_id, self.encoder.pad_type_id, self.encoder.pad_side)

    def process(self, ds: "TextList") -> None:
        rows = self._encoded(list(ds.items))
        if not self.names:
            types = ("token_type_ids",) if any(row.types is not None for row in rows) else ()
            self.names = ("input_ids", *types, "attention_mask")
        ds.items = as_objects(rows)

    def process_one(self, item: Any) -> TextItem:
        """The item of one text (or pair, or list of words), for ``predict``."""
        if self.paired and not (isinstance(item, (tuple, list)) and len(item) == 2):
            raise UnusableInput(f"{item!r} was given; expected a pair of texts, as these data have: "
                                f"learn.predict((first, second))")
        if self.words and isinstance(item, str):
            item = item.split()
        if self.words and not len(item):
            raise UnusableInput("No word was given; expected a text, or a list of words: learn.predict('some text')")
        self.predicted = self._encoded([tuple(item) if self.paired else item])[0]
        return TextItem(self.predicted, self.encoder)

    def _encoded(self, items: Sequence[Any]) -> List[Encoded]:
        if not items or isinstance(items[0], Encoded):
            return list(items)
        texts, pairs = zip(*items) if self.paired else (items, None)
        return self.encoder.encode(list(texts), pairs and list(pairs), progress=self.progress)

    def __getstate__(self) -> Dict[str, Any]:
        return {**vars(self), "progress": None, "predicted": None}  # neither belongs into a file


class TextList(ItemList):
    """Encoded texts."""

    _bunch = TextBunch

    def get(self, i: int) -> TextItem:
        return TextItem(self.items[i], self.encoder)

    @property
    def encoder(self) -> TextEncoder:
        return self.feeding.encoder

    @property
    def feeding(self) -> TextProcessor:
        """How these texts become batches."""
        return self.processor[0] if isinstance(self.processor, (list, tuple)) else self.processor

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, special tokens included; int64, (rows,)."""
        return np.array([len(row.ids) for row in self.items], dtype=np.int64)

    def reconstruct(self, tensors: Sequence[Tensor]) -> TextItem:
        """The item behind one row of a batch: its padding taken away."""
        named = dict(zip(self.feeding.names, tensors))
        real = named["attention_mask"] > 0
        ids = named["input_ids"][real].numpy().astype(np.int32)
        types = named["token_type_ids"][real].numpy().astype(np.int32) if "token_type_ids" in named else None
        return TextItem(Encoded(ids, types, self._words_of(ids)), self.encoder)

    def _words_of(self, ids: np.ndarray) -> Optional[np.ndarray]:
        """Which piece belongs to which word: no tensor of the batch says it, so the row is looked up."""
        if not self.feeding.words:
            return None
        rows = (row for row in [self.feeding.predicted, *self.items] if row is not None)
        return next((row.words for row in rows if np.array_equal(row.ids, ids)), None)

    def show_xys(self, xs: Sequence[TextItem], ys: Sequence[Any], max_chars: int = 300, **kwargs: Any) -> None:
        """Show texts and targets, as ``show_batch`` asks."""
        show_table({"text": [_cut(x, max_chars) for x in xs], "target": ys})

    def show_xyzs(self, xs: Sequence[TextItem], ys: Sequence[Any], zs: Sequence[Any], max_chars: int = 300,
                  **kwargs: Any) -> None:
        """Show texts, targets and predictions, as ``show_results`` asks."""
        show_table({"text": [_cut(x, max_chars) for x in xs], "target": ys, "prediction": zs})

    def __repr__(self) -> str:
        shown = [_cut(self[i], 100) for i in range(min(5, len(self.items)))]
        return f"{type(self).__name__} ({len(self.items)} items)\n{show_some(shown)}\nPath: {self.path}"


def _cut(item: TextItem, max_chars: int) -> str:
    text = str(item)
    return text if len(text) <= max_chars else text[:max_chars] + " ..."


# -- labels ----------------------------------------------------------------------------------------


def label_list(targets: Any, task: str, names: List[str], path: Any) -> ItemList:
    """fastai's own label list for `task`, processed: its loss, its ``predict`` and its classes come with it.

    Parameters
    ----------
    targets, task, names
        As ``examples.read_examples`` gives them.
    path : path-like
        The ``DataBunch``'s.
    """
    if task == "single":
        return CategoryList([names[target] for target in targets], classes=names, path=path)
    if task == "several":
        return MultiCategoryList(targets, classes=names, one_hot=True, path=path)
    if task == "tokens":
        return WordLabelList(as_objects(targets), classes=names, path=path)
    return FloatList(targets, path=path)


class WordLabels(ItemBase):
    """A class for each word of a text."""

    def __init__(self, numbers: np.ndarray, names: List[str]):
        self.data, self.obj = numbers, names

    def __str__(self) -> str:
        return " ".join(self.obj)

    __repr__ = __str__

    def __hash__(self) -> int:
        return hash(str(self))


class WordLabelProcessor(CategoryProcessor):
    """Keeps the classes; the labels are numbers already."""

    def process_one(self, item: Any) -> Any:
        return item

    def process(self, ds: "WordLabelList") -> None:
        ds.classes, ds.c2i = self.classes, self.c2i


class WordLabelList(CategoryListBase):
    """A label per word; the loss looks at each word's first piece alone (the others' targets are ``IGNORED``)."""

    _processor = WordLabelProcessor

    def __init__(self, items: Any, classes: Optional[List[str]] = None, **kwargs: Any):
        super().__init__(items, classes=classes, **kwargs)
        self.loss_func = CrossEntropyFlat(ignore_index=IGNORED)

    def get(self, i: int) -> WordLabels:
        return self._named(self.items[i])

    def analyze_pred(self, pred: Tensor) -> Tensor:
        return pred.argmax(-1)

    def reconstruct(self, t: Tensor, x: TextItem) -> WordLabels:
        """The words' labels from those of a padded row's pieces."""
        pieces, length = t.numpy(), len(x.data.ids)
        real = pieces[-length:] if x.encoder.pad_side == "left" else pieces[:length]
        first = first_pieces(x.data) if x.data.words is not None else np.arange(length)
        return self._named(np.array([piece for piece in real[first] if piece != IGNORED], dtype=np.int64))

    def _named(self, numbers: np.ndarray) -> WordLabels:
        return WordLabels(numbers, [self.classes[number] for number in numbers])
