"""Tiny real learners: real fastai 2, real transformers 5 classes, data small enough for a second."""

from functools import partial

import fastai.callback.schedule  # noqa: F401  fit_one_cycle and its like
import torch
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat
from fastai.metrics import accuracy, accuracy_multi, mse
from fastai.torch_core import params
from torch.utils.data import TensorDataset

from fastai_hf_callback import ColumnwiseAUC, HFCallback, HFModel, WordAccuracy
from tests.tiny_models import VOCAB, tiny_transformers_model

ROWS, LENGTH, BATCH, PAD, IGNORE_INDEX = 48, 8, 8, 0, -100
MODELS = ("bert", "roberta", "distilbert", "xlnet", "gpt2", "electra", "albert")
TASKS = ("classes", "labels", "number")
LOSSES = {
    "classes": CrossEntropyLossFlat,
    "labels": BCEWithLogitsLossFlat,
    "number": MSELossFlat,
    "words": CrossEntropyLossFlat,
    "blanks": CrossEntropyLossFlat,
}
OUTPUTS = {"classes": 3, "labels": 4, "number": 1, "words": 3, "blanks": VOCAB}
HEADS = {"words": "TokenClassification", "blanks": "MaskedLM"}


def texts_and_targets(task, rows=ROWS, seed=0):
    """Ids padded on the right, their mask, and targets that depend on the ids."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, VOCAB, (rows, LENGTH), generator=draw)
    lengths = torch.randint(3, LENGTH + 1, (rows,), generator=draw)
    mask = (torch.arange(LENGTH)[None] < lengths[:, None]).long()
    ids = torch.where(mask == 1, ids, torch.full_like(ids, PAD))
    first = ids[:, 0].float() / VOCAB
    if task == "classes":
        return ids, mask, (first * 3).long()
    if task == "labels":
        return ids, mask, torch.stack([(ids[:, 0] % k == 0).float() for k in (2, 3, 5, 7)], 1)
    if task == "number":
        return ids, mask, first[:, None]
    of_words = ids * 3 // VOCAB if task == "words" else ids
    return ids, mask, torch.where(mask == 1, of_words, torch.full_like(ids, IGNORE_INDEX))


def loaders(task="classes", masked=True, rows=ROWS, valid_rows=None, bs=BATCH, **kwargs):
    """DataLoaders whose inputs are ids and mask, or ids alone."""

    def part(rows, seed):
        ids, mask, targets = texts_and_targets(task, rows, seed)
        return TensorDataset(ids, mask, targets) if masked else TensorDataset(ids, targets)

    settings = dict(bs=bs, num_workers=0, device=torch.device("cpu"))
    return DataLoaders.from_dsets(part(rows, 0), part(valid_rows or rows, 1), **{**settings, **kwargs})


def make_learner(model="bert", task="classes", masked=True, cbs=None, wrap=True, valid_rows=None, **kwargs):
    """A new learner on a new model: the smallest real thing."""
    inputs = ("input_ids", "attention_mask") if masked else None
    bare = tiny_transformers_model(model, OUTPUTS[task], HEADS.get(task, "SequenceClassification"))
    settings = dict(loss_func=LOSSES[task](), metrics=metrics(task), splitter=two_groups)
    return without_progress_bar(
        Learner(
            loaders(task, masked, valid_rows=valid_rows),
            HFModel(bare, inputs=inputs, pad_token_id=PAD) if wrap else bare,
            cbs=[HFCallback()] if cbs is None else cbs,
            **{**settings, **kwargs},
        )
    )


def metrics(task):
    return {
        "classes": [accuracy],
        "labels": [partial(accuracy_multi, thresh=0.25), ColumnwiseAUC()],
        "number": [mse],
        "words": [WordAccuracy()],
        "blanks": [WordAccuracy()],
    }[task]


def without_progress_bar(learn):
    """Without bars and tables."""
    learn.remove_cb(ProgressCallback)
    learn.logger = discard_table
    return learn


def discard_table(*args):
    pass


def two_groups(model):
    """The body, and the last leaf module that has parameters with what follows."""
    leaves = [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]
    head = {id(p) for p in leaves[-1].parameters()}
    return [[p for p in params(model) if (id(p) in head) is last] for last in (False, True)]
