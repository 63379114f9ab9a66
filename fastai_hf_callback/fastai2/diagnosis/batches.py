"""Batches of fastai 2's loaders; part of ``probe``."""

from typing import Any, List, Optional

from fastai.learner import Learner

from fastai_hf_callback.diagnosis.probes.batches import Batch, pick_evenly, sample_rows
from fastai_hf_callback.diagnosis.probes.labels import SampledRows

__all__ = ["to_fastai_batch", "read_batches", "draw_rows"]


def read_batches(learn: Learner, loader: Any, n: int) -> List[Batch]:
    """The first `n` of a loader, split into inputs and targets as the learner splits them."""
    found = []
    for batch in loader:
        found.append(_split_batch(learn, batch))
        if len(found) >= n:
            break
    return found


def to_fastai_batch(batch: Batch) -> tuple:
    """A batch as a loader gave it, for ``learn.one_batch``."""
    targets = batch.yb if isinstance(batch.yb, tuple) else (batch.yb,)
    return (*batch.xb, *targets)


def draw_rows(learn: Learner, loader: Any, ids_index: Optional[int], pad_ids: List[int]) -> Optional[SampledRows]:
    """Rows drawn evenly over a loader's data set, collated as the loader does it."""

    def collate(rows: List[int]) -> Batch:
        return _split_batch(learn, _collate_rows(loader, rows))

    return sample_rows(pick_evenly(len(loader.dataset)), collate, ids_index, pad_ids)


def _split_batch(learn: Learner, batch: Any) -> Batch:
    inputs = getattr(learn.dls, "n_inp", 1 if len(batch) == 1 else len(batch) - 1)
    targets = tuple(batch[inputs:])
    return Batch(tuple(batch[:inputs]), targets[0] if len(targets) == 1 else targets)


def _collate_rows(loader: Any, rows: List[int]) -> Any:
    if hasattr(loader, "do_batch"):
        return loader.after_batch(loader.do_batch([loader.do_item(row) for row in rows]))
    return loader.collate_fn([loader.dataset[row] for row in rows])
