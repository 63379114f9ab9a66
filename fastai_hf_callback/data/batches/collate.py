"""The collator that turns texts into the tensors of a batch, and the checks of texts to predict; for both fastais.

Built on ``encoder.py`` and ``padding.py``. ``fastai1`` and ``fastai2`` only store the rows and ask for batches.
"""

import os
import warnings
from textwrap import shorten
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.data.encoding.pair_types import suggest_token_types
from fastai_hf_callback.data.encoding.special_token_scan import (
    find_rows_with_special_tokens,
    find_texts_with_special_tokens,
)
from fastai_hf_callback.data.encoding.tokenization import EncodedText
from fastai_hf_callback.data.tables.columns import is_blank
from fastai_hf_callback.data.tables.splits import format_names
from fastai_hf_callback.data.tables.table import CsvFile, read_frame, suggest_rename
from fastai_hf_callback.errors import InvalidInputError

from .padding import IGNORE_INDEX, Padding, build_attention_mask, pad_rows
from .token_labels import align_labels_with_tokens
from .trial_batches import MarkedRows

__all__ = ["TextCollator", "to_object_array"]


class TextCollator:
    """Texts -> ``EncodedText`` rows, once and in bulk, and rows -> tensors. An export needs this, and no texts.

    Parameters
    ----------
    encoder : TextEncoder
    paired : bool
        Whether each text has a second one.
    is_split_into_words : bool
        Whether texts are lists of words, for a label per word.
    progress : callable, optional
        Wraps the chunks of long work: ``progress(iterable, total)``.
    columns : sequence of str
        Where a DataFrame has the texts, and the second ones.

    Attributes
    ----------
    names : tuple of str
        Of a batch's tensors, once ``set_tensor_names`` has seen the first rows.

    Raises
    ------
    InvalidInputError
        When the tokenizer has no padding token.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        paired: bool = False,
        is_split_into_words: bool = False,
        progress: Any = None,
        columns: Sequence[str] = ("text",),
    ):
        self.encoder, self.paired, self.is_split_into_words, self.progress = (
            encoder,
            paired,
            is_split_into_words,
            progress,
        )
        self.columns = tuple(columns)
        self.marked_rows: Optional[MarkedRows] = None  # set where a text holds a special token's string
        self.pad_token_id = encoder.check_padding_token()
        self.names: Tuple[str, ...] = ()
        self.predicted: Optional[Tuple[EncodedText, int]] = (
            None  # the last row that `predict` was asked for, and its words
        )

    @property
    def padding(self) -> Padding:
        return Padding(self.pad_token_id, self.encoder.pad_token_type_id, self.encoder.padding_side)

    @property
    def predicts_per_token(self) -> bool:
        """Whether a model of these tasks gives something for each token, so that batches are to be of one width where
        predictions are put together."""
        return self.is_split_into_words

    @property
    def untyped_pairs(self) -> str:
        """What gives pairs token types; empty for single texts, and for pairs that have them."""
        is_untyped = self.paired and "token_type_ids" not in self.names
        return suggest_token_types(self.encoder.tokenizer) if is_untyped else ""

    # -- texts -> rows -----------------------------------------------------------------------------

    def encode_texts(self, items: Sequence[Any]) -> List[EncodedText]:
        """Encode texts, or (text, second text) pairs; rows that are encoded already are returned as they are."""
        if not items or isinstance(items[0], EncodedText):
            return list(items)
        texts, pairs = zip(*items) if self.paired else (items, None)
        return self.encoder.encode(list(texts), pairs and list(pairs), progress=self.progress)

    def encode_blank(self) -> EncodedText:
        """Encode a text, or pair, without words: what the tokenizer adds, and nothing else."""
        item: Any = ("", "") if self.paired else [""] if self.is_split_into_words else ""
        return self.encode_texts([item])[0]

    def set_tensor_names(self, rows: Sequence[EncodedText]) -> None:
        """Set ``names``; token types are among the tensors if any of these rows, the first ones, has them."""
        if not self.names:
            types = ("token_type_ids",) if any(row.token_type_ids is not None for row in rows) else ()
            self.names = ("input_ids", *types, "attention_mask")

    def encode_for_predict(self, item: Any, example_call: str) -> EncodedText:
        """Encode one text (or pair, or list of words, or the words as one str) to a row."""
        if self.is_split_into_words and isinstance(item, str):
            item = item.split()
        self.check_item(item, example_call)
        self._warn_of_special_tokens([item])
        row = self.encode_texts([tuple(item) if self.paired else item])[0]
        self.predicted = (row, len(item)) if self.is_split_into_words else None
        return row

    def read_texts_to_predict(self, items: Any, example_call: str) -> List[Any]:
        """Return what is to be predicted, a list or a DataFrame, as a list of texts (or pairs, or lists of words).

        Parameters
        ----------
        items : sequence (a list, an array, a column of a dataset), DataFrame, Dataset or path of a CSV file
        example_call : str
            The call that an error names, such as ``"data.add_test([{}, ...])"``.
        """
        items = items.to_pandas() if hasattr(items, "to_pandas") else items
        if _is_csv(items):
            items = self._texts_from_frame(read_frame(CsvFile(items)), str(items))
        if hasattr(items, "columns") and getattr(items, "ndim", 0) == 2:
            items = self._texts_from_frame(items)
        if isinstance(items, (str, bytes, dict)) or not hasattr(items, "__iter__"):
            raise InvalidInputError(
                f"{shorten(repr(items), 60)} was given; expected a list of texts, or a DataFrame or "
                f"CSV file with the column {self.columns[0]!r}: {example_call.format('text')}"
            )
        items = list(items)
        if not items:
            raise InvalidInputError(f"No text was given; expected at least one: {example_call.format('text')}")
        for item in items:
            self.check_item(item, example_call)
        self._warn_of_blanks(items)
        self._warn_of_special_tokens(items)
        return [tuple(item) if self.paired else item for item in items]

    def _warn_of_blanks(self, items: List[Any]) -> None:
        blank = [at for at, item in enumerate(items) if all(map(is_blank, item if self.paired else [item]))]
        if blank:
            warnings.warn(
                f"{len(blank)} of {len(items)} texts to predict are blank, at {format_names(blank)} (counted from "
                f"0): they are predicted from special tokens alone; fill them, or leave them out and predict "
                f"nothing",
                stacklevel=3,
            )

    def _warn_of_special_tokens(self, items: List[Any]) -> None:
        held = find_texts_with_special_tokens(self.encoder, items)
        if not held:
            return
        texts = [tuple(items[at]) if self.paired else items[at] for at in held]
        found = find_rows_with_special_tokens(self.encoder, self.encode_texts(texts), self.encode_blank(), texts)
        marked = sorted({held[row] for rows in found.values() for row in rows.tolist()})
        if marked:
            warnings.warn(
                f"{len(marked)} of {len(items)} texts to predict hold {format_names(list(found))}, at "
                f"{format_names(marked)} (counted from 0): the tokenizer reads that as its own mark, not as words; to "
                f"take it out, write text.replace({next(iter(found))!r}, ' ')",
                stacklevel=4,
            )

    def _texts_from_frame(self, frame: Any, path: str = "") -> List[Any]:
        missing = [column for column in self.columns if column not in frame.columns]
        if missing:
            frame_expression = f"pd.read_csv({path!r})" if path else "frame"
            raise InvalidInputError(
                f"{path or 'A DataFrame'} with the columns {', '.join(map(repr, frame.columns))} was "
                f"given; expected {', '.join(map(repr, self.columns))}, as in training; write "
                f"{suggest_rename(frame_expression, list(frame.columns), missing[0])}"
            )
        columns = [frame[column].tolist() for column in self.columns]
        return list(zip(*columns)) if self.paired else columns[0]

    def check_item(self, item: Any, example_call: str) -> None:
        """Refuse what is no text (or pair, or list of words)."""
        given = f"{shorten(repr(item), 60)} ({type(item).__name__}) was given"
        if self.paired:
            if not (isinstance(item, (tuple, list)) and len(item) == 2 and all(isinstance(one, str) for one in item)):
                raise InvalidInputError(
                    f"{given}; expected a pair of texts, as these data have: {example_call.format('(first, second)')}"
                )
        elif self.is_split_into_words:
            if (
                isinstance(item, str)
                or not hasattr(item, "__len__")
                or not len(item)
                or not all(isinstance(word, str) for word in item)
            ):
                raise InvalidInputError(f"{given}; expected a list of words: {example_call.format(['some', 'text'])}")
        elif not isinstance(item, str):
            raise InvalidInputError(f"{given}; expected a text: {example_call.format(repr('some text'))}")

    # -- rows -> tensors ---------------------------------------------------------------------------

    def tensors(self, rows: Sequence[EncodedText], width: Optional[int] = None) -> List[Tensor]:
        """Return the tensors ``names`` lists, each int64 ``(rows, width)``; by default as wide as the longest row."""
        return [self._build_tensor(name, rows, width) for name in self.names]

    def _build_tensor(self, name: str, rows: Sequence[EncodedText], width: Optional[int]) -> Tensor:
        padding = self.padding
        if name == "input_ids":
            return self._pad([row.input_ids for row in rows], padding.id, width)
        if name == "token_type_ids":
            return self._pad(
                [np.zeros_like(row.input_ids) if row.token_type_ids is None else row.token_type_ids for row in rows],
                padding.type_id,
                width,
            )
        return build_attention_mask([row.input_ids for row in rows], padding.side, width)

    def targets(self, rows: Sequence[EncodedText], labels: Sequence[Any], width: Optional[int] = None) -> Tensor:
        """Return the labels as the task's loss takes them; a word's label is at the word's first piece."""
        if self.is_split_into_words:
            return self._pad(
                [align_labels_with_tokens(row, label) for row, label in zip(rows, labels)], IGNORE_INDEX, width
            )
        return torch.from_numpy(np.array(labels))

    def _pad(self, rows: Sequence[np.ndarray], value: int, width: Optional[int]) -> Tensor:
        return pad_rows(rows, value, self.padding.side, width)

    # -- tensors -> rows ---------------------------------------------------------------------------

    def recover_row(self, tensors: Sequence[Tensor], rows: Iterable[EncodedText]) -> Tuple[EncodedText, int]:
        """Return the row behind one line of each tensor, without its padding, and how many words it has.

        Parameters
        ----------
        tensors : sequence of Tensor
            A line of each of ``names``.
        rows : iterable of EncodedText
            The rows it is one of: no tensor says which piece belongs to which word.
        """
        named = dict(zip(self.names, tensors))
        real = named["attention_mask"] > 0
        ids = named["input_ids"][real].numpy().astype(np.int32)
        types = named["token_type_ids"][real].numpy().astype(np.int32) if "token_type_ids" in named else None
        words, n_words = self._find_words(ids, rows)
        return EncodedText(ids, types, words), n_words

    def _find_words(self, ids: np.ndarray, rows: Iterable[EncodedText]) -> Tuple[Optional[np.ndarray], int]:
        if not self.is_split_into_words:
            return None, 0
        predicted = [] if self.predicted is None else [self.predicted]
        known = ((row, int(np.max(row.word_ids, initial=-1)) + 1) for row in rows if row.word_ids is not None)
        return next(
            ((row.word_ids, n) for many in (predicted, known) for row, n in many if np.array_equal(row.input_ids, ids)),
            (None, 0),
        )

    def __setstate__(self, state: Dict[str, Any]) -> None:
        # Exports of earlier releases have no padding id here; theirs was 0 where the tokenizer had none.
        vars(self).update({"pad_token_id": state["encoder"].pad_token_id, "marked_rows": None, **state})

    def __getstate__(self) -> Dict[str, Any]:
        # None of them belongs in an exported file.
        return {**vars(self), "progress": None, "predicted": None, "marked_rows": None}


def _is_csv(items: Any) -> bool:
    return isinstance(items, os.PathLike) or isinstance(items, str) and items.lower().endswith(".csv")


def to_object_array(rows: Sequence[Any]) -> np.ndarray:
    """Return an object array with one row per element (numpy itself would make an array of the rows' content)."""
    array = np.empty(len(rows), dtype=object)
    for at, row in enumerate(rows):
        array[at] = row
    return array
