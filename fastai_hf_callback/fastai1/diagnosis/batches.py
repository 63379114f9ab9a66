"""Batches of fastai 1's loaders; part of ``probe``."""

from typing import Any, List, Optional

from fastai_hf_callback.diagnosis.probes.batches import Batch, pick_evenly, sample_rows
from fastai_hf_callback.diagnosis.probes.labels import SampledRows

__all__ = ["read_batches", "draw_rows"]


def read_batches(loader: Any, n: int) -> List[Batch]:
    found = []
    for xb, yb in loader:
        found.append(Batch(xb, yb))
        if len(found) >= n:
            break
    return found


def draw_rows(loader: Any, ids_index: Optional[int], pad_ids: List[int]) -> Optional[SampledRows]:
    """Rows drawn evenly over a loader's data set, collated by its own function."""
    data = loader.dl.dataset

    def collate(rows: List[int]) -> Batch:
        batch = loader.proc_batch(loader.dl.collate_fn([data[i] for i in rows]))
        return Batch(batch[0], batch[1])

    return sample_rows(pick_evenly(len(data)), collate, ids_index, pad_ids)
