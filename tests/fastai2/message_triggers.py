"""What makes the rooms of fastai 2 say each of their errors and warnings; for ``tests/message_catalogue.py``."""

import threading

import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner

import fastai_hf_callback
from fastai_hf_callback import Doctor, HFCallback, HFModel, diagnose, export_learner, ordered_preds, text_data
from tests.fastai2.learners import make_learner, without_progress_bar
from tests.message_triggers import make_tokenizer
from tests.tiny_models import tiny_transformers_model
from tests.tiny_texts import frame


def build_text_loaders():
    """Those of `text_data`."""
    return text_data(
        frame(20), frame(8, 1), make_tokenizer(), text="text", labels="kind", max_length=16, progress=False
    )


def text_learner():
    """A learner of `text_data`."""
    dls = build_text_loaders()
    return without_progress_bar(
        Learner(dls, HFModel(tiny_transformers_model("bert", dls.c), inputs=dls.inputs), cbs=[HFCallback()])
    )


def without_rows(learn):
    """As after ``load_learner``."""
    learn.dls = learn.dls.new_empty()
    return learn


def unpicklable(learn):
    """Give the learner's model a lock."""
    learn.model.lock = threading.Lock()
    return learn


def with_dicts(learn):
    """As the collators of Hugging Face make batches: a dict, the labels in it."""
    rows = [{"input_ids": torch.arange(5, 9), "labels": torch.tensor(i % 2)} for i in range(16)]
    learn.dls = DataLoaders.from_dsets(rows, rows, bs=8, num_workers=0, device=torch.device("cpu"))
    return learn


def with_one_loader(learn):
    """Without one to validate on."""
    learn.dls = DataLoaders(learn.dls.train)
    return learn


TRIGGERS = [
    lambda: fastai_hf_callback.heal,
    lambda: build_text_loaders().test_dl(frame(4), with_labels=True),
    lambda: HFCallback(make_learner()),
    lambda: make_learner(cbs=[HFCallback(), HFCallback()]).fit(1),
    lambda: Doctor(make_learner()),
    lambda: export_learner(unpicklable(text_learner())),
    lambda: ordered_preds("learn"),
    lambda: ordered_preds(make_learner()),
    lambda: ordered_preds(without_rows(text_learner())),
    lambda: ordered_preds(text_learner(), "single"),
    lambda: ordered_preds(text_learner(), "test"),
    lambda: diagnose("learn"),
    lambda: diagnose(make_learner(), batches=0),
    lambda: diagnose(without_rows(text_learner())),
    lambda: diagnose(with_dicts(make_learner())),
    lambda: diagnose(with_one_loader(make_learner())),
    lambda: diagnose(make_learner(loss_func=lambda output, target: {"loss": output.sum()})),
]
