"""Real weights out of a bf16 folder and out of the same in float32, on real texts; and LoRA's saved folder elsewhere.

    python benchmarks/half_precision_runs.py TEXTS_FOLDER MODEL_FOLDER [--seeds 5] [--rows 800] [--tasks sst2 stsb]
        [--out FILE]

TEXTS_FOLDER holds SST-2 and STS-B as ``benchmarks/real_runs.py`` reads them, MODEL_FOLDER a BERT's config.json, weights
and vocab.txt; neither is part of this project. Needs fastai 2, transformers 5 and peft. Ends with 1 where the mean
difference of the two precisions, seed by seed, is above two standard errors, where either learned too little to tell
(it must score at least LEARNED above a constant), or LoRA's folder predicts otherwise.
"""

import argparse
import platform
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Dict, List, NamedTuple, Tuple

import fastai.callback.schedule  # noqa: F401  fit_one_cycle is on Learner once this is imported
import pandas as pd
import peft
import torch
import transformers
from fastai.learner import Learner
from torch import Tensor

from fastai_hf_callback import HFCallback, HFModel, layer_groups, ordered_preds, text_data
from fastai_hf_callback.fastai2.compat.no_progress import no_progress
from fastai_hf_callback.utils.rng import seed_everything

BATCH, MAX_LENGTH, RATE, LORA_RATE, EPOCHS = 32, 64, 3e-4, 1e-3, 2
LORA_LIMIT = 1e-5
LEARNED = 0.1
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


class Task(NamedTuple):
    """A data set, and what it is judged by: the higher, the better."""

    what: str
    files: Tuple[str, str]
    columns: Dict[str, Any]
    score: Any
    constant: float


def share_right(predictions: Tensor, targets: Tensor) -> float:
    return float((predictions.argmax(1) == targets).float().mean())


def correlation(predictions: Tensor, targets: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([predictions.flatten().float(), targets.flatten().float()]))[0, 1])


