"""fastai 1 item lists of encoded texts: what ``predict``, ``show_batch`` and ``export`` go through."""
from textwrap import shorten
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from fastai.core import ItemBase, show_some
from fastai.data_block import ItemList, PreProcessor
from torch import Tensor

from ..batching import Padding
from ..errors import UnusableInput
from ..text import Encoded, TextEncoder
from .bunch import TextBunch, as_objects
from .showing import show_table

__all__ = ["TextItem", "TextList", "TextProcessor"]

class TextItem(ItemBase):
    """One encoded text; printed as the tokenizer reads it."""

    def __init__(self, row: Encoded, encoder: TextEncoder, n_words: int = 0):
        self.data = self.obj = row
        self.encoder, self.n_words = encoder, n_words

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
    columns : sequence of str
        Where a DataFrame has the texts, and the second ones.
    """

    def __init__(self, encoder: TextEncoder, paired: bool = False, words: bool = False, progress: Any = None,
                 columns: Sequence[str] = ("text",)):
        self.encoder, self.paired, self.words, self.progress = encoder, paired, words, progress
        self.columns = tuple(columns)
        self.names: Tuple[str, ...] = ()
        self.predicted: Optional[Tuple[Encoded, int]] = None  # the last row that `predict` was asked for, and its words

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
        if self.words and isinstance(item, str):
            item = item.split()
        self._check_item(item, "learn.predict({})")
        row = self._encoded([tuple(item) if self.paired else item])[0]
        self.predicted = (row, len(item)) if self.words else None
        return TextItem(row, self.encoder)

    def texts_of(self, items: Any) -> List[Any]:
        """What ``add_test`` was given, as a list of texts (or pairs, or lists of words)."""
        if hasattr(items, "columns") and getattr(items, "ndim", 0) == 2:
            items = self._of_frame(items)
        if isinstance(items, (str, bytes, dict)) or not hasattr(items, "__iter__"):
            raise UnusableInput(f"{shorten(repr(items), 60)} was given; expected a list of texts, or a DataFrame with "
                                f"the column {self.columns[0]!r}: data.add_test([text, ...])")
        items = list(items)
        if not items:
            raise UnusableInput("No text was given; expected at least one: data.add_test([text, ...])")
        for item in items:
            self._check_item(item, "data.add_test([{}, ...])")
        return [tuple(item) if self.paired else item for item in items]

    def _of_frame(self, frame: Any) -> List[Any]:
        missing = [column for column in self.columns if column not in frame.columns]
        if missing:
            raise UnusableInput(f"A DataFrame with the columns {', '.join(map(repr, frame.columns))} was given; "
                                f"expected {', '.join(map(repr, self.columns))}, as in training")
        columns = [frame[column].tolist() for column in self.columns]
        return list(zip(*columns)) if self.paired else columns[0]

    def _check_item(self, item: Any, write: str) -> None:
        given = f"{shorten(repr(item), 60)} ({type(item).__name__}) was given"
        if self.paired:
            if not (isinstance(item, (tuple, list)) and len(item) == 2 and all(isinstance(one, str) for one in item)):
                raise UnusableInput(f"{given}; expected a pair of texts, as these data have: "
                                    f"{write.format('(first, second)')}")
        elif self.words:
            if isinstance(item, str) or not hasattr(item, "__len__") or not len(item) or \
                    not all(isinstance(word, str) for word in item):
                raise UnusableInput(f"{given}; expected a list of words: {write.format('some text'.split())}")
        elif not isinstance(item, str):
            raise UnusableInput(f"{given}; expected a text: {write.format(repr('some text'))}")

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

    def new(self, items: Any, processor: Any = None, **kwargs: Any) -> "TextList":
        """As fastai's; texts to add, for ``add_test`` and ``load_learner(test=...)``, may be a list or a DataFrame."""
        rows = isinstance(items, np.ndarray) and items.dtype == object and (not len(items) or isinstance(
            items[0], Encoded))
        return super().new(items if rows else as_objects(self.feeding.texts_of(items)), processor, **kwargs)

    def _relative_item_paths(self) -> List[str]:
        """What ``to_df`` and ``to_csv`` write."""
        return [str(self[i]) for i in range(len(self.items))]

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
        words, n_words = self._words_of(ids)
        return TextItem(Encoded(ids, types, words), self.encoder, n_words)

    def _words_of(self, ids: np.ndarray) -> Tuple[Optional[np.ndarray], int]:
        """Which piece belongs to which word, and of how many: no tensor says it, so the row is looked up."""
        if not self.feeding.words:
            return None, 0
        predicted = [] if self.feeding.predicted is None else [self.feeding.predicted]
        rows = ((row, int(row.words.max(initial=-1)) + 1) for row in self.items)
        return next(((row.words, n) for row, n in (*predicted, *rows) if np.array_equal(row.ids, ids)), (None, 0))

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
