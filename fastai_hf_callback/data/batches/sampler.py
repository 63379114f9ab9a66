"""The length-bucketed sampler, for one process and for several: rows of similar length share a batch.

Imports numpy and torch.
"""

from typing import Iterator, List, Sequence, Tuple, Union

import numpy as np
import torch
from torch.utils.data import Sampler

from fastai_hf_callback.errors import InvalidInputError

__all__ = [
    "LengthBucketSampler",
    "shard_batches",
    "shard_batches_evenly",
    "global_batch_sizes",
    "sort_longest_first",
    "padding_ratio",
]

Rows = Union[Sequence[int], np.ndarray]

# Batches whose rows are sorted together: more waste less padding and mix less. On log-normal lengths (5 to 120 tokens,
# 32 rows) 25, 50 and 100 batches compute 1.09, 1.04 and 1.02 tokens per real token; docs/evidence/benchmarks.md has
# the figures from few rows to many, and the accuracy next to that of random batches.
WINDOW = 100


class LengthBucketSampler(Sampler):
    """Row numbers, reshuffled every epoch, in an order in which every `bs` of them are of similar length.

    Rows are drawn at random, cut into windows of `window` batches, sorted by length within each, and the batches are
    drawn at random. The batch with the longest row comes first, so that what does not fit into memory shows at once;
    the one short batch, if any, comes last. Randomness comes from torch's global generator.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each row.
    bs : int
        Rows per batch; the loader must cut the order at the same size.
    window : int
        Batches that are sorted together.
    """

    def __init__(self, lengths: Rows, bs: int, window: int = WINDOW):
        self.lengths, self.bs, self.window = np.asarray(lengths, dtype=np.int64), bs, window

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(self.draw().tolist())

    def draw(self) -> np.ndarray:
        """Draw the order of one epoch: every row number once, int64, (rows,)."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        batches = self._build_batches(torch.randperm(len(self)).numpy())
        last = [batches.pop()] if len(batches[-1]) < self.bs else []
        return np.concatenate(self._shuffle_batches(batches) + last)

    def _build_batches(self, rows: np.ndarray) -> List[np.ndarray]:
        batches = []
        for part in _split_into_windows(rows, self.bs, self.window):
            part = part[np.argsort(-self.lengths[part], kind="stable")]
            batches += [part[at : at + self.bs] for at in range(0, len(part), self.bs)]
        return batches

    def _shuffle_batches(self, batches: List[np.ndarray]) -> List[np.ndarray]:
        if not batches:
            return []
        longest = int(np.argmax([self.lengths[batch[0]] for batch in batches]))
        others = [batch for at, batch in enumerate(batches) if at != longest]
        return [batches[longest], *(others[at] for at in torch.randperm(len(others)).tolist())]


def _split_into_windows(rows: np.ndarray, bs: int, window: int) -> List[np.ndarray]:
    """Split `rows` into parts of about `window` whole batches; a small rest would be a badly sorted part of its own."""
    batches = -(-len(rows) // bs)
    parts = max(1, round(batches / window))
    cuts = [round(batches * part / parts) * bs for part in range(1, parts)]
    return np.split(rows, cuts)


def global_batch_sizes(rows: int, bs: int, world_size: int) -> List[int]:
    """Count the rows that `world_size` processes take together at each step: `bs` each, the rest at the last step.

    Parameters
    ----------
    rows : int
        At least `world_size`.
    bs : int
        Rows per batch and process.
    world_size : int
        Processes.

    Returns
    -------
    list of int
        They sum to `rows`, and each is at least `world_size`: no process is without a row, which would leave the
        others waiting for its gradients. Only where `bs` is 1 and `rows` no multiple of `world_size`, some take 2 rows
        at the last.

    Raises
    ------
    InvalidInputError
        When there are fewer rows than processes.
    """
    if rows < world_size:
        raise InvalidInputError(
            f"{rows} row(s) for {world_size} processes were given; expected at least one for each: start "
            f"fewer processes"
        )
    steps = min(-(-rows // (bs * world_size)), rows // world_size)
    sizes = [bs * world_size] * (steps - 1)
    rest = rows - sum(sizes)
    if rest < world_size:
        sizes[-1] -= world_size - rest
    return [*sizes, max(rest, world_size)]


def shard_batches(order: Rows, bs: int, world_size: int, interleave: bool = False) -> List[List[np.ndarray]]:
    """Deal the rows in `order` to `world_size` processes: the same number of batches for each, every row once.

    Parameters
    ----------
    order : sequence of int
        Rows, those of similar length together; at least `world_size`.
    bs, world_size : int
        As in :func:`global_batch_sizes`.
    interleave : bool
        Deal the rows of a step one by one, like cards, so that all processes have rows of the same lengths and none
        waits for the others; by default in one piece each, so that the pieces put together are `order` again.

    Returns
    -------
    list of list of ndarray of int64
        For each process its batches. What all take at one step is what one process would take with batches of
        ``bs * world``; the processes' shares of it differ by one row at most.

    Raises
    ------
    InvalidInputError
        When there are fewer rows than processes.
    """
    rows = np.asarray(order, dtype=np.int64)
    steps = np.split(rows, np.cumsum(global_batch_sizes(len(rows), bs, world_size))[:-1])
    if interleave:
        return [[step[rank::world_size] for step in steps] for rank in range(world_size)]
    return [list(shares) for shares in zip(*(np.array_split(step, world_size) for step in steps))]


def shard_batches_evenly(order: Rows, bs: int, world_size: int) -> Tuple[List[List[np.ndarray]], List[np.ndarray]]:
    """Deal the same number of rows to each process, and the rows that cannot be divided to all: for evaluation.

    Parameters
    ----------
    order : sequence of int
    bs, world_size : int
        As in :func:`global_batch_sizes`.

    Returns
    -------
    shares : list of list of ndarray of int64
        For each process its batches; at each step all have as many rows, and put together they follow `order`.
    rest : list of ndarray of int64
        Batches of the fewer than `world_size` rows that are left.
    """
    rows = np.asarray(order, dtype=np.int64)
    whole = len(rows) - len(rows) % world_size
    shares = shard_batches(rows[:whole], bs, world_size) if whole else [[] for _ in range(world_size)]
    return shares, [rows[at : at + bs] for at in range(whole, len(rows), bs)]


def sort_longest_first(lengths: Rows) -> np.ndarray:
    """Sort row numbers by falling length, int64, (rows,); rows of one length keep their order."""
    return np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")


def padding_ratio(lengths: Sequence[int], order: Sequence[int], bs: int) -> float:
    """Return tokens computed per real token when rows are taken in `order`, `bs` at a time, padded to the longest."""
    ordered = np.asarray(lengths)[np.asarray(order)]
    computed = sum(int(part.max()) * len(part) for part in (ordered[at : at + bs] for at in range(0, len(ordered), bs)))
    return computed / int(ordered.sum())
