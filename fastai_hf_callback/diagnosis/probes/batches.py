"""Batches of any loader, made small, and rows drawn evenly over a data set. Imports torch and numpy."""

import time
from typing import Any, Callable, List, NamedTuple, Optional

import numpy as np
import torch
from torch import Tensor

from fastai_hf_callback.model.output import tensors_in

from .inputs import take_rows
from .labels import SampledRows

__all__ = ["Batch", "truncate_batch", "count_rows", "is_per_token", "pick_evenly", "sample_rows"]

PROBE_ROWS = 16  # of a batch, in the forward and backward passes
LABEL_ROWS, LABEL_SECONDS = 512, 1.5


class Batch(NamedTuple):
    xb: Any
    yb: Any


def truncate_batch(batch: Batch, n: int = PROBE_ROWS) -> Batch:
    """The first rows, where every tensor has as many rows as the others; else the whole batch."""
    rows = {t.shape[0] for t in tensors_in((batch.xb, batch.yb)) if t.dim()}
    if len(rows) != 1:
        return batch
    return Batch(take_rows(batch.xb, n), take_rows(batch.yb, n))


def count_rows(part: Any) -> int:
    return next((t.shape[0] for t in tensors_in(part) if t.dim()), 0)


def is_per_token(target: Any, ids: Tensor) -> bool:
    """Whether there is a class for every token of every row."""
    return isinstance(target, Tensor) and target.shape == ids.shape and not target.is_floating_point()


def pick_evenly(n: int) -> List[int]:
    """Row numbers drawn evenly from `n`, no more than are looked at."""
    return [int(i) for i in np.unique(np.linspace(0, n - 1, min(n, LABEL_ROWS)).astype(int))]


def sample_rows(
    row_numbers: List[int], collate: Callable[[List[int]], Any], ids_index: Optional[int], pad_ids: List[int]
) -> Optional[SampledRows]:
    """The ids and targets of the rows `row_numbers`, as long as there is time; None where there is no target a row.

    Parameters
    ----------
    picks : list of int
    collated : callable
        Row numbers -> ``Batch``, as the loader makes it.
    place : int or None
        The index of the ids among a batch's tensors.
    pads : list of int
        Ids to leave out.
    """
    ids: List[np.ndarray] = []
    targets: List[Tensor] = []
    until = time.perf_counter() + LABEL_SECONDS
    for start in range(0, len(row_numbers), 32):
        batch = collate(row_numbers[start : start + 32])
        target = batch.yb
        if not isinstance(target, Tensor) or target.dim() == 0 or target.dim() > 2:
            return None
        targets.append(target.detach().cpu())
        if ids_index is not None:
            table = list(tensors_in(batch.xb))[ids_index].cpu().numpy()
            ids += [row[~np.isin(row, pad_ids)] for row in table]
        if time.perf_counter() > until:
            break
    joined = torch.cat(targets)
    values = joined.double().numpy() if joined.is_floating_point() or joined.dim() == 2 else joined.long().numpy()
    return SampledRows(ids if ids_index is not None and len(ids) == len(values) else None, values)
