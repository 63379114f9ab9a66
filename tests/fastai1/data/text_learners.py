"""Data of text_data and learners on them, for the tests of fastai 1."""

import warnings

import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.metrics import accuracy
    from fastai.train import Learner

from fastai_hf_callback import (
    ColumnwiseAUC,
    HFCallback,
    HFModel,
    WordAccuracy,
    accuracy_thresh,
    text_data,
)
from tests.tiny_models import tiny_model
from tests.tiny_texts import COLUMNS, frame

TRAIN, VALID, TEST = frame(60, 0), frame(30, 1), frame(20, 2)
TASKS = {
    "single_label_classification": dict(text="text", labels="kind"),
    "multi_label_classification": dict(text="text", labels=list(COLUMNS)),
    "regression": dict(text="text", labels="share"),
    "pairs": dict(text="text", text_pair="second", labels="kind"),
    "token-classification": dict(text="words", labels="tags"),
}
METRICS = {
    "single_label_classification": [accuracy],
    "multi_label_classification": [accuracy_thresh, ColumnwiseAUC()],
    "regression": [],
    "pairs": [accuracy],
    "token-classification": [WordAccuracy()],
}
ITEM = {"pairs": ("the fox sees", "a fern"), "token-classification": "the foxs sees a fern"}


def make_data(tokenizer, task="single_label_classification", **changed):
    settings = dict(bs=8, max_length=32, device=torch.device("cpu"), progress=False, test=TEST)
    return text_data(TRAIN, VALID, tokenizer, **{**settings, **TASKS[task], **changed})


def make_learner(data, task="single_label_classification", **kwargs):
    torch.manual_seed(0)
    bare = tiny_model("bert", data.c)
    bare.classifier.weight.data.mul_(50)  # rows differ visibly, untrained
    bare = WordHead(bare) if task == "token-classification" else bare
    return Learner(
        data,
        HFModel(bare, inputs=data.inputs),
        metrics=METRICS[task],
        callbacks=[HFCallback()],
        path=data.path,
        **kwargs,
    )


class WordHead(nn.Module):
    """A label per piece, on the body of a sequence classifier."""

    def __init__(self, model):
        super().__init__()
        self.bert, self.classifier, self.config = model.bert, model.classifier, model.config

    def forward(self, input_ids, attention_mask=None):
        return self.classifier(self.bert(input_ids, attention_mask=attention_mask)[0])


def rows_of(data, ds_type):
    """Ids without padding, row by row, as the loader gives them."""
    return [ids[mask > 0].tolist() for (ids, *_, mask), _ in data.dl(ds_type) for ids, mask in zip(ids, mask)]
