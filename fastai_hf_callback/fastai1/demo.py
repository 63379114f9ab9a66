"""The demo on fastai 1: a tiny BERT of pytorch-transformers on the bundled comments, everything offline."""

from functools import partial
from typing import Callable

from fastai.basic_data import DataBunch
from fastai.train import Learner  # which gives it fit_one_cycle
from pytorch_transformers import BertConfig, BertForSequenceClassification, BertTokenizer
from torch import nn
from torch.utils.data import Dataset

from fastai_hf_callback.data.tables.examples import LabeledSplits
from fastai_hf_callback.demo import setup
from fastai_hf_callback.demo.setup import (
    BATCH_SIZE,
    MAX_LEN,
    THRESHOLD,
    build_demo_examples,
    build_tiny_bert,
    left_pad_collate,
)
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from fastai_hf_callback.model.metrics import accuracy_thresh
from fastai_hf_callback.model.pretrained import Pretrained

from .callback import HFCallback
from .learner_factory import build_learner_factory

__all__ = ["build_demo_factory", "train_article_recipe"]


def build_demo_factory() -> Callable[[], Learner]:
    """Return a function that makes the demo's learner, new each time."""
    examples = build_demo_examples()
    return build_learner_factory(examples, _build_pretrained(examples), bs=BATCH_SIZE, max_length=MAX_LEN)


def train_article_recipe() -> Learner:
    """Train a learner on the article's batches and the bare model for one epoch, and return it."""
    return setup.train_article_recipe(_build_pretrained, _make_article_learner, no_progress)


def _make_article_learner(train: Dataset, valid: Dataset, model: nn.Module) -> Learner:
    data = DataBunch.create(train, valid, bs=BATCH_SIZE, num_workers=0, no_check=True, collate_fn=left_pad_collate)
    metrics = [partial(accuracy_thresh, thresh=THRESHOLD)]
    return Learner(data, model, loss_func=nn.BCEWithLogitsLoss(), callbacks=[HFCallback()], metrics=metrics)


def _build_pretrained(examples: LabeledSplits) -> Pretrained:
    return build_tiny_bert(examples, BertTokenizer, BertConfig, BertForSequenceClassification)
