"""What the processes of a distributed run compute, and how long they wait.

No process is started and no model runs: texts are lengths (log-normal, 5 to 120 tokens), dealt by ``text_data`` and as
fastai's own samplers deal them. A step takes as long as its widest batch.
"""

import argparse

import numpy as np
import torch
from torch.utils.data.distributed import DistributedSampler

from fastai_hf_callback.data.batches.sampler import LengthBucketSampler, shard_batches


def log_normal(rows, seed=0):
    drawn = np.random.RandomState(seed).lognormal(3.2, 0.7, rows)
    return np.clip(drawn, 5, 120).astype(int)


def batches(order, bs):
    return [order[at : at + bs] for at in range(0, len(order), bs)]


def text_data(lengths, bs, world):
    return shard_batches(LengthBucketSampler(lengths, bs * world).draw(), bs, world, interleave=True)


def fastai_2_around_buckets(lengths, bs, world):
    """``DistributedDL`` around a loader that draws batches of like length: one piece of the order for each."""
    order = LengthBucketSampler(lengths, bs).draw()
    padded = np.concatenate([order, order[: -len(order) % world]])
    return [batches(piece, bs) for piece in np.split(padded, world)]


def fastai_1(lengths, bs, world):
    """``DistributedTrainer``, which puts torch's own sampler in the place of the loader's."""
    samplers = [DistributedSampler(range(len(lengths)), world, rank) for rank in range(world)]
    return [batches(np.array(list(sampler)), bs) for sampler in samplers]


ARMS = {"text_data": text_data, "fastai 2's DistributedDL": fastai_2_around_buckets, "fastai 1's sampler": fastai_1}


def figures(lengths, shares):
    computed = np.array([[lengths[batch].max() * len(batch) for batch in share] for share in shares])
    real = int(lengths.sum())
    rows = sum(len(batch) for share in shares for batch in share)
    return computed.sum() / real, computed.max(0).sum() * len(shares) / real, rows - len(lengths)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_001)
    parser.add_argument("--bs", type=int, default=32)
    config = parser.parse_args()
    lengths = log_normal(config.rows)
    print(f"{config.rows} texts, {int(lengths.sum())} tokens, batches of {config.bs} in each process\n")
    print(
        "| processes | dealt by | tokens computed per real token | time of an epoch ÷ without padding or waiting "
        "| rows read twice |\n|---|---|---|---|---|"
    )
    for world in (1, 2, 8, 64):
        for name, arm in ARMS.items():
            torch.manual_seed(0)
            padding, time, twice = figures(lengths, arm(lengths, config.bs, world))
            print(f"| {world} | {name} | {padding:.3f} | {time:.3f} | {twice} |")


if __name__ == "__main__":
    main()
