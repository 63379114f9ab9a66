"""Loaders that deal the texts of a fastai 1 ``DataBunch`` to the processes of ``learn.to_distributed``.

fastai puts a ``DistributedSampler`` into each loader while a fit lasts. It ignores lengths, does not shuffle where the
loader has a sampler of its own, and repeats rows until they can be divided.
"""

from typing import Any, Iterator, List, Sequence

from fastai.basic_data import DeviceDataLoader
from torch.utils.data import Sampler
from torch.utils.data.distributed import DistributedSampler

from fastai_hf_callback.data.batches.sampler import LengthBucketSampler, global_batch_sizes, shard_batches
from fastai_hf_callback.utils.distributed import broadcast_order, rank, world_size

__all__ = ["ShardedLengthBucketSampler", "TextLoader"]


class ShardedLengthBucketSampler(Sampler):
    """This process's length-bucketed batches of rows, reshuffled every epoch: see ``sampler.shard_batches``.

    All processes must begin an epoch together: process 0 sends the others the order that it has drawn.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each row.
    bs : int
        Rows per batch and process.
    """

    def __init__(self, lengths: Sequence[int], bs: int):
        self.world_size, self.bs = world_size(), bs
        self.buckets = LengthBucketSampler(lengths, bs * self.world_size)
        self.steps = len(global_batch_sizes(len(self.buckets), bs, self.world_size))

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[List[int]]:
        # A generator, as torch's own batch samplers: it draws after the loader has, as in one process.
        for batch in shard_batches(broadcast_order(self.buckets.draw()), self.bs, self.world_size, interleave=True)[
            rank()
        ]:
            yield batch.tolist()


class TextLoader(DeviceDataLoader):
    """fastai's loader, which shares its rows where they are length-bucketed, and keeps all of them elsewhere.

    So each process validates on the whole set: fastai 1 puts no metrics together.
    """

    def new(self, **kwargs: Any) -> "TextLoader":
        """Make a new loader as fastai does; a ``DistributedSampler`` means only that the rows are to be shared."""
        if isinstance(kwargs.get("sampler"), DistributedSampler):
            kwargs["sampler"] = None
            buckets = self.dl.sampler
            if isinstance(buckets, LengthBucketSampler):
                kwargs.update(
                    batch_sampler=ShardedLengthBucketSampler(buckets.lengths, buckets.bs), batch_size=1, drop_last=False
                )
        made = super().new(**kwargs)
        return type(self)(made.dl, made.device, made.tfms, made.collate_fn)
