"""Batches of fastai 1's loaders, made small, and rows drawn evenly over a data set; part of ``probe``."""
import time
from typing import Any, List, NamedTuple, Optional

import numpy as np
import torch
from torch import Tensor

from ..instruments.inputs import first_rows
from ..instruments.labels import Sampled
from ..output import tensors_in

__all__ = ["Batch", "batches_of", "shrunk", "rows_of", "sampled"]

ROWS = 16                # of a batch, in the forward and backward passes
LABEL_ROWS, LABEL_SECONDS = 512, 1.5


class Batch(NamedTuple):
    xb: Any
    yb: Any


def batches_of(loader: Any, n: int) -> List[Batch]:
    found = []
    for xb, yb in loader:
        found.append(Batch(xb, yb))
        if len(found) >= n:
            break
    return found


def shrunk(batch: Batch, n: int = ROWS) -> Batch:
    """The first rows, where every tensor has as many rows as the others; else the whole batch."""
    rows = {t.shape[0] for t in tensors_in((batch.xb, batch.yb)) if t.dim()}
    if len(rows) != 1:
        return batch
    return Batch(first_rows(batch.xb, n), first_rows(batch.yb, n))


def rows_of(part: Any) -> int:
    return next((t.shape[0] for t in tensors_in(part) if t.dim()), 0)


def sampled(loader: Any, place: Optional[int], pads: List[int]) -> Optional[Sampled]:
    """Rows drawn evenly over a loader's data set, collated by its own function."""
    data = loader.dl.dataset
    n = len(data)
    picks = np.unique(np.linspace(0, n - 1, min(n, LABEL_ROWS)).astype(int))
    ids: List[np.ndarray] = []
    targets: List[Tensor] = []
    until = time.perf_counter() + LABEL_SECONDS
    for start in range(0, len(picks), 32):
        batch = loader.proc_batch(loader.dl.collate_fn([data[int(i)] for i in picks[start:start + 32]]))
        target = batch[1]
        if not isinstance(target, Tensor) or target.dim() == 0 or target.dim() > 2:
            return None
        targets.append(target.detach().cpu())
        if place is not None:
            table = list(tensors_in(batch[0]))[place].cpu().numpy()
            ids += [row[~np.isin(row, pads)] for row in table]
        if time.perf_counter() > until:
            break
    joined = torch.cat(targets)
    values = joined.double().numpy() if joined.is_floating_point() or joined.dim() == 2 else joined.long().numpy()
    return Sampled(ids if place is not None and len(ids) == len(values) else None, values)
