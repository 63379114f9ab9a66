"""What `recipe.py` and its twin `ten_lines.py` share and what is no part of either: arguments, data, figures.

Whatever is printed of the feeding was seen at the model itself, by hooks on its embeddings and its first layer, so it
holds however the batches were made.
"""
import argparse
import contextlib
import io
import logging
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fastai_hf_callback.demo.comments import LABELS, write_csv
from fastai_hf_callback.model.metrics import mean_columnwise_auc
from fastai_hf_callback.utils.rng import seed_everything

THRESHOLD = 0.25  # the article's


# -- arguments and data ---------------------------------------------------------------------------


def arguments(doc, argv=None):
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    add = parser.add_argument
    add("--csv", help="comments and 0/1 labels; without it, the bundled made-up comments")
    add("--text", default="comment_text", metavar="COLUMN")
    add("--labels", default=",".join(LABELS), metavar="A,B,..")
    add("--model", metavar="FOLDER", help="a BERT: config.json, weights, vocab.txt; without it, a tiny one, made new")
    add("--rows", type=int, metavar="N", help="the first N rows only (bundled comments: 2000)")
    add("--epochs", type=int, help="1; 3 for the tiny model")
    add("--out", default="submission.csv", metavar="FILE")
    add("--bs", type=int, default=32)
    add("--max-length", type=int, default=256)
    add("--lr", type=float, help="3e-5, as in the article; 3e-3 for the tiny model")
    add("--lr-find", action="store_true", help="run the learning rate finder first, as the article does")
    add("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    args.labels = args.labels.split(",")
    args.epochs = args.epochs or (1 if args.model else 3)
    args.lr = args.lr or (3e-5 if args.model else 3e-3)
    return args


def prepare(args, folder):
    """Three DataFrames and the folder of a BERT. Four fifths train; the rest validates.

    The texts of the validating rows stand in for the test set, which in the article was another file without labels:
    so the submission can be scored.
    """
    logging.getLogger("pytorch_transformers").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # fastai 1 warns by the hundred on today's Python
    path = args.csv or Path(folder) / "comments.csv"
    if not args.csv:
        write_csv(path, n=args.rows or 2000)
    frame = pd.read_csv(path, dtype={args.text: str}, keep_default_na=False).head(args.rows)
    seed_everything(args.seed)
    order = np.random.permutation(len(frame))
    train, valid = frame.iloc[order[len(frame) // 5:]], frame.iloc[order[:len(frame) // 5]]
    model = args.model or tiny_bert(Path(folder) / "tiny", frame[args.text], args.max_length)
    return train, valid, valid[[args.text]].reset_index(drop=True), str(model)


def tiny_bert(folder, texts, max_length, width=0.02):
    """A BERT of two layers, not trained, that knows every word of `texts`; `width` spreads its weights."""
    from pytorch_transformers import BertConfig, BertModel
    from pytorch_transformers.tokenization_bert import BasicTokenizer

    folder.mkdir()
    split = BasicTokenizer(do_lower_case=True).tokenize
    words = sorted({word for text in texts for word in split(text)})
    vocabulary = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]  # as BERT's own begins
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertModel(BertConfig(
        len(vocabulary), hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256,
        max_position_embeddings=max_length, initializer_range=width)).save_pretrained(str(folder))
    return folder


@contextlib.contextmanager
def silence():
    """No progress bars: they would be most of the output."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


# -- figures --------------------------------------------------------------------------------------


class Clock:
    """Seconds of a block: on the wall, and of the CPU, with the processes it started and waited for."""

    def __enter__(self):
        self._began = self._now()
        return self

    def __exit__(self, *_):
        self.wall, self.cpu = (now - began for now, began in zip(self._now(), self._began))

    @staticmethod
    def _now():
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)


class Meter:
    """What a BERT is fed while it trains: hooks on its word embeddings and its first layer.

    A row's real tokens are those from its ``[CLS]`` to its last ``[SEP]``; the rest is padding.
    """

    def __init__(self, model, tokenizer):
        bert = getattr(model, "model", model).bert
        self._hooked = bert.embeddings.word_embeddings, bert.encoder.layer[0]
        self._cls, self._sep = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]"])
        self.batches = self.rows = self.positions = self.real = self.in_front = self.masked = self.begin = 0
        self.pad_ids = set()

    def __enter__(self):
        embeddings, layer = self._hooked
        self._handles = [embeddings.register_forward_pre_hook(self._see_ids),
                         layer.register_forward_pre_hook(self._see_mask)]
        return self

    def __exit__(self, *_):
        for handle in self._handles:
            handle.remove()

    def _see_ids(self, module, inputs):
        if not module.training:
            return
        ids = inputs[0]
        at, length = torch.arange(ids.shape[1], device=ids.device).expand_as(ids), ids.shape[1]
        first = at.masked_fill(ids != self._cls, length).min(1)[0].unsqueeze(1)
        last = at.masked_fill(ids != self._sep, -1).max(1)[0].unsqueeze(1)
        self._padding = (at < first) | (at > last)
        self.batches += 1
        self.rows += len(ids)
        self.positions += ids.numel()
        self.real += int((~self._padding).sum())
        self.in_front += int((at < first).sum())
        self.begin += int((ids[:, 0] == self._cls).sum())
        self.pad_ids |= set(ids[self._padding].tolist())

    def _see_mask(self, module, inputs):
        if module.training:
            out_of_sight = inputs[1].reshape(self._padding.shape) < -1000
            self.masked += int((out_of_sight & self._padding).sum())

    def lines(self):
        padding = self.positions - self.real
        yield "padding", f"{padding / self.positions:.1%} of the positions"
        if padding:
            yield "  in front", f"{self.in_front / padding:.0%} of it, with id {sorted(self.pad_ids)}"
            yield "  masked", f"{self.masked / padding:.0%} of it"
        yield "rows that begin with [CLS]", f"{self.begin / self.rows:.1%} of {self.rows}"
        yield "computed per real token", f"{self.positions / self.real:.3f}"
        yield "real tokens", f"{self.real}"


def alone(model, tokenizer, texts, max_length):
    """The probabilities of each text by itself, where there is no padding."""
    model = getattr(model, "model", model).eval()
    device = next(model.parameters()).device
    made = []
    with torch.no_grad():
        for text in texts:
            tokens = ["[CLS]", *tokenizer.tokenize(text)[:max_length - 2], "[SEP]"]
            ids = torch.tensor([tokenizer.convert_tokens_to_ids(tokens)], device=device)
            made.append(torch.sigmoid(model(ids)[0])[0].cpu().numpy())
    return np.stack(made)


def report(args, learn, tokenizer, meter, building, training, valid, test, predictions):
    """Print the figures; the predictions are those of the submission, in its order."""
    with Clock() as sorting:
        list(learn.data.train_dl.dl.batch_sampler)
    names, targets = learn.recorder.names[3:], valid[args.labels].values
    by_itself = alone(learn.model, tokenizer, test[args.text], args.max_length)
    zeros = float((targets == 0).mean())
    moved = np.abs(predictions - by_itself)
    steps = meter.batches // max(1, args.epochs)
    lines = [("rows", f"{len(learn.data.train_ds)} to train, {len(valid)} to validate, {len(test)} to predict")]
    for epoch, values in enumerate(learn.recorder.metrics):
        shown = "  ".join(f"{name} {float(value):.6f}" for name, value in zip(names, values))
        lines.append((f"epoch {epoch}", f"{shown}  valid loss {float(learn.recorder.val_losses[epoch]):.4f}"))
    lines += [("all zeros would score", f"{zeros:.6f}"),
              ("mean AUC on valid", f"{mean_columnwise_auc(torch.tensor(predictions), torch.tensor(targets)):.4f}"),
              *meter.lines(),
              ("batch mates change", f"a probability by up to {moved.max():.2g}, by {moved.mean():.2g} on average"),
              ("making the DataBunch", f"{building.wall:.2f} s ({building.cpu:.2f} s of CPU)"),
              ("drawing an epoch's order", f"{sorting.wall:.3f} s"),
              ("training", f"{training.cpu:.2f} s of CPU, {steps} steps an epoch, "
                           f"{1000 * training.cpu / max(1, meter.rows):.2f} ms a row")]
    width = max(len(name) for name, _ in lines)
    print(*(f"{name:<{width}}  {value}" for name, value in lines), f"wrote {args.out}", sep="\n")
    sys.stdout.flush()
    return dict(lines)
