"""Encoded texts -> a fastai 1 ``DataBunch`` of lists of tensors, padded on the right and masked."""
from typing import Any, List, Sequence, Tuple

import numpy as np
import torch
from fastai.basic_data import DataBunch
from torch import Tensor
from torch.utils.data import Dataset

from ..text import pad_batch

__all__ = ["INPUTS", "encoded_databunch"]

INPUTS = ("input_ids", "attention_mask")


class EncodedTexts(Dataset):
    """Token ids and a target per row."""

    def __init__(self, rows: Sequence[List[int]], targets: np.ndarray):
        self.rows, self.targets = rows, torch.as_tensor(targets)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Tuple[List[int], Tensor]:
        return self.rows[i], self.targets[i]


class _Collate:
    """``[(ids, target), ...]`` -> ``([input_ids, attention_mask], targets)``; a class, so that it pickles."""

    def __init__(self, pad_id: int):
        self.pad_id = pad_id

    def __call__(self, items: Sequence[Tuple[List[int], Tensor]]) -> Tuple[List[Tensor], Tensor]:
        rows, targets = zip(*items)
        return list(pad_batch(rows, self.pad_id)), torch.stack(targets)


def encoded_databunch(train: EncodedTexts, valid: EncodedTexts, pad_id: int, bs: int, **kwargs: Any) -> DataBunch:
    """A ``DataBunch`` whose batches are ``[input_ids, attention_mask]``, named by ``INPUTS``.

    Parameters
    ----------
    train, valid : EncodedTexts
    pad_id : int
    bs : int
    **kwargs
        Handed to ``DataBunch.create``.
    """
    settings = dict(num_workers=0, pin_memory=torch.cuda.is_available(), no_check=True, collate_fn=_Collate(pad_id))
    return DataBunch.create(train, valid, bs=bs, **{**settings, **kwargs})