TASKS = {
    "sst2": Task(
        "SST-2, accuracy",
        ("sst2_sent_train.csv.gz", "sst2_dev.csv.gz"),
        dict(text="sentence", labels="label"),
        share_right,
        0.5,
    ),
    "stsb": Task(
        "STS-B, Pearson's r",
        ("stsb_train.csv.gz", "stsb_dev.csv.gz"),
        dict(text="sentence1", text_pair="sentence2", labels="score"),
        correlation,
        0.0,
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", choices=sorted(TASKS), default=list(TASKS))
    parser.add_argument("--rows", type=int, default=800, help="train on the first so many; half as many are validated")
    parser.add_argument("--out", type=Path, help="write what is printed there too")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        folders = write_folders(arguments.model, Path(work))
        text, fine = report(arguments, folders, Path(work))
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    return 0 if fine else 1


def write_folders(model: Path, work: Path) -> Dict[str, Path]:
    """Write the same weights in each precision."""
    body = transformers.AutoModel.from_pretrained(model, dtype=torch.float32)
    for name, dtype in DTYPES.items():
        body.to(dtype).save_pretrained(work / name)
    return {name: work / name for name in DTYPES}


def report(arguments: argparse.Namespace, folders: Dict[str, Path], work: Path) -> Tuple[str, bool]:
    tokenizer = transformers.BertTokenizer(str(arguments.model / "vocab.txt"))
    lines, fine = head(arguments), True
    for task in (TASKS[name] for name in arguments.tasks):
        data = load(task, tokenizer, arguments)
        started = time.process_time()
        scores = {
            name: [judged(task, train(data, folder, seed)) for seed in range(arguments.seeds)]
            for name, folder in folders.items()
        }
        line, within = compared(task, scores)
        apart = lora_apart(data, folders["bf16"], work / "adapter")
        lines.append(f"{line} {apart:.1e} | {(time.process_time() - started) / 60:.1f} |")
        print(lines[-1], file=sys.stderr, flush=True)
        fine = fine and within and apart <= LORA_LIMIT
    return "\n".join(lines), fine


def head(arguments: argparse.Namespace) -> List[str]:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "fastai", "transformers", "peft"))
    return [
        "# Real weights out of a half-precision folder",
        "",
        f"`python benchmarks/{Path(__file__).name}` · Python {platform.python_version()}, {packages}, one thread. "
        f"{arguments.rows} rows to train on for {EPOCHS} epochs, {arguments.rows // 2} to validate, {arguments.seeds} "
        "seeds.",
        "",
        "Each seed trains out of the float32 folder and out of the bf16 one, all else equal. *LoRA*: trained out of "
        "the bf16 folder; the largest difference between the learner's predictions and those of its saved folder on "
        "the untouched base.",
        "",
        "| task | float32, mean | bf16, mean | difference | its standard error | within two | LoRA | CPU minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]


def compared(task: Task, scores: Dict[str, List[float]]) -> Tuple[str, bool]:
    """Return the begin of a line of the table, and whether both learned and differ by two standard errors at most."""
    differences = [half - full for half, full in zip(scores["bf16"], scores["float32"])]
    error = stdev(differences) / len(differences) ** 0.5
    learned = min(map(mean, scores.values())) >= task.constant + LEARNED
    within = learned and (abs(mean(differences)) <= 2 * error or not any(differences))
    line = (
        f"| {task.what} | {mean(scores['float32']):.4f} | {mean(scores['bf16']):.4f} | {mean(differences):+.4f} | "
        f"{error:.4f} | {'yes' if within else 'NO' if learned else 'NO: learned too little to tell'} |"
    )
    return line, within


# -- one run -----------------------------------------------------------------------------------------------------------


def load(task: Task, tokenizer: Any, arguments: argparse.Namespace) -> Any:
    train, valid = (pd.read_csv(arguments.texts / name).sample(frac=1, random_state=0) for name in task.files)
    return text_data(
        train[: arguments.rows],
        valid[: arguments.rows // 2],
        tokenizer,
        **task.columns,
        bs=BATCH,
        max_length=MAX_LENGTH,
        device=torch.device("cpu"),
        progress=False,
    )


def load_model(data: Any, folder: Path, seed: int, **settings: Any) -> Any:
    """Load the body, in its own precision, with a new head, the same for the same seed."""
    torch.manual_seed(seed)
    return transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=data.c, **settings)


def train(data: Any, folder: Path, seed: int, lora: bool = False) -> Learner:
    """Train as the quick start has it."""
    model = load_model(data, folder, seed)
    if lora:
        model = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", r=8, target_modules=["query", "value"]))
    learn = Learner(data, HFModel(model, inputs=data.inputs), cbs=[HFCallback()], splitter=layer_groups)
    with no_progress(learn):
        seed_everything(seed)
        learn.fit_one_cycle(EPOCHS, LORA_RATE if lora else RATE)
    return learn


def judged(task: Task, learn: Learner) -> float:
    return task.score(*predict(learn))


def predict(learn: Learner) -> Tuple[Tensor, Tensor]:
    with no_progress(learn):
        return ordered_preds(learn)


def lora_apart(data: Any, folder: Path, saved: Path) -> float:
    """Return how far the saved adapter on its untouched base is from the learner that saved it, both in float32."""
    learn = train(data, folder, 0, lora=True)
    learn.model.float()  # a bf16 base elsewhere would round the head, which was trained in float32
    learn.model.save_pretrained(saved)
    model = peft.PeftModel.from_pretrained(load_model(data, folder, 1, dtype=torch.float32), saved)
    elsewhere = Learner(data, HFModel(model, inputs=data.inputs), cbs=[HFCallback()])
    return float((predict(learn)[0] - predict(elsewhere)[0]).abs().max())


if __name__ == "__main__":
    sys.exit(main())
