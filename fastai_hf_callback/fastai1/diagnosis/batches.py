"""Batches of fastai 1's loaders; part of ``probe``."""
from typing import Any, List, Optional

from fastai_hf_callback.diagnosis.probes.batches import Batch, evenly, sampled
from fastai_hf_callback.diagnosis.probes.labels import Sampled

__all__ = ["batches_of", "rows_drawn"]


def batches_of(loader: Any, n: int) -> List[Batch]:
    found = []
    for xb, yb in loader:
        found.append(Batch(xb, yb))
        if len(found) >= n:
            break
    return found


def rows_drawn(loader: Any, place: Optional[int], pads: List[int]) -> Optional[Sampled]:
    """Rows drawn evenly over a loader's data set, collated by its own function."""
    data = loader.dl.dataset

    def collated(rows: List[int]) -> Batch:
        batch = loader.proc_batch(loader.dl.collate_fn([data[i] for i in rows]))
        return Batch(batch[0], batch[1])

    return sampled(evenly(len(data)), collated, place, pads)
