"""The texts of a fastai 2 loader dealt to the processes of ``learn.distrib_ctx``, and what they find put together.

fastai's own ``DistributedDL`` knows nothing of lengths: it cuts the order at equal places, across the batches, repeats
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

from ..batching import dealt, joint_sizes
from ..ranks import agreed, gathered
from .bunch import TextLoader

__all__ = ["SharedLoader", "shared"]

NO_ROW = -1


def shared(learn: Learner) -> Any:
    """``learn.dl``, and inside ``distrib_ctx``, where it is a ``TextLoader``, this process's share of it."""
    if not any(isinstance(callback, DistributedTrainer) for callback in learn.cbs):
        return learn.dl
    loader = learn.dl.dl if type(learn.dl) is DistributedDL else learn.dl
    if not isinstance(loader, TextLoader):
        return learn.dl
    return SharedLoader(loader, device=next(learn.model.parameters()).device)


class SharedLoader(DistributedDL):
    """One process's share of a ``TextLoader``.

    All processes have the same number of batches. Together they see every row once, and at each step the rows that one
    process would with batches of ``bs * world_size``: of like length in each process where they are drawn, as process 0
    draws them; in the loader's own order otherwise. Where there are fewer rows than processes to predict, some predict
    a row that another has too, and what they find is thrown away.
    """

    def __len__(self) -> int:
        rows = self._kept(self.dl.n)
        return len(joint_sizes(max(rows, self.world_size) if rows else self.world_size, self.dl.bs, self.world_size))

    def get_idxs(self) -> List[int]:
        """This process's rows, each batch filled up to the same width: workers cut at equal places."""
        order = agreed(self.dl.joint_order(self.world_size))
        order = order[:self._kept(len(order))]
        self.n = len(order)
        few = 0 < self.n < self.world_size and not self.dl.is_drawn
        shares = dealt(np.resize(order, self.world_size) if few else order, self.dl.bs, self.world_size,
                       leveled=self.dl.is_drawn)
        self._rows = np.array([[len(batch) for batch in share] for share in shares])  # (processes, steps)
        self._real = (np.arange(self.world_size) < self.n)[:, None].astype(int) if few else self._rows
        self.bs = int(self._rows.max())
        return [int(row) for batch in shares[self.rank]
                for row in np.pad(batch, (0, self.bs - len(batch)), constant_values=NO_ROW)]

    def create_batches(self, samps: Any) -> Iterator[Any]:
        for slots in chunked(samps, self.bs):
            yield self.dl.do_batch([self.dl.do_item(row) for row in slots if row != NO_ROW])

    def before_iter(self) -> None:
        super().before_iter()
        self._step = -1

    def after_batch(self, b: Any) -> Any:
        self._step += 1
        return super().after_batch(b)

    def to_detach(self, b: Any, cpu: bool = True, gather: bool = True) -> Any:
        """`b` of all processes, its rows in the order of the loader, none twice; a number as the mean over them."""
        b = to_detach(b, cpu=False, gather=False)
        return to_detach(apply(self._of_all, b) if gather and self._step >= 0 else b, cpu=cpu, gather=False)

    _step = -1

    def _kept(self, rows: int) -> int:
        return rows - rows % (self.dl.bs * self.world_size) if self.dl.drop_last else rows

    def _of_all(self, found: Any) -> Any:
        if not isinstance(found, Tensor):
            return found
        found = found.as_subclass(Tensor)
        if found.dim() == 0:
            return self._mean_of_all(found)
        return torch.cat([part for part, real in zip(gathered(found), self._real[:, self._step]) if real])

    def _mean_of_all(self, found: Tensor) -> Tensor:
        """The mean over the rows of all processes, for fastai to weigh with this process's rows.

        fastai multiplies what it gets at a step by the rows that this process has there, and divides the sum by all
        that this process has had. That is the mean over all rows of all only if each step comes with the weight that
        it has among all: 1 unless the rows cannot be divided by the processes.
        """
        real = torch.as_tensor(self._real[:, self._step], dtype=torch.float64)
        values = torch.cat(gathered(found[None])).to(real)
        here = self._rows[self.rank]
        weight = (real.sum() / self.n) * (here.sum() / here[self._step])
        return ((values * real).sum() / real.sum() * weight).to(found)
