"""Batches of fastai 2's loaders; part of ``probe``."""
from typing import Any, List, Optional

from fastai.learner import Learner

from fastai_hf_callback.diagnosis.probes.batches import Batch, evenly, sampled
from fastai_hf_callback.diagnosis.probes.labels import Sampled

__all__ = ["as_fastai_has_it", "batches_of", "rows_drawn"]


def batches_of(learn: Learner, loader: Any, n: int) -> List[Batch]:
    """The first `n` of a loader, split into inputs and targets as the learner splits them."""
    found = []
    for batch in loader:
        found.append(_split(learn, batch))
        if len(found) >= n:
            break
    return found


def as_fastai_has_it(batch: Batch) -> tuple:
    """A batch as a loader gave it, for ``learn.one_batch``."""
    targets = batch.yb if isinstance(batch.yb, tuple) else (batch.yb,)
    return (*batch.xb, *targets)


def rows_drawn(learn: Learner, loader: Any, place: Optional[int], pads: List[int]) -> Optional[Sampled]:
    """Rows drawn evenly over a loader's data set, collated as the loader does it."""
    def collated(rows: List[int]) -> Batch:
        return _split(learn, _collated(loader, rows))

    return sampled(evenly(len(loader.dataset)), collated, place, pads)


def _split(learn: Learner, batch: Any) -> Batch:
    inputs = getattr(learn.dls, "n_inp", 1 if len(batch) == 1 else len(batch) - 1)
    targets = tuple(batch[inputs:])
    return Batch(tuple(batch[:inputs]), targets[0] if len(targets) == 1 else targets)


def _collated(loader: Any, rows: List[int]) -> Any:
    if hasattr(loader, "do_batch"):
        return loader.after_batch(loader.do_batch([loader.do_item(row) for row in rows]))
    return loader.collate_fn([loader.dataset[row] for row in rows])
