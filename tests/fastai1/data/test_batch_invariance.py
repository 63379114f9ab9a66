"""A text's prediction is its own: the same whatever shares its batch. The article's feeding fails the same test."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DatasetType
    from fastai.train import Learner

from fastai_hf_callback import HFCallback, HFModel, ordered_preds, text_data
from tests.tiny_models import tiny_model
from tests.tiny_texts import ANIMALS, OTHERS, PLANTS, frame, slow_tokenizer

MASKED = ("bert", "roberta", "distilbert", "xlnet", "xlm")
TODAY = ("bert of transformers 5", "electra of transformers 5")
WORDS = st.lists(st.sampled_from(ANIMALS + PLANTS + OTHERS), min_size=1, max_size=25).map(" ".join)
TRAIN = frame(12, 0)
SAME = dict(rtol=0, atol=1e-5)


def learner(name, folder):
    """A tiny model of `name`, its texts padded as its kind wants it."""
    tokenizer = slow_tokenizer(folder)
    tokenizer.padding_side = "left" if name == "xlnet" else "right"  # XLNet reads its last position
    data = text_data(
        TRAIN,
        TRAIN,
        tokenizer,
        text="text",
        labels="kind",
        bs=4,
        max_length=30,
        progress=False,
        device=torch.device("cpu"),
    )
    torch.manual_seed(0)
    model = tiny_model(name, data.c)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)  # at their first size the logits hardly depend on anything
    return Learner(data, HFModel(model, inputs=data.inputs), callbacks=[HFCallback()])


def logits(learn, texts, bs, predict):
    learn.data.add_test(texts)
    learn.data.test_dl = learn.data.test_dl.new(batch_size=bs)
    return predict(learn, DatasetType.Test, activ=lambda output: output)[0]


def in_batches(learn, ds_type, activ):
    return learn.get_preds(ds_type, activ=activ)


@pytest.fixture(scope="module")
def learners(tmp_path_factory):
    made = {}

    def get(name):
        if name not in made:
            made[name] = learner(name, tmp_path_factory.mktemp("vocabulary"))
        return made[name]

    return get


@pytest.mark.parametrize(
    "name", ["bert", *(pytest.param(name, marks=pytest.mark.slow) for name in (*MASKED[1:], *TODAY))]
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(WORDS, min_size=2, max_size=9), seed=st.integers(0, 99), bs=st.integers(2, 9))
def test_order_and_batch_size_change_no_logit(learners, name, texts, seed, bs):
    if "transformers 5" in name:
        pytest.importorskip("transformers")
    learn = learners(name)
    order = np.random.RandomState(seed).permutation(len(texts))
    alone = logits(learn, texts, 1, in_batches)
    together = logits(learn, [texts[row] for row in order], bs, in_batches)
    assert torch.allclose(together, alone[order], **SAME)
    assert torch.allclose(logits(learn, texts, bs, ordered_preds), alone, **SAME)


def test_padded_in_front_positions_are_counted_from_the_text_on(tmp_path):
    """BERT, its texts padded in front: without positions of their own, rows depend on the longest of the batch."""
    tokenizer = slow_tokenizer(tmp_path)
    tokenizer.padding_side = "left"
    data = text_data(
        TRAIN,
        TRAIN,
        tokenizer,
        text="text",
        labels="kind",
        bs=4,
        max_length=30,
        progress=False,
        device=torch.device("cpu"),
    )
    torch.manual_seed(0)
    bare = tiny_model("bert", data.c)
    with torch.no_grad():
        for weight in bare.parameters():
            weight.mul_(3)
    # BERT's head reads position 0, which is padding here: a head that reads the last position stands in for GPT-2's.
    bare.bert.pooler = ReadsLast(bare.bert.pooler)
    learn = Learner(data, HFModel(bare, inputs=data.inputs), callbacks=[HFCallback()])
    texts = TRAIN.text.tolist()
    alone, together = logits(learn, texts, 1, in_batches), logits(learn, texts, 6, in_batches)
    assert torch.allclose(together, alone, **SAME)
    learn.model.first_position = None  # the broken arm
    assert not torch.allclose(logits(learn, texts, 6, in_batches), alone, **SAME)


class ReadsLast(torch.nn.Module):
    def __init__(self, pooler):
        super().__init__()
        self.pooler = pooler

    def forward(self, hidden):
        return self.pooler(hidden.flip(1))


def test_the_articles_feeding_does_change_them(learners):
    """Padded in front, with id 1, without a mask: as ``TextClasDataBunch`` feeds whatever collate_fn it is given."""
    model = learners("bert").model.model.eval()
    rows = [row.input_ids.tolist() for row in learners("bert").data.train_ds.x.items]
    longest = max(map(len, rows))
    with torch.no_grad():
        alone = torch.cat([model(torch.tensor([row]))[0] for row in rows])
        together = model(torch.tensor([[1] * (longest - len(row)) + row for row in rows]))[0]
    short = [at for at, row in enumerate(rows) if len(row) < longest]
    assert not torch.allclose(together, alone, **SAME)
    assert ((together - alone).abs().max(1)[0][short] > 1e-3).float().mean() > 0.9
