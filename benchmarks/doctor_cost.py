"""What the doctor costs on fastai 1: ``Doctor`` over an epoch of a MiniLM-sized model, and ``diagnose`` once.

    python benchmarks/doctor_cost.py [--rounds 5] [--steps 120] [--out docs/doctor-cost.md]

Arms take turns within each round; figures are process CPU time of whole fits, ratios are those of one round. Whole fits
differ by percents from run to run on a shared machine, so the doctor's own share is taken too: the time spent inside
its methods, of the same fit. The weights after each fit are compared bit for bit.
"""
import argparse
import platform
import random
import time
import warnings
from pathlib import Path
from statistics import median

import torch
from torch import nn
from torch.utils.data import TensorDataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DataBunch
    from fastai.metrics import accuracy
    from fastai.train import Learner
    from pytorch_transformers import BertConfig, BertForSequenceClassification

from fastai_hf_callback import Doctor, HFCallback, HFModel, diagnose
from fastai_hf_callback.fastai1.quiet import quiet
from fastai_hf_callback.rng import seed_everything

ROWS, LENGTH, VOCAB = 16, 48, 30522
ARMS = ("alone", "alone, again", "doctor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=120, help="of an epoch")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    seconds, shares, same = fits(arguments.rounds, arguments.steps)
    page = report(seconds, shares, same, diagnoses(3, arguments.steps), arguments)
    print(page)
    if arguments.out:
        arguments.out.write_text(page + "\n", encoding="utf-8")


def learner(steps):
    """MiniLM's size: BERT of 6 layers, 384 wide, 22.7 million weights; texts of 5 to 48 tokens, masked."""
    config = BertConfig(VOCAB, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
                        max_position_embeddings=512)
    config.num_labels = 2
    lengths = torch.randint(5, LENGTH + 1, (steps * ROWS,))
    ids = torch.randint(1000, VOCAB, (steps * ROWS, LENGTH))
    mask = (torch.arange(LENGTH)[None] < lengths[:, None]).long()
    ids = ids * mask
    targets = (ids[:, 1] % 2).long()
    train, valid = (TensorDataset(ids[part], mask[part], targets[part]) for part in (slice(None), slice(0, ROWS)))
    bunch = DataBunch.create(train, valid, bs=ROWS, num_workers=0, device=torch.device("cpu"), pin_memory=False,
                             no_check=True, collate_fn=collate)
    return Learner(bunch, HFModel(BertForSequenceClassification(config), ("input_ids", "attention_mask"), pad_id=0),
                   loss_func=nn.CrossEntropyLoss(), metrics=[accuracy], callbacks=[HFCallback()])


def collate(rows):
    ids, mask, targets = (torch.stack(column) for column in zip(*rows))
    return [ids, mask], targets


def fits(rounds, steps):
    """CPU seconds of an epoch: arm -> one per round; the doctor's share of each; whether all weights came out equal."""
    found, order, weights, shares = {arm: [] for arm in ARMS}, list(ARMS), [], []
    for _ in range(rounds):
        random.shuffle(order)
        for arm in order:
            seed_everything(1)
            learn = learner(steps)
            if arm == "doctor":
                learn.callbacks.append(TimedDoctor(learn, say=lambda text: None))
            started = time.process_time()
            with quiet(learn):
                learn.fit(1, 2e-5)
            found[arm].append(time.process_time() - started)
            if arm == "doctor":
                shares.append(learn.callbacks[-1].seconds / found[arm][-1])
            weights.append(float(sum(p.detach().double().sum() for p in learn.model.parameters())))
    return found, shares, len(set(weights)) == 1


class TimedDoctor(Doctor):
    """A doctor that adds up the CPU time of its own methods."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seconds = 0.0
        for name in dir(Doctor):
            if name.startswith("on_"):
                setattr(self, name, self._timed(getattr(self, name)))

    def _timed(self, method):
        def timed(**kwargs):
            started = time.process_time()
            try:
                return method(**kwargs)
            finally:
                self.seconds += time.process_time() - started
        return timed


def diagnoses(times, steps):
    """Wall seconds of ``diagnose`` on the same learner."""
    learn, found = learner(steps), []
    for _ in range(times):
        started = time.perf_counter()
        diagnose(learn)
        found.append(time.perf_counter() - started)
    return found


def report(seconds, shares, same, once, arguments):
    lines = ["# What the doctor costs on fastai 1", "",
             f"`python benchmarks/{Path(__file__).name} --rounds {arguments.rounds} --steps {arguments.steps}` · "
             f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} thread(s), "
             f"{platform.machine()}", "",
             f"An epoch of {arguments.steps} batches of {ROWS} x {LENGTH} tokens through a BERT of MiniLM's size "
             f"(22.7 million weights), arms in turns, process CPU time.", "",
             "| arm | seconds, median | lowest - highest | ÷ alone, median of rounds | worst round |",
             "|---|---|---|---|---|"]
    for arm, figures in seconds.items():
        ratios = [a / b for a, b in zip(figures, seconds["alone"])]
        lines.append(f"| {arm} | {median(figures):.2f} | {min(figures):.2f} - {max(figures):.2f} | "
                     f"{median(ratios):.4f} | {max(ratios):.4f} |")
    lines += ["", f"Inside the doctor's own methods: {median(shares):.2%} of the fit's time, "
                  f"{min(shares):.2%} - {max(shares):.2%} in {len(shares)} fits."]
    lines += ["", f"Weights after the epochs: {'equal in all of them' if same else 'NOT EQUAL'} (sums in float64).", "",
              f"`diagnose(learn)` on the same learner: {median(once):.1f} s, {min(once):.1f} - {max(once):.1f} s in "
              f"{len(once)} turns (wall time)."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
