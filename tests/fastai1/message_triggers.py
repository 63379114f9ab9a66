"""What makes the rooms of fastai 1 say each of their errors and warnings; for ``tests/message_catalogue.py``."""

import threading

import torch
from fastai.basic_data import DataBunch, DatasetType
from fastai.train import Learner
from torch import nn

from fastai_hf_callback import HFCallback, HFModel, diagnose, export_learner, heal, ordered_preds, text_data, trusted
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from tests.fastai1.learners import make_learner
from tests.message_triggers import make_questions, make_tokenizer
from tests.tiny_models import tiny_model
from tests.tiny_texts import frame


def text_learner():
    """A learner of `text_data`."""
    data = text_data(
        frame(20), frame(8, 1), make_tokenizer(), text="text", labels="kind", max_length=16, progress=False
    )
    return Learner(data, HFModel(tiny_model("bert", data.c), inputs=data.inputs), callbacks=[HFCallback()])


def without_rows(learn):
    """As after ``load_learner``."""
    learn.data.train_ds.items = []
    return learn


def emptied(learn):
    """A validation set without rows, as after ``load_learner``."""
    learn.data.valid_ds.x.items = []
    return learn


def trusting(*paths):
    """Files that are to be trusted."""
    with trusted(*paths):
        pass


def answers():
    """Questions, and answers in their contexts."""
    return text_data(
        make_questions(),
        make_questions(),
        make_tokenizer(),
        text="question",
        labels="answer",
        text_pair="context",
        task="question-answering",
        max_length=32,
    )


class OwnLoss(nn.Module):
    """A loss of which fastai knows nothing but its reduction."""

    reduction = "mean"

    def forward(self, logits, targets):
        return nn.functional.cross_entropy(logits, targets, reduction=self.reduction)


def first_losses():
    """Losses that are asked for before anything has run."""
    learn = text_learner()
    learn.loss_func = OwnLoss()
    with no_progress(learn):
        learn.get_preds(with_loss=True)


def unpicklable(learn):
    """Give the learner's model a lock."""
    learn.model.lock = threading.Lock()
    return learn


def with_dicts(learn):
    """As the collators of Hugging Face make batches: a dict, the labels in it."""
    rows = [{"input_ids": torch.arange(5, 9), "labels": torch.tensor(i % 2)} for i in range(16)]
    learn.data = DataBunch.create(rows, rows, bs=8, num_workers=0, device=torch.device("cpu"), no_check=True)
    return learn


TRIGGERS = [
    first_losses,
    lambda: text_learner().data.add_test(["a fox"], label="bird"),
    answers,
    lambda: HFCallback(make_learner()),
    lambda: make_learner(callbacks=[HFCallback]).fit(1),
    lambda: trusting(),
    lambda: heal(3),
    lambda: heal("optimiser"),
    lambda: trusting(3),
    lambda: export_learner(unpicklable(text_learner())),
    lambda: ordered_preds("learn"),
    lambda: ordered_preds(text_learner(), DatasetType.Single),
    lambda: ordered_preds(text_learner(), DatasetType.Test),
    lambda: ordered_preds(emptied(text_learner())),
    lambda: ordered_preds(make_learner()),
    lambda: diagnose("learn"),
    lambda: diagnose(make_learner(), batches=0),
    lambda: diagnose(without_rows(text_learner())),
    lambda: diagnose(with_dicts(make_learner())),
]
