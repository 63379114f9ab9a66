"""text_data against the article's recipe on the same texts: tokenising, padding, training, predicting.

    python benchmarks/recipe_speed.py --csv FILE --model FOLDER [--text comment_text] [--labels a,b] [--out FILE]

`--model` is a BERT's folder (config.json, weights, vocab.txt). Arms take turns within each round; ratios are those of
one round. Tokenising is wall time, since the recipe works in several processes; training and predicting are CPU time.
"""

import argparse
import platform
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DatasetType, DeviceDataLoader
    from fastai.text import Tokenizer, Vocab
    from fastai.train import Learner
    from pytorch_transformers import BertForSequenceClassification, BertTokenizer

from fastai_hf_callback import HFCallback, HFModel, ordered_preds, text_data
from fastai_hf_callback.data.batches.sampler import LengthBucketSampler, padding_ratio
from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from fastai_hf_callback.fastai1.data.loaders import ItemCollator
from fastai_hf_callback.utils.rng import seed_everything

sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "article"))
from recipe import FastAiBertTokenizer

MAX_LEN, BS = 128, 32
FIXED = f"fixed {MAX_LEN}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", default="comment_text")
    parser.add_argument("--labels", default="toxic,severe_toxic,obscene,threat,insult,identity_hate")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=640, help="to train and to predict in the timed epochs")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    frame = pd.read_csv(arguments.csv)
    page = "\n".join(
        [
            "# text_data against the article's recipe",
            "",
            f"`python benchmarks/{Path(__file__).name} --csv {Path(arguments.csv).name} --rounds "
            f"{arguments.rounds} --rows "
            f"{arguments.rows}` · Python {platform.python_version()}, torch {torch.__version__}, "
            f"{torch.get_num_threads()} thread(s), {platform.machine()}",
            "",
            *tokenising(frame[arguments.text].tolist(), arguments),
            "",
            *padding(frame, arguments),
            "",
            *training(frame, arguments),
        ]
    )
    print(page)
    if arguments.out:
        arguments.out.write_text(page + "\n", encoding="utf-8")


def turns(arms, rounds, clock):
    """Seconds of each arm, one per round, the arms in a drawn order."""
    seconds, names = {name: [] for name in arms}, list(arms)
    for _ in range(rounds):
        for at in np.random.permutation(len(names)):
            started = clock()
            arms[names[at]]()
            seconds[names[at]].append(clock() - started)
    return seconds


def table(what, seconds, base, rows):
    lines = [
        f"| {what} | seconds, median | lowest - highest | rows per second | {base} ÷ this, median of rounds |",
        "|---|---|---|---|---|",
    ]
    for name, figures in seconds.items():
        ratio = median(b / a for a, b in zip(figures, seconds[base]))
        lines.append(
            f"| {name} | {median(figures):.2f} | {min(figures):.2f} - {max(figures):.2f} | "
            f"{rows / median(figures):.1f} | {ratio:.2f} |"
        )
    return lines


def tokenising(texts, arguments):
    slow = BertTokenizer.from_pretrained(arguments.model)
    arms = {
        "the recipe": partial(recipe_ids, slow, texts),
        "TextEncoder, slow tokenizer": lambda: TextEncoder(slow, MAX_LEN).encode(texts),
    }
    try:
        from transformers import BertTokenizerFast

        fast = BertTokenizerFast(str(Path(arguments.model) / "vocab.txt"))
        arms["TextEncoder, fast tokenizer"] = lambda: TextEncoder(fast, MAX_LEN).encode(texts)
    except ImportError:
        pass
    same = [row.input_ids.tolist() for row in TextEncoder(slow, MAX_LEN).encode(texts)] == [
        list(row) for row in recipe_ids(slow, texts)
    ]
    return [
        f"## Tokenising {len(texts):,} texts",
        "",
        *table("arm", turns(arms, 2 * arguments.rounds + 1, time.perf_counter), "the recipe", len(texts)),
        "",
        f"The slow tokenizer's ids equal the recipe's: {same}.",
    ]


