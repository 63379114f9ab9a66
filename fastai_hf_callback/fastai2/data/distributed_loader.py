"""The loader that deals texts to the processes of ``learn.distrib_ctx`` on fastai 2, and gathers their results.

fastai's own ``DistributedDL`` ignores lengths: it cuts the order at equal places, across the batches, repeats
rows until they can be divided, counts these twice in metrics and returns predictions in another order than it read.
"""

from typing import Any, Iterator, List

import numpy as np
import torch
from fastai.distributed import DistributedDL, DistributedTrainer
from fastai.learner import Learner
from fastai.torch_core import apply, to_detach
from fastcore.basics import chunked
from torch import Tensor

from fastai_hf_callback.data.batches.sampler import global_batch_sizes, shard_batches, shard_batches_evenly
from fastai_hf_callback.utils.distributed import all_gather_rows, broadcast_order

from .loaders import TextLoader

__all__ = ["ShardedTextLoader", "shard_loader"]

NO_ROW = -1


def shard_loader(learn: Learner) -> Any:
    """Return ``learn.dl``, or inside ``distrib_ctx``, where it is a ``TextLoader``, this process's share of it."""
    if not any(isinstance(callback, DistributedTrainer) for callback in learn.cbs):
        return learn.dl
    loader = learn.dl.dl if type(learn.dl) is DistributedDL else learn.dl
    if not isinstance(loader, TextLoader):
        return learn.dl
    return ShardedTextLoader(loader, device=next(learn.model.parameters()).device)


class ShardedTextLoader(DistributedDL):
    """One process's share of a ``TextLoader``.

    All processes have the same number of batches. Where rows are drawn, each row is in one process, and each step has
    the rows that one process would with batches of ``bs * world_size``, as process 0 draws them, of the same lengths
    in each process. Where rows keep their order, all processes have as many at each step, and the few that cannot be
    divided are read by all and count once: so all have the same metrics, to the last bit, and decide alike.
    """

    _step_index = -1

    def __len__(self) -> int:
        rows, bs, world = self._count_kept_rows(self.dl.n), self.dl.bs, self.world_size
        if self.dl.is_reshuffled:
            return len(global_batch_sizes(max(rows, world), bs, world)) if rows else 0
        return -(-(rows // world) // bs) + -(-(rows % world) // bs)

    def get_idxs(self) -> List[int]:
        """Return this process's rows, each batch filled up to the same size: workers cut at equal places."""
        order = broadcast_order(self.dl.build_global_order(self.world_size), is_random=self.dl.is_reshuffled)
        order = order[: self._count_kept_rows(len(order))]
        self.n = len(order)
        if not self.n:
            return []
        shares = self._shard_order(order)
        self.bs = int(self._row_counts.max())
        return [
            int(row)
            for batch in shares[self.rank]
            for row in np.pad(batch, (0, self.bs - len(batch)), constant_values=NO_ROW)
        ]

    def create_batches(self, samps: Any) -> Iterator[Any]:
        for slots in chunked(samps, self.bs):
            yield self.dl.do_batch([self.dl.do_item(row) for row in slots if row != NO_ROW])

    def before_iter(self) -> None:
        super().before_iter()
        self._step_index = -1

    def after_batch(self, b: Any) -> Any:
        self._step_index += 1
        return super().after_batch(b)

    def to_detach(self, b: Any, cpu: bool = True, gather: bool = True) -> Any:
        """Gather `b` of all processes, rows in the loader's order, none twice; of a number, the mean over them."""
        b = to_detach(b, cpu=False, gather=False)
        return to_detach(apply(self._gather_value, b) if gather and self._step_index >= 0 else b, cpu=cpu, gather=False)

    # -- rows --------------------------------------------------------------------------------------

    def _count_kept_rows(self, rows: int) -> int:
        return rows - rows % (self.dl.bs * self.world_size) if self.dl.drop_last else rows

    def _shard_order(self, order: np.ndarray) -> List[List[np.ndarray]]:
        """Return each process's batches; store how many rows they have, and how many count: (processes, steps)."""
        rest: List[np.ndarray] = []
        if self.dl.is_reshuffled:
            shares = shard_batches(order, self.dl.bs, self.world_size, interleave=True)
        else:
            shares, rest = shard_batches_evenly(order, self.dl.bs, self.world_size)
        shares = [[*share, *rest] for share in shares]
        self._row_counts = np.array([[len(batch) for batch in share] for share in shares])
        self._counted_rows = self._row_counts.copy()
        self._counted_rows[1:, len(shares[0]) - len(rest) :] = 0
        return shares

    # -- what was found ----------------------------------------------------------------------------

    def _gather_value(self, found: Any) -> Any:
        if not isinstance(found, Tensor):
            return found
        found = found.as_subclass(Tensor)
        if found.dim() == 0:
            return self._gather_mean(found)
        return torch.cat(
            [part for part, real in zip(all_gather_rows(found), self._counted_rows[:, self._step_index]) if real]
        )

    def _gather_mean(self, found: Tensor) -> Tensor:
        """Return the mean over the rows of all processes, for fastai to weigh with this process's rows.

        fastai multiplies what it gets at a step by the rows that this process has there, and divides the sum by all
        that this process has had. That is the mean over all rows of all only if each step comes with the weight that
        it has among all: 1 unless the rows cannot be divided by the processes.
        """
        real = torch.as_tensor(self._counted_rows[:, self._step_index], dtype=torch.float64)
        values = torch.cat(all_gather_rows(found[None])).to(real)
        here = self._row_counts[self.rank]
        weight = (real.sum() / self.n) * (here.sum() / here[self._step_index])
        return ((values * real).sum() / real.sum() * weight).to(found)
