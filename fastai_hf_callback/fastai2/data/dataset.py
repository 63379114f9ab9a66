"""The fastai 2 dataset of encoded texts, from which a ``TextLoader`` takes its rows."""

from dataclasses import dataclass
from typing import Any, Iterator, Optional, Sequence

import numpy as np
from fastcore.foundation import L

from fastai_hf_callback.data.batches.batch_spec import BatchSpec
from fastai_hf_callback.data.batches.collate import TextCollator
from fastai_hf_callback.data.batches.trial_batches import build_trial_batches
from fastai_hf_callback.data.encoding.encoder import EncodedText
from fastai_hf_callback.errors import InvalidInputError

from .labels import TaskLabels

__all__ = ["TextDataset", "TextItem"]


@dataclass(frozen=True, eq=False)
class TextItem(Sequence):
    """One encoded text and its target, None where there is none; what would collate its parts is refused."""

    row: EncodedText
    target: Any
    collator: TextCollator

    def __str__(self) -> str:
        return self.collator.encoder.decode(self.row.input_ids)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, at: Any) -> Any:
        raise InvalidInputError(
            "texts of text_data were given to a loader that does not pad; expected text_data's own, with which "
            "fastai's WeightedDL and PartialDL can be mixed: write class Mixed(WeightedDL, type(dls.train)): pass, and "
            "dls.loaders[0] = dls.train.new(cls=Mixed, wgts=weights)"
        )

    def __iter__(self) -> Iterator[Any]:
        return self[0]  # raises

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r}, target={self.target})"


class TextDataset:
    """Encoded texts with their targets.

    Parameters
    ----------
    rows : sequence of EncodedText
    targets : sequence or None
        As ``examples.read_examples`` gives them.
    collator : TextCollator
        How these rows become batches.
    labels : Labels
        What the targets mean.
    """

    def __init__(
        self, rows: Sequence[EncodedText], targets: Optional[Sequence[Any]], collator: TextCollator, labels: TaskLabels
    ):
        self.rows, self.targets, self.collator, self.labels = list(rows), targets, collator, labels
        self.lengths = np.array([len(row.input_ids) for row in self.rows], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: int) -> TextItem:
        return TextItem(self.rows[at], None if self.targets is None else self.targets[at], self.collator)

    def new_empty(self) -> "TextDataset":
        """Return the same dataset without rows, which ``learn.export`` writes."""
        return TextDataset([], None, self.collator, self.labels)

    def build_prediction_set(self, items: Any) -> "TextDataset":
        """Build the dataset for ``dls.test_dl``, from texts or from ``items`` of a set, with their targets."""
        items = list(items) if isinstance(items, (list, tuple, L)) else items
        if isinstance(items, list) and items and all(isinstance(item, TextItem) for item in items):
            targets = [item.target for item in items]
            return TextDataset(
                [item.row for item in items], None if targets[0] is None else targets, self.collator, self.labels
            )
        if isinstance(items, list) and len(items) == 1:  # as `predict` gives it
            rows = [self.collator.encode_for_predict(items[0], "learn.predict({0}), or dls.test_dl([{0}, ...])")]
        else:
            rows = self.collator.encode_texts(self.collator.read_texts_to_predict(items, "dls.test_dl([{}, ...])"))
        return TextDataset(rows, None, self.collator, self.labels)

    # -- what fastai looks for ---------------------------------------------------------------------

    @property
    def n_inp(self) -> int:
        return len(self.collator.names)

    @property
    def items(self) -> list:
        """The items that ``Interpretation`` picks rows from."""
        return [self[at] for at in range(len(self))]

    @property
    def loss_func(self) -> Any:
        return self.labels.loss_func

    @property
    def vocab(self) -> Any:
        return self.labels.vocab

    @property
    def c(self) -> int:
        return len(self.labels.names)

    def inputs(self, longest: int) -> BatchSpec:
        """Return the names of a batch's tensors, and what a model must have room for."""
        collator, labels = self.collator, self.labels
        return BatchSpec(
            collator.names,
            collator.padding,
            longest,
            collator.encoder.vocab_size,
            self.c,
            labels.task,
            labels.names,
            build_trial_batches(collator, self.rows),
            collator.untyped_pairs,
        )
