"""The parts of ``heal`` that concern several processes, on fastai 2; a fit of one process is not touched by them.

Only a process group could show whether they are needed, so they are there wherever ``fastai.distributed`` is loaded.
"""
import sys
from contextlib import ExitStack, contextmanager
from functools import wraps
from types import ModuleType
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional

import numpy as np
import torch
from fastai.learner import AvgLoss, AvgMetric, Learner
from fastai.torch_core import apply, find_bs, to_detach

from fastai_hf_callback.compat.patching import Part, replaced
from fastai_hf_callback.utils.distributed import gathered

__all__ = ["PARTS", "slots_in_order"]


def _distributed() -> Optional[ModuleType]:
    return sys.modules.get("fastai.distributed")


# -- the order of the rows, sent to all ------------------------------------------------------------


def _on_cpu() -> Optional[ContextManager[None]]:
    distributed = _distributed()
    if distributed is None:
        return None
    original = distributed.DistributedDL._broadcast

    @wraps(original)
    def broadcast(self: Any, t: Any, rank: int) -> List[int]:
        if torch.distributed.get_backend() == "nccl":
            return original(self, t, rank)
        told = torch.as_tensor(t, dtype=torch.int64)
        torch.distributed.broadcast(told, rank)
        return told.tolist()

    return replaced(distributed.DistributedDL, _broadcast=broadcast)


# -- predictions in the order of the loader ---------------------------------------------------------


def _predictions() -> Optional[ContextManager[None]]:
    distributed = _distributed()
    return None if distributed is None else _in_order(distributed.DistributedDL)


@contextmanager
def _in_order(kind: Any) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(replaced(kind, get_idxs=_idxs_in_order))
        stack.enter_context(replaced(Learner, to_detach=_of_this_process))
        yield


def _idxs_in_order(self: Any) -> List[int]:
    """fastai's, which gives each process one piece of the order, while batches are put together step by step."""
    idxs = self._broadcast(list(self.dl.get_idxs()), 0)
    self.n, share = len(idxs), -(-len(idxs) // self.world_size)
    self.n_padded = share * self.world_size
    slots = np.resize(np.array(idxs, dtype=np.int64), self.n_padded)  # what is left over repeats the first rows
    slots[slots_in_order(self.n, self.world_size, self.bs or 1)] = idxs
    return slots[self.rank * share:(self.rank + 1) * share].tolist()


def slots_in_order(rows: int, world: int, bs: int) -> np.ndarray:
    """Where among all processes' rows, one process's after the other's, those stand that are put together as 0, 1, ...

    Parameters
    ----------
    rows : int
        Those that are no repeats; the repeats are the last ones of the last processes.
    world, bs : int
        Processes, and rows per batch in each.

    Returns
    -------
    ndarray of int64, (rows,)
    """
    share = -(-rows // world)
    slots = np.arange(rows)
    process, at = slots // share, slots % share
    return slots[np.lexsort((at, process, at // bs))]


def _of_this_process(self: Any, b: Any, cpu: bool = True, gather: bool = True) -> Any:
    """fastai's, which gathers what a loader that is not shared gives in every process, and so has it several times."""
    loader = getattr(self, "dl", None)
    return loader.to_detach(b, cpu, gather) if hasattr(loader, "to_detach") else to_detach(b, cpu, gather=False)


# -- metrics over each row once --------------------------------------------------------------------


def _metrics() -> Optional[ContextManager[None]]:
    distributed = _distributed()
    return None if distributed is None else _each_row_once(distributed.DistributedDL)


@contextmanager
def _each_row_once(kind: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for metric, value_of in ((AvgMetric, _metric_of), (AvgLoss, _loss_of)):
            accumulate = _weighed(metric.accumulate, kind, value_of)
            stack.enter_context(replaced(metric, accumulate=accumulate))
        yield


def _weighed(original: Callable[..., None], kind: Any, value_of: Callable[..., Any]) -> Callable[..., None]:
    @wraps(original)
    def accumulate(self: Any, learn: Learner) -> None:
        if type(learn.dl) is not kind:
            return original(self, learn)
        real = _real_rows(learn.dl, find_bs(learn.yb))
        value = float(value_of(self, learn, real)) if real else 0.0
        total, count = torch.cat(gathered(torch.tensor([[value * real, real]], dtype=torch.float64))).sum(0).tolist()
        self.total, self.count = self.total + torch.tensor(total), self.count + count
        return None
    return accumulate


def _real_rows(loader: Any, rows: int) -> int:
    """How many of the first rows of this process's batch are no repeats."""
    first = loader.rank * loader.n_padded // loader.world_size + loader.i - rows
    return min(max(loader.n - first, 0), rows)


def _metric_of(metric: AvgMetric, learn: Learner, real: int) -> Any:
    return metric.func(_first(learn.pred, real), *_first(learn.yb, real))


def _loss_of(metric: AvgLoss, learn: Learner, real: int) -> Any:
    return learn.loss_func(_first(learn.pred, real), *_first(learn.yb, real)).mean()


def _first(found: Any, rows: int) -> Any:
    return apply(lambda part: part[:rows], found)


PARTS: Dict[str, Part] = {"distributed-on-cpu": _on_cpu, "distributed-predictions": _predictions,
                          "distributed-metrics": _metrics}
