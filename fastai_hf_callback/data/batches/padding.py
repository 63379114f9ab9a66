"""Rows of unequal length -> one padded tensor and its mask. Imports numpy and torch."""

from typing import Any, NamedTuple, Optional, Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["IGNORE_INDEX", "NO_PADDING", "Padding", "build_attention_mask", "pad_rows"]

# The target of padding, of special tokens and of a word's later pieces: cross entropy's own `ignore_index`.
IGNORE_INDEX = -100


class Padding(NamedTuple):
    """A tokenizer's way to pad short rows.

    Attributes
    ----------
    id, type_id : int
        What fills ``input_ids`` and ``token_type_ids``.
    side : str
        ``"right"`` or ``"left"``.
    """

    id: int = 0
    type_id: int = 0
    side: str = "right"


NO_PADDING = Padding()


def pad_rows(rows: Sequence[Any], value: int, side: str = "right", width: Optional[int] = None) -> Tensor:
    """Pad rows of unequal length to one tensor.

    Parameters
    ----------
    rows : sequence of array-like of int
    value : int
        Fills what is missing.
    side : str
        Where it is filled in, ``"right"`` or ``"left"``.
    width : int, optional
        Columns; the longest row's length by default.

    Returns
    -------
    Tensor, int64, (rows, width)
    """
    lengths = [len(row) for row in rows]
    real = _real_positions(lengths, max(lengths) if width is None else width, side)
    padded = np.full(real.shape, value, dtype=np.int64)
    padded[real] = np.concatenate(rows)  # row by row, as the mask selects positions
    return torch.from_numpy(padded)


def build_attention_mask(rows: Sequence[Any], side: str = "right", width: Optional[int] = None) -> Tensor:
    """Return 1 where ``pad_rows`` puts a token of a row, 0 elsewhere; int64, (rows, width)."""
    lengths = [len(row) for row in rows]
    return torch.from_numpy(_real_positions(lengths, max(lengths) if width is None else width, side).astype(np.int64))


def _real_positions(lengths: Sequence[int], width: int, side: str) -> np.ndarray:
    """Return which positions rows of these lengths fill, bool, (rows, width)."""
    columns, of_each = np.arange(width), np.asarray(lengths)[:, None]
    return columns >= width - of_each if side == "left" else columns < of_each
