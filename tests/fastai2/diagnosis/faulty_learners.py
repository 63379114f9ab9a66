"""Learners whose texts tell their labels and whose bodies were trained before: what a doctor is asked about."""

from functools import partial

import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat
from fastai.metrics import accuracy, accuracy_multi, mse
from torch.utils.data import TensorDataset

from fastai_hf_callback import ColumnwiseAUC, HFCallback, HFModel
from fastai_hf_callback.utils.rng import seed_everything
from tests.fastai2.learners import without_progress_bar
from tests.faults.catalogue import FAULTS
from tests.faults.synthetic_texts import BATCH, N_OUTPUTS, PAD, bare_model, both, padded

LOSSES = {"classes": CrossEntropyLossFlat, "labels": BCEWithLogitsLossFlat, "number": MSELossFlat}
METRICS = {
    "classes": lambda: [accuracy],
    "labels": lambda: [partial(accuracy_multi, thresh=0.25), ColumnwiseAUC()],
    "number": lambda: [mse],
}


def body(name="bert", task="classes"):
    """A model of transformers 5, trained before on other texts; its head is new."""
    return bare_model(f"{name} of transformers 5", N_OUTPUTS[task])


def wrapped(bare, inputs=("input_ids", "attention_mask")):
    return HFModel(bare, inputs=inputs, pad_token_id=PAD)


def rows(task="classes", masked=True, **padding):
    """Training and validation tensors, padded all alike."""
    parts = both(task)
    length = max(len(row) for part in parts for row in part.rows)
    made = []
    for part in parts:
        ids, mask = padded(part.rows, length=length, **padding)
        made.append([ids, mask, part.targets] if masked else [ids, part.targets])
    return made


def loaders(parts, bs=BATCH, **kwargs):
    settings = dict(bs=bs, num_workers=0, device=torch.device("cpu"))
    return DataLoaders.from_dsets(*(TensorDataset(*part) for part in parts), **{**settings, **kwargs})


def make_pretrained_learner(name="bert", task="classes", model=None, dls=None, cbs=None, **kwargs):
    """A healthy learner, but for what is put in its place."""
    seed_everything(1)
    settings = dict(loss_func=LOSSES[task](), metrics=METRICS[task]())
    return without_progress_bar(
        Learner(
            loaders(rows(task)) if dls is None else dls,
            wrapped(body(name, task)) if model is None else model,
            cbs=[HFCallback()] if cbs is None else cbs,
            **{**settings, **kwargs},
        )
    )


FAULTS_BY_NAME = {fault.name: fault for fault in FAULTS}


def make_faulty_learner(name):
    """A learner of the catalogue, on BERT."""
    return FAULTS_BY_NAME[name].ask("bert of transformers 5")
