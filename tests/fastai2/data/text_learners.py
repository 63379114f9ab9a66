"""Data of text_data and learners on them, for the tests of fastai 2."""

import torch
from fastai.learner import Learner
from fastai.metrics import accuracy, accuracy_multi

from fastai_hf_callback import (
    ColumnwiseAUC,
    HFCallback,
    HFModel,
    WordAccuracy,
    layer_groups,
    span_exact_match,
    span_logits,
    text_data,
)
from tests.fastai2.learners import without_progress_bar
from tests.tiny_models import tiny_transformers_model
from tests.tiny_texts import COLUMNS, frame

TRAIN, VALID, TEST = frame(60, 0), frame(30, 1), frame(20, 2)
TASKS = {
    "single_label_classification": dict(text="text", labels="kind"),
    "multi_label_classification": dict(text="text", labels=list(COLUMNS)),
    "regression": dict(text="text", labels="share"),
    "pairs": dict(text="text", text_pair="second", labels="kind"),
    "token-classification": dict(text="words", labels="tags"),
    "answers": dict(text="asked", text_pair="text", labels="answers"),
}
HEADS = {"token-classification": "TokenClassification", "answers": "QuestionAnswering"}
ELEMENT = {"answers": span_logits}
METRICS = {
    "single_label_classification": [accuracy],
    "multi_label_classification": [accuracy_multi, ColumnwiseAUC()],
    "regression": [],
    "pairs": [accuracy],
    "token-classification": [WordAccuracy()],
    "answers": [span_exact_match],
}
ITEM = {
    "pairs": ("the fox sees", "a fern"),
    "token-classification": "the foxs sees a fern",
    "answers": ("the fox", "The OLD foxs hide near two ferns"),
}
SETS = {"train": 0, "valid": 1, "test": 2}


def make_data(tokenizer, task="single_label_classification", **changed):
    settings = dict(bs=8, max_length=32, device=torch.device("cpu"), progress=False, test=TEST)
    return text_data(TRAIN, VALID, tokenizer, **{**settings, **TASKS[task], **changed})


def make_learner(dls, task="single_label_classification", **kwargs):
    torch.manual_seed(0)
    bare = tiny_transformers_model("bert", dls.c, HEADS.get(task, "SequenceClassification"))
    head = bare.qa_outputs if task == "answers" else bare.classifier
    head.weight.data.mul_(50)  # rows differ visibly, untrained
    settings = dict(metrics=METRICS[task], cbs=[HFCallback(element=ELEMENT.get(task))], splitter=layer_groups)
    return without_progress_bar(Learner(dls, HFModel(bare, inputs=dls.inputs), **{**settings, **kwargs}))


def rows_of(loader):
    """Ids without padding, row by row, as the loader gives them."""
    return [ids[mask > 0].tolist() for batch in loader for ids, mask in zip(batch[0], batch[loader.n_inp - 1])]
