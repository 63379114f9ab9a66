"""A text's prediction is its own: the same whatever shares its batch. Without masks the same test fails."""

import numpy as np
import pytest
import torch
from fastai.learner import Learner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastai_hf_callback import HFCallback, HFModel, ordered_preds, text_data
from tests.fastai2.learners import without_progress_bar
from tests.tiny_models import tiny_transformers_model
from tests.tiny_texts import ANIMALS, OTHERS, PLANTS, fast_tokenizer, frame

MODELS = ("roberta", "distilbert", "xlnet", "electra", "albert")
WORDS = st.lists(st.sampled_from(ANIMALS + PLANTS + OTHERS), min_size=1, max_size=25).map(" ".join)
TRAIN = frame(12, 0)
SAME = dict(rtol=0, atol=1e-5)


def learner(name, folder, side=None, pooler=None):
    """A tiny model of `name`, its texts padded as its kind wants it."""
    tokenizer = fast_tokenizer(folder)
    tokenizer.padding_side = side or ("left" if name == "xlnet" else "right")  # XLNet reads its last position
    dls = text_data(
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
    model = tiny_transformers_model(name, dls.c)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)  # at their first size the logits hardly depend on anything
    if pooler is not None:
        model.bert.pooler = pooler(model.bert.pooler)
    return without_progress_bar(Learner(dls, HFModel(model, inputs=dls.inputs), cbs=[HFCallback()]))


def logits(learn, texts, bs, predict):
    return predict(learn, learn.dls.test_dl(texts, bs=bs), act=lambda output: output)[0]


def in_batches(learn, loader, act):
    return learn.get_preds(dl=loader, act=act)


@pytest.fixture(scope="module")
def learners(tmp_path_factory):
    made = {}

    def get(name):
        if name not in made:
            made[name] = learner(name, tmp_path_factory.mktemp("vocabulary"))
        return made[name]

    return get


@pytest.mark.parametrize("name", ["bert", *(pytest.param(name, marks=pytest.mark.slow) for name in MODELS)])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(WORDS, min_size=2, max_size=9), seed=st.integers(0, 99), bs=st.integers(2, 9))
def test_order_and_batch_size_change_no_logit(learners, name, texts, seed, bs):
    learn = learners(name)
    order = np.random.RandomState(seed).permutation(len(texts))
    alone = logits(learn, texts, 1, in_batches)
    together = logits(learn, [texts[row] for row in order], bs, in_batches)
    assert torch.allclose(together, alone[order], **SAME)
    assert torch.allclose(logits(learn, texts, bs, ordered_preds), alone, **SAME)


def test_padded_in_front_positions_are_counted_from_the_text_on(tmp_path):
    """BERT, its texts padded in front: without positions of their own, rows depend on the longest of the batch."""
    # BERT's head reads position 0, which is padding here: a head that reads the last position stands in for GPT-2's.
    learn = learner("bert", tmp_path, side="left", pooler=ReadsLast)
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


def test_without_the_mask_they_do_change(learners):
    """The broken arm: the same batches, their padding read as text."""
    learn = learners("bert")
    texts = TRAIN.text.tolist()
    alone = logits(learn, texts, 1, in_batches)
    bare = learn.model.model.eval()
    with torch.no_grad():
        ids, _ = learn.dls.test_dl(texts, bs=len(texts)).one_batch()
        together = bare(ids, attention_mask=torch.ones_like(ids)).logits
    short = (ids == 0).any(1)
    assert ((together - alone).abs().max(1)[0][short] > SAME["atol"]).float().mean() > 0.9
