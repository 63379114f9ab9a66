"""One run per task on real texts with real weights, a predictor that never reads the text beside each.

    python benchmarks/real_runs.py TEXTS_FOLDER MODEL_FOLDER [--only sst2,stsb] [--rows 2000] [--epochs 2] [--out FILE]

The texts are four public data sets as CSV files (columns below); neither they nor the weights are part of this
project.
"""

import argparse
import platform
import time
import warnings
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

import numpy as np
import pandas as pd
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.metrics import accuracy
    from fastai.train import Learner

from fastai_hf_callback import (
    ColumnwiseAUC,
    HFCallback,
    HFModel,
    accuracy_thresh,
    layer_groups,
    ordered_preds,
    text_data,
)
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from fastai_hf_callback.model.metrics import mean_columnwise_auc
from fastai_hf_callback.model.pretrained import load_pretrained
from fastai_hf_callback.utils.rng import seed_everything


class Run(NamedTuple):
    """A data set, and how it is read."""

    what: str
    train: str
    valid: Any
    columns: Dict[str, Any]
    metrics: List[Any]
    max_length: int = 128


RUNS = {
    "jigsaw": Run(
        "Jigsaw comments, six labels",
        "jigsaw_train_3000.csv.gz",
        0.2,
        dict(text="comment_text", labels=["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]),
        [accuracy_thresh, ColumnwiseAUC()],
    ),
    "sst2": Run(
        "SST-2 sentences, two classes",
        "sst2_sent_train.csv.gz",
        "sst2_dev.csv.gz",
        dict(text="sentence", labels="label"),
        [accuracy],
    ),
    "agnews": Run(
        "AG News, four classes by name", "agnews_dev_alps.csv.gz", 0.2, dict(text="text", labels="label"), [accuracy]
    ),
    "stsb": Run(
        "STS-B, pairs of sentences, a score from 0 to 5",
        "stsb_train.csv.gz",
        "stsb_dev.csv.gz",
        dict(text="sentence1", text_pair="sentence2", labels="score"),
        [],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path)
    parser.add_argument("model")
    parser.add_argument("--only", help="some of: " + ", ".join(RUNS))
    parser.add_argument("--rows", type=int, help="train on the first so many")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--bs", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} thread(s)")
    for name in arguments.only.split(",") if arguments.only else RUNS:
        line = one(RUNS[name], arguments)
        print(line, flush=True)
        if arguments.out:
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def one(run: Run, arguments: argparse.Namespace) -> str:
    """Train and validate one run; a line of a Markdown table."""
    seed_everything(arguments.seed)
    source = load_pretrained(arguments.model)
    train = pd.read_csv(arguments.texts / run.train)
    valid = run.valid if isinstance(run.valid, float) else pd.read_csv(arguments.texts / run.valid)
    data = text_data(
        train[: arguments.rows],
        valid,
        source.tokenizer,
        **run.columns,
        bs=arguments.bs,
        max_length=run.max_length,
        device=torch.device("cpu"),
        progress=False,
    )
    model = HFModel(source.make_model(data.c), inputs=data.inputs)
    learn = Learner(data, model, metrics=run.metrics, callbacks=[HFCallback()]).split(layer_groups)
    started = time.process_time()
    with no_progress(learn):
        learn.fit_one_cycle(arguments.epochs, slice(arguments.lr / 10, arguments.lr))
    seconds = time.process_time() - started
    losses = " > ".join(f"{loss:.3f}" for loss in learn.recorder.val_losses)
    preds, targets = ordered_preds(learn)
    scored, baseline = score(preds, targets, data.train_ds)
    rows = len(data.train_ds)
    return (
        f"| {run.what} | {rows:,} / {len(targets):,} | {arguments.epochs} | {losses} | {scored} | {baseline} | "
        f"{arguments.epochs * rows / seconds:.1f} |"
    )


def score(preds: torch.Tensor, targets: torch.Tensor, train_ds: Any) -> Any:
    """What the task is judged by, and the same of a predictor that never reads the text."""
    if targets.dim() == 2:
        said = torch.full_like(targets, 0)
        auc, right = mean_columnwise_auc(preds, targets), accuracy_thresh(preds, targets, sigmoid=False)
        return (
            f"mean AUC {auc:.4f}, accuracy_thresh {right:.4f}",
            f"0.5, {float(accuracy_thresh(said, targets, sigmoid=False)):.4f}",
        )
    if targets.is_floating_point():
        mean = float(np.mean([y.data for y in train_ds.y]))
        return (
            f"Pearson {pearson(preds[:, 0], targets):.4f}, MSE {float(((preds[:, 0] - targets) ** 2).mean()):.4f}",
            f"0, {float(((mean - targets) ** 2).mean()):.4f}",
        )
    most = torch.bincount(torch.as_tensor([int(y.data) for y in train_ds.y])).argmax()
    return (
        f"accuracy {float((preds.argmax(1) == targets).float().mean()):.4f}",
        f"{float((targets == most).float().mean()):.4f}",
    )


def pearson(a: torch.Tensor, b: torch.Tensor) -> Optional[float]:
    return float(np.corrcoef(a.numpy(), b.numpy())[0, 1])


if __name__ == "__main__":
    main()
