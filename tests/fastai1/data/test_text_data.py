"""text_data on fastai 1: what its batches hold, and what does not fit."""

import re
import warnings
from functools import partial

import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.train import AccumulateScheduler

from fastai_hf_callback import (
    InputError,
    InvalidInputError,
    heal,
    text_data,
)
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from tests.fastai1.data.text_learners import TRAIN, VALID, make_data, make_learner
from tests.tiny_texts import fast_tokenizer

# -- batches -----------------------------------------------------------------------------------------


def test_another_batch_size_cuts_other_buckets(slow):
    data = make_data(slow)
    data.batch_size = 4
    assert data.train_dl.dl.sampler.bs == 4 and len(data.one_batch()[1]) == 4
    widths = [ids.shape[1] * len(ids) for (ids, _), _ in data.train_dl]
    assert sum(widths) <= 1.2 * data.train_ds.x.lengths.sum()


# -- what does not fit -------------------------------------------------------------------------------


def test_texts_cannot_be_mixed_up(slow):
    learn = make_learner(make_data(slow)).mixup()
    loss_func = learn.loss_func
    with pytest.raises(InputError) as caught, no_progress(learn):
        learn.fit(1, 1e-2)
    assert re.fullmatch(
        r"mixup was asked for and the input is int64 \(8, \d+\): token ids cannot be averaged. "
        r"Expected inputs of floats. Take learn.mixup\(\) away.",
        str(caught.value),
    )
    assert learn.loss_func is loss_func


def test_gradients_accumulate_over_batches_of_several_tensors(slow):
    """``AccumulateScheduler`` counts rows of a single tensor only; ``heal`` mends it."""
    learn = make_learner(make_data(slow), callback_fns=[partial(AccumulateScheduler, n_step=2)])
    before = learn.model.model.classifier.weight.clone()
    with pytest.raises(AttributeError, match="'list' object has no attribute 'shape'"), no_progress(learn):
        learn.fit(1, 1e-2)
    with heal(), no_progress(learn):
        learn.fit(1, 1e-2)
    assert not torch.equal(before, learn.model.model.classifier.weight)


# -- what is there on fastai 2 alone --------------------------------------------------------------------


@pytest.mark.parametrize("asked", (dict(task="question-answering"), {}), ids=("asked for", "told by the column"))
def test_answers_in_contexts_are_refused_in_one_line(asked):
    with pytest.raises(InvalidInputError) as caught:
        text_data(TRAIN, VALID, fast_tokenizer("."), text="asked", text_pair="text", labels="answers", **asked)
    assert str(caught.value) == (
        "task 'question-answering' (questions, and answers in their contexts) was given, which is there on fastai 2 "
        "alone; on fastai 1 build a DataBunch of your own: HFCallback(element=span_logits), loss_func=SpanLoss()"
    )
