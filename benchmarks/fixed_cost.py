"""What the callback costs on fastai 1: time per batch over a nearly free model, and peak memory.

    python benchmarks/fixed_cost.py [--rounds 60] [--batches 100] [--out docs/fixed-cost.md]

Arms take turns within each round, in a new order each time; figures are medians of wall time
per batch, ratios are medians of the rounds' ratios. Peak memory is that of a process of its own per arm and turn.
"""
import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import time
import warnings
from contextlib import ExitStack, nullcontext
from operator import itemgetter
from pathlib import Path
from statistics import median

import torch
from torch import nn
from torch.utils.data import TensorDataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DataBunch
    from fastai.callback import Callback
    from fastai.train import Learner

from fastai_hf_callback import HFCallback, patched_loop
from fastai_hf_callback.fastai1.quiet import quiet

BATCH = 4


class NearlyFree(nn.Module):
    """One matrix product, and a tuple like a Hugging Face model's."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x), None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--batches", type=int, default=100, help="of the one fit per arm and round")
    parser.add_argument("--turns", type=int, default=5, help="processes per arm for peak memory")
    parser.add_argument("--memory-of", choices=("patched", "callback"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(json.dumps(peak_memory(arguments.memory_of)))
        return
    page = report(fixed_costs(arguments.rounds, arguments.batches), peaks(arguments.turns), arguments)
    print(page)
    if arguments.out:
        arguments.out.write_text(page + "\n", encoding="utf-8")


# -- time -----------------------------------------------------------------------------------------------------


ARMS = {"patched": (True, []), "patched + no-op callback": (True, [Callback]),
        "patched + no-op callback, again": (True, [Callback]), "callback": (False, [HFCallback])}


def fixed_costs(rounds, batches):
    """Microseconds per batch: arm -> the median of each round's batches."""
    learners = {arm: learner(batches, [make() for make in callbacks]) for arm, (_, callbacks) in ARMS.items()}
    for arm, learn in learners.items():
        timed(arm, learn)  # warm
    found, order = {arm: [] for arm in ARMS}, list(ARMS)
    for _ in range(rounds):
        random.shuffle(order)
        for arm in order:
            found[arm].append(timed(arm, learners[arm]))
    return found


class Ready(list):
    """Batches made beforehand; notes when each is asked for."""

    def __getitem__(self, i):
        self.asked.append(time.perf_counter_ns())
        return super().__getitem__(i)


def learner(batches, callbacks):
    ready = Ready((torch.randn(BATCH, 4), torch.randint(0, 2, (BATCH,))) for _ in range(batches))
    bunch = DataBunch.create(ready, ready, bs=1, num_workers=0, device=torch.device("cpu"), pin_memory=False,
                             collate_fn=itemgetter(0), no_check=True)
    bunch.valid_dl = None
    return Learner(bunch, NearlyFree(), loss_func=nn.CrossEntropyLoss(), callbacks=callbacks)


def timed(arm, learn):
    with ExitStack() as stack:
        stack.enter_context(quiet(learn))
        stack.enter_context(patched_loop() if ARMS[arm][0] else nullcontext())
        batches = learn.data.train_dl.dl.dataset
        batches.asked = []
        learn.fit(1, 1e-3)
        # Between one batch and the next; the median leaves out what else the machine did, and the look at the first.
        return median(b - a for a, b in zip(batches.asked, batches.asked[1:])) / 1e3


# -- memory ---------------------------------------------------------------------------------------------------


def peaks(turns):
    """Peak resident memory in MiB: arm -> a figure per process."""
    # glibc keeps freed blocks as it pleases, 150 MiB more or less from run to run. With blocks above 64 KiB
    # mapped and unmapped one by one, what is resident is what is alive.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1",
                   "MALLOC_MMAP_MAX_": "1000000"}
    found = {"patched": [], "patched, again": [], "callback": []}
    for _ in range(turns):
        for arm in found:
            done = subprocess.run([sys.executable, "-W", "ignore", __file__, "--memory-of", arm.split(",")[0]],
                                  check=True, stdout=subprocess.PIPE, env=environment)
            found[arm].append(json.loads(done.stdout.splitlines()[-1]))
    return found


def peak_memory(arm):
    from pytorch_transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(1000, hidden_size=128, num_hidden_layers=6, num_attention_heads=4, intermediate_size=512,
                        max_position_embeddings=128, num_labels=2)
    config.output_hidden_states = config.output_attentions = True
    data = TensorDataset(torch.randint(5, 1000, (96, 128)), torch.randint(0, 2, (96,)))
    bunch = DataBunch.create(data, data, bs=16, num_workers=0, device=torch.device("cpu"), pin_memory=False)
    callbacks = [HFCallback()] if arm == "callback" else []
    learn = Learner(bunch, BertForSequenceClassification(config), loss_func=nn.CrossEntropyLoss(), callbacks=callbacks)
    with quiet(learn), patched_loop() if arm == "patched" else nullcontext():
        learn.fit(2, 1e-4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# -- the page -------------------------------------------------------------------------------------------------


def report(costs, memory, arguments):
    base = costs["patched + no-op callback"]
    lines = ["# Fixed cost of the callback on fastai 1", "",
             f"`python {Path(__file__).parent.name}/{Path(__file__).name} --rounds {arguments.rounds} --batches "
             f"{arguments.batches}` · Python {platform.python_version()}, torch {torch.__version__}, "
             f"{torch.get_num_threads()} thread(s), {platform.machine()}", "",
             f"A nearly free model, {arguments.rounds * arguments.batches} batches of {BATCH} per arm, arms in turns; "
             f"wall time from one batch to the next, the median of each round of {arguments.batches}.", "",
             "| arm | µs per batch, median | lowest - highest round | ÷ (patched + no-op callback), median of rounds |",
             "|---|---|---|---|"]
    for arm, figures in costs.items():
        ratio = median(a / b for a, b in zip(figures, base))
        lines.append(f"| {arm} | {median(figures):.1f} | {min(figures):.1f} - {max(figures):.1f} | {ratio:.3f} |")
    lines += ["", "Peak memory of a process that trains a BERT of six layers returning all hidden states and "
              f"attentions, {arguments.turns} processes per arm, freed blocks given back at once:", "",
              "| arm | MiB, median | lowest - highest | ÷ patched |", "|---|---|---|---|"]
    for arm, figures in memory.items():
        lines.append(f"| {arm} | {median(figures):.1f} | {min(figures):.1f} - {max(figures):.1f} | "
                     f"{median(figures) / median(memory['patched']):.4f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
