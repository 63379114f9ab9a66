"""The parts of ``heal`` for several processes, on fastai 2; they leave a fit of one process alone.

Only a process group could show whether they are needed, so they are there wherever ``fastai.distributed`` is loaded.
"""

from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, Callable, ContextManager, Dict, Iterator, List
from unittest.mock import patch

import numpy as np
import torch
from fastai.learner import AvgLoss, AvgMetric, Learner
from fastai.torch_core import apply, find_bs, to_detach

from fastai_hf_callback.compat.patching import Patch, when_loaded
from fastai_hf_callback.utils.distributed import all_gather_rows

__all__ = ["DISTRIBUTED_PATCHES", "compute_gather_positions"]


# -- the order of the rows, sent to all ------------------------------------------------------------


@when_loaded("fastai.distributed")
def _patch_order_on_cpu(distributed: Any) -> ContextManager[Any]:
    original = distributed.DistributedDL._broadcast

    @wraps(original)
    def broadcast(self: Any, t: Any, rank: int) -> List[int]:
        if torch.distributed.get_backend() == "nccl":
            return original(self, t, rank)
        indices = torch.as_tensor(t, dtype=torch.int64)
        torch.distributed.broadcast(indices, rank)
        return indices.tolist()

    return patch.object(distributed.DistributedDL, "_broadcast", broadcast)


# -- predictions in the order of the loader ---------------------------------------------------------


@when_loaded("fastai.distributed")
@contextmanager
def _patch_predictions(distributed: Any) -> Iterator[None]:
    with patch.object(distributed.DistributedDL, "get_idxs", _get_idxs_in_loader_order):
        with patch.object(Learner, "to_detach", _detach_by_loader):
            yield


def _get_idxs_in_loader_order(self: Any) -> List[int]:
    """Return rows so that batches gathered step by step follow the loader; fastai's gives each process one piece."""
    idxs = self._broadcast(list(self.dl.get_idxs()), 0)
    self.n, share = len(idxs), -(-len(idxs) // self.world_size)
    self.n_padded = share * self.world_size
    slots = np.resize(np.array(idxs, dtype=np.int64), self.n_padded)  # the remaining slots repeat the first rows
    slots[compute_gather_positions(self.n, self.world_size, self.bs or 1)] = idxs
    return slots[self.rank * share : (self.rank + 1) * share].tolist()


def compute_gather_positions(rows: int, world_size: int, bs: int) -> np.ndarray:
    """Compute where in all processes' rows, process after process, the rows are that are gathered as 0, 1, ...

    Parameters
    ----------
    rows : int
        Those that are no repeats; the repeats are the last ones of the last processes.
    world_size, bs : int
        Processes, and rows per batch in each.

    Returns
    -------
    ndarray of int64, (rows,)
    """
    share = -(-rows // world_size)
    slots = np.arange(rows)
    process, at = slots // share, slots % share
    return slots[np.lexsort((at, process, at // bs))]


def _detach_by_loader(self: Any, b: Any, cpu: bool = True, gather: bool = True) -> Any:
    """Detach as the loader does; fastai's gathers rows of a loader that is not shared, and has each several times."""
    loader: Any = getattr(self, "dl", None)
    return loader.to_detach(b, cpu, gather) if hasattr(loader, "to_detach") else to_detach(b, cpu, gather=False)


# -- metrics over each row once --------------------------------------------------------------------


@when_loaded("fastai.distributed")
@contextmanager
def _patch_row_counts(distributed: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for metric, value_of in ((AvgMetric, _compute_metric), (AvgLoss, _compute_loss)):
            accumulate = _build_weighted_accumulate(metric.accumulate, distributed.DistributedDL, value_of)
            stack.enter_context(patch.object(metric, "accumulate", accumulate))
        yield


def _build_weighted_accumulate(
    original: Callable[..., None], kind: Any, value_of: Callable[..., Any]
) -> Callable[..., None]:
    @wraps(original)
    def accumulate(self: Any, learn: Learner) -> None:
        if type(learn.dl) is not kind:
            return original(self, learn)
        real = _count_real_rows(learn.dl, find_bs(learn.yb))
        value = float(value_of(self, learn, real)) if real else 0.0
        total, count = (
            torch.cat(all_gather_rows(torch.tensor([[value * real, real]], dtype=torch.float64))).sum(0).tolist()
        )
        self.total, self.count = self.total + torch.tensor(total), self.count + count
        return None

    return accumulate


def _count_real_rows(loader: Any, rows: int) -> int:
    """Count the first rows of this process's batch that are no repeats."""
    first = loader.rank * loader.n_padded // loader.world_size + loader.i - rows
    return min(max(loader.n - first, 0), rows)


def _compute_metric(metric: AvgMetric, learn: Learner, real: int) -> Any:
    return metric.func(_take_first_rows(learn.pred, real), *_take_first_rows(learn.yb, real))


def _compute_loss(metric: AvgLoss, learn: Learner, real: int) -> Any:
    return learn.loss_func(_take_first_rows(learn.pred, real), *_take_first_rows(learn.yb, real)).mean()


def _take_first_rows(found: Any, rows: int) -> Any:
    return apply(lambda part: part[:rows], found)


DISTRIBUTED_PATCHES: Dict[str, Patch] = {
    "distributed-on-cpu": _patch_order_on_cpu,
    "distributed-predictions": _patch_predictions,
    "distributed-metrics": _patch_row_counts,
}
