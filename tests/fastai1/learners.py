"""Tiny real learners: real fastai 1, real Hugging Face classes, data small enough for a second."""

import warnings
from functools import partial

import torch
from torch import nn
from torch.utils.data import TensorDataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DataBunch
    from fastai.metrics import accuracy, accuracy_thresh, mean_squared_error
    from fastai.torch_core import flatten_model
    from fastai.train import Learner

from fastai_hf_callback import ColumnwiseAUC, HFCallback, HFModel
from tests.tiny_models import VOCAB, WITHOUT_MASK, tiny_model

ROWS, LENGTH, BATCH, PAD = 48, 8, 8, 0
TASKS = ("classes", "labels", "number")
LOSSES = {"classes": nn.CrossEntropyLoss, "labels": nn.BCEWithLogitsLoss, "number": nn.MSELoss}
OUTPUTS = {"classes": 3, "labels": 4, "number": 1}


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
    return ids, mask, first[:, None]


def databunch(task="classes", masked=True, rows=ROWS, valid_rows=None, bs=BATCH, **kwargs):
    """A DataBunch whose inputs are ``[ids, mask]``, or ``ids`` alone."""

    def part(rows, seed):
        ids, mask, targets = texts_and_targets(task, rows, seed)
        return TensorDataset(ids, mask, targets) if masked else TensorDataset(ids, targets)

    settings = dict(bs=bs, num_workers=0, device=torch.device("cpu"), pin_memory=False, no_check=True)
    return DataBunch.create(part(rows, 0), part(valid_rows or rows, 1), collate_fn=collate, **{**settings, **kwargs})


def collate(rows):
    """``[(input, ..., target)]`` -> ``([input, ...], target)``; a single input stays a tensor."""
    *inputs, target = (torch.stack(column) for column in zip(*rows))
    return inputs if len(inputs) > 1 else inputs[0], target


def make_learner(model="bert", task="classes", masked=True, callbacks=None, wrap=True, valid_rows=None, **kwargs):
    """A new learner on a new model: the smallest real thing."""
    masked = masked and model not in WITHOUT_MASK
    inputs = ("input_ids", "attention_mask") if masked else None
    bare = tiny_model(model, OUTPUTS[task])
    learn = Learner(
        databunch(task, masked, valid_rows=valid_rows),
        HFModel(bare, inputs=inputs, pad_token_id=PAD) if wrap else bare,
        loss_func=LOSSES[task](),
        metrics=metrics(task),
        silent=True,
        callbacks=[HFCallback()] if callbacks is None else callbacks,
        **kwargs,
    )
    return learn.split(two_groups)


def metrics(task):
    return {
        "classes": [accuracy],
        "labels": [partial(accuracy_thresh, thresh=0.25), ColumnwiseAUC()],
        "number": [mean_squared_error],
    }[task]


def two_groups(model):
    """The body, and the last leaf module that has parameters with what follows: what ``learn.split`` takes."""
    leaves = flatten_model(model)
    head = max(i for i, leaf in enumerate(leaves) if list(leaf.parameters()))
    return [leaves[:head], leaves[head:]]
