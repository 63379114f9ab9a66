"""fastai 1 item lists of encoded texts: ``predict``, ``show_batch`` and ``export`` use them."""

from typing import Any, List, Sequence

import numpy as np
from fastai.core import ItemBase, show_some
from fastai.data_block import ItemList, PreProcessor
from torch import Tensor

from fastai_hf_callback.data.batches.collate import TextCollator, to_object_array
from fastai_hf_callback.data.display import show_table, truncate
from fastai_hf_callback.data.encoding.encoder import EncodedText, TextEncoder

from .loaders import TextBunch

__all__ = ["TextItem", "TextList", "TextProcessor"]


class TextItem(ItemBase):
    """One encoded text; printed as the tokenizer reads it."""

    def __init__(self, row: EncodedText, encoder: TextEncoder, n_words: int = 0):
        self.data = self.obj = row
        self.encoder, self.n_words = encoder, n_words

    def __str__(self) -> str:
        return self.encoder.decode(self.data.input_ids)

    def __hash__(self) -> int:
        return hash(self.data.input_ids.tobytes())

    def apply_tfms(self, tfms: Any, **kwargs: Any) -> "TextItem":
        return self


class TextProcessor(TextCollator, PreProcessor):
    """The ``TextCollator`` where fastai 1 finds and exports it: among the item list's processors."""

    def process(self, ds: "TextList") -> None:
        rows = self.encode_texts(list(ds.items))
        self.set_tensor_names(rows)
        ds.items = to_object_array(rows)

    def process_one(self, item: Any) -> TextItem:
        """Encode one text (or pair, or list of words) to an item, for ``predict``."""
        return TextItem(self.encode_for_predict(item, "learn.predict({})"), self.encoder)


class TextList(ItemList):
    """Encoded texts."""

    _bunch = TextBunch

    def get(self, i: int) -> TextItem:
        return TextItem(self.items[i], self.encoder)

    def new(self, items: Any, processor: Any = None, **kwargs: Any) -> "TextList":
        """Make a list as fastai does; ``add_test`` and ``load_learner(test=...)`` may give a list or a DataFrame."""
        rows = (
            isinstance(items, np.ndarray)
            and items.dtype == object
            and (not len(items) or isinstance(items[0], EncodedText))
        )
        if not rows:
            items = to_object_array(self.collator.read_texts_to_predict(items, "data.add_test([{}, ...])"))
        return super().new(items, processor, **kwargs)

    def _relative_item_paths(self) -> List[str]:
        """Return the texts that ``to_df`` and ``to_csv`` write."""
        return [str(self[i]) for i in range(len(self.items))]

    @property
    def encoder(self) -> TextEncoder:
        return self.collator.encoder

    @property
    def collator(self) -> TextProcessor:
        """The collator that makes batches of these texts."""
        return self.processor[0] if isinstance(self.processor, (list, tuple)) else self.processor

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, special tokens included; int64, (rows,)."""
        return np.array([len(row.input_ids) for row in self.items], dtype=np.int64)

    def reconstruct(self, tensors: Sequence[Tensor]) -> TextItem:
        """Return the item behind one row of a batch, without its padding."""
        row, n_words = self.collator.recover_row(tensors, self.items)
        return TextItem(row, self.encoder, n_words)

    def show_xys(self, xs: Sequence[TextItem], ys: Sequence[Any], max_chars: int = 300, **kwargs: Any) -> None:
        """Show texts and targets, as ``show_batch`` asks."""
        show_table({"text": [truncate(str(x), max_chars) for x in xs], "target": ys})

    def show_xyzs(
        self, xs: Sequence[TextItem], ys: Sequence[Any], zs: Sequence[Any], max_chars: int = 300, **kwargs: Any
    ) -> None:
        """Show texts, targets and predictions, as ``show_results`` asks."""
        show_table({"text": [truncate(str(x), max_chars) for x in xs], "target": ys, "prediction": zs})

    def __repr__(self) -> str:
        shown = [truncate(str(self[i]), 100) for i in range(min(5, len(self.items)))]
        return f"{type(self).__name__} ({len(self.items)} items)\n{show_some(shown)}\nPath: {self.path}"