def recipe_ids(tokenizer, texts):
    """What `TextDataBunch.from_df` does to texts, in fastai's own processes."""
    vocabulary = Vocab(list(tokenizer.vocab.keys()))
    split = Tokenizer(tok_func=FastAiBertTokenizer(tokenizer, max_seq_len=MAX_LEN), pre_rules=[], post_rules=[])
    return [vocabulary.numericalize(tokens) for tokens in split.process_all(texts)]


def make_data(frame, arguments):
    tokenizer = BertTokenizer.from_pretrained(arguments.model)
    return text_data(
        frame,
        0.2,
        tokenizer,
        text=arguments.text,
        labels=arguments.labels.split(","),
        bs=BS,
        max_length=MAX_LEN,
        device=torch.device("cpu"),
        progress=False,
    )


def padding(frame, arguments):
    data = make_data(frame, arguments)
    lengths = data.train_ds.x.lengths
    shares = {
        "text_data": [padding_ratio(lengths, LengthBucketSampler(lengths, BS).draw(), BS) for _ in range(5)],
        "padded to the longest of a random batch": [
            padding_ratio(lengths, np.random.permutation(len(lengths)), BS) for _ in range(5)
        ],
        FIXED: [MAX_LEN * len(lengths) / lengths.sum()],
    }
    return [
        f"## Tokens computed per real token, {len(lengths):,} training rows of at most {MAX_LEN} tokens",
        "",
        "| arm | mean of five epochs |",
        "|---|---|",
        *(f"| {name} | {np.mean(share):.3f} |" for name, share in shares.items()),
    ]


def training(frame, arguments):
    frame = frame[: int(arguments.rows / 0.8)]
    data = make_data(frame, arguments)
    valid = data.valid_dl

    def fit(fixed):
        seed_everything(0)
        data.train_dl = loader(data, data.train_ds, fixed, shuffled=True)
        data.valid_dl = None  # an epoch of training and nothing else
        learn = make_learner(data, arguments)
        with no_progress(learn):
            learn.fit(1, 1e-4)
        data.valid_dl = valid

    buckets = data.train_dl
    arms = {FIXED: lambda: fit(True), "text_data": lambda: fit(False)}
    found = table("an epoch of training", turns(arms, arguments.rounds, time.process_time), FIXED, len(data.train_ds))
    data.train_dl = buckets
    return [
        f"## Training and predicting, {len(data.train_ds)} rows, {Path(arguments.model).name}",
        "",
        *found,
        "",
        *predicting(data, arguments),
    ]


def loader(data, dataset, fixed, shuffled):
    if not fixed:
        buckets = LengthBucketSampler(dataset.x.lengths, BS)
        return DeviceDataLoader(
            DataLoader(dataset, BS, sampler=buckets), data.device, None, ItemCollator(dataset.x.collator)
        )
    return DeviceDataLoader(
        DataLoader(dataset, BS, shuffle=shuffled), data.device, None, ItemCollator(dataset.x.collator, MAX_LEN)
    )


def make_learner(data, arguments):
    model = BertForSequenceClassification.from_pretrained(arguments.model, num_labels=data.c)
    return Learner(data, HFModel(model, inputs=data.inputs), callbacks=[HFCallback()])


def predicting(data, arguments):
    learn = make_learner(data, arguments)
    own = data.fix_dl

    def fixed():
        data.fix_dl = loader(data, data.train_ds, True, shuffled=False)
        learn.get_preds(DatasetType.Fix)
        data.fix_dl = own

    arms = {
        FIXED: fixed,
        "get_preds": lambda: learn.get_preds(DatasetType.Fix),
        "ordered_preds": lambda: ordered_preds(learn, DatasetType.Fix),
    }
    gap = (ordered_preds(learn, DatasetType.Fix)[0] - learn.get_preds(DatasetType.Fix)[0]).abs().max()
    return [
        *table("predicting", turns(arms, arguments.rounds, time.process_time), FIXED, len(data.train_ds)),
        "",
        f"Largest difference between `ordered_preds` and `get_preds`: {float(gap):.1e}.",
    ]


if __name__ == "__main__":
    main()
