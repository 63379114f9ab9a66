"""The demo on fastai 2: a tiny BERT of transformers on the bundled comments, everything offline."""

from functools import partial
from typing import Callable

import fastai.callback.schedule  # noqa: F401  fit_one_cycle is on Learner once this is imported
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.metrics import accuracy_multi
from fastai.optimizer import Adam
from fastai.torch_core import default_device
from torch import nn
from torch.utils.data import Dataset
from transformers import (  # type: ignore[attr-defined]  # transformers 5 finds BertTokenizerFast only at run time
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
)

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
from fastai_hf_callback.fastai2.compat.no_progress import no_progress
from fastai_hf_callback.model.pretrained import Pretrained

from .callback import HFCallback
from .learner_factory import build_learner_factory

__all__ = ["build_demo_factory", "train_article_recipe"]

# fastai 1's epsilon. With fastai 2's own, 1e-5, the gradients of a BERT this small count for little: in the demo's
# three epochs its AUC stays at a constant predictor's 0.50 (seen: 0.483, 0.480, 0.496).
ADAM = partial(Adam, eps=1e-8)


def build_demo_factory() -> Callable[[], Learner]:
    """Return a function that makes the demo's learner, new each time."""
    examples = build_demo_examples()
    make_learner = build_learner_factory(examples, _build_pretrained(examples), bs=BATCH_SIZE, max_length=MAX_LEN)

    def make_demo_learner() -> Learner:
        learn = make_learner()
        learn.opt_func = ADAM
        return learn

    return make_demo_learner


def train_article_recipe() -> Learner:
    """Train a learner on the article's batches and the bare model for one epoch, and return it."""
    return setup.train_article_recipe(_build_pretrained, _make_article_learner, no_progress)


def _make_article_learner(train: Dataset, valid: Dataset, model: nn.Module) -> Learner:
    loaders = [
        DataLoader(rows, bs=BATCH_SIZE, shuffle=rows is train, create_batch=left_pad_collate, device=default_device())
        for rows in (train, valid)
    ]
    return Learner(
        DataLoaders(*loaders),
        model,
        loss_func=nn.BCEWithLogitsLoss(),
        opt_func=ADAM,
        metrics=[partial(accuracy_multi, thresh=THRESHOLD)],
        cbs=[HFCallback()],
    )


def _build_pretrained(examples: LabeledSplits) -> Pretrained:
    return build_tiny_bert(examples, BertTokenizerFast, BertConfig, BertForSequenceClassification)
