"""Two small batches of a data set's own rows, on which a model is tried before it is trained. Imports torch.

``BatchSpec`` brings them to ``HFModel``, which tries them (``model/input_trials.py``).
"""

from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from torch import Tensor

from fastai_hf_callback.data.encoding.tokenization import EncodedText

__all__ = ["NO_TRIAL", "MarkedRows", "TrialBatches", "build_trial_batches"]

ROWS_TO_CHOOSE_FROM = 100
MAX_PADDING = 4  # tokens in front of a text: one shows whether a model reads them


class MarkedRows(NamedTuple):
    """A row like most, rows whose texts hold special tokens' strings, and where the user finds such texts."""

    plain: EncodedText
    marked: List[EncodedText]
    where: str


class TrialBatches(NamedTuple):
    """Batches as a model takes them, a tensor for each of its inputs.

    Attributes
    ----------
    alone, padded : tuple of Tensor or None
        One row as it is, and padded in front; None where nothing is padded in front.
    plain, marked : tuple of Tensor or None
        A row twice, and next to some whose texts hold special tokens' strings; None where no text does.
    where : str
        Where the user finds such texts.
    """

    alone: Optional[Tuple[Tensor, ...]] = None
    padded: Optional[Tuple[Tensor, ...]] = None
    plain: Optional[Tuple[Tensor, ...]] = None
    marked: Optional[Tuple[Tensor, ...]] = None
    where: str = ""


NO_TRIAL = TrialBatches()


def build_trial_batches(collator: Any, rows: Sequence[EncodedText]) -> TrialBatches:
    """Build the batches that these data ask for; none where rows are padded at their end and hold no such string.

    Parameters
    ----------
    collator : TextCollator
    rows : sequence of EncodedText
        Of train.
    """
    trial = NO_TRIAL
    if collator.padding.side == "left" and len(rows):
        row = min(rows[:ROWS_TO_CHOOSE_FROM], key=lambda one: len(one.input_ids))
        length, longest = len(row.input_ids), max(len(one.input_ids) for one in rows)
        if 0 < length < longest:
            width = min(longest, length + MAX_PADDING)
            trial = trial._replace(alone=tuple(collator.tensors([row])), padded=tuple(collator.tensors([row], width)))
    found: Optional[MarkedRows] = collator.marked_rows
    if found is not None:
        trial = trial._replace(
            plain=tuple(collator.tensors([found.plain] * 2)),
            marked=tuple(collator.tensors([found.plain, *found.marked])),
            where=found.where,
        )
    return trial


def choose_plain_row(rows: Sequence[EncodedText], marked: np.ndarray) -> Optional[EncodedText]:
    """Return a row that is none of the `marked` ones; None where all are."""
    taken = set(marked.tolist())
    return next((row for at, row in enumerate(rows) if at not in taken), None)
