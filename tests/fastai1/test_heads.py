"""Heads whose outputs and targets do not stand side by side, on fastai 1: answers and next words."""

import warnings

import pytest
import torch
from torch.utils.data import TensorDataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DataBunch
    from fastai.layers import CrossEntropyFlat
    from fastai.train import Learner

from fastai_hf_callback import (
    HFCallback,
    HFModel,
    NextTokenLoss,
    SpanLoss,
    WordAccuracy,
    compare,
    span_exact_match,
    span_f1,
    span_logits,
)
from tests.fastai1.learners import BATCH, PAD, collate, texts_and_targets
from tests.tiny_models import VOCAB

ROWS, LENGTH = 16, 8


def answers(ids):
    """The answer is the word 4, which stands in each text once, and the word after it."""
    begins = ids[:, 0] % 2
    marked = torch.where(torch.arange(LENGTH)[None] == begins[:, None], torch.full_like(ids, 4), ids)
    return marked, torch.stack([begins, begins + 1], 1)


def next_words(ids):
    """Each word is the one before it plus 7."""
    said = (ids[:, :1] + 7 * torch.arange(LENGTH)[None] - 5) % (VOCAB - 5) + 5
    return said, said


def bert():
    library = pytest.importorskip("pytorch_transformers")
    return library.BertForQuestionAnswering(
        library.BertConfig(
            VOCAB,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
        )
    )


def gpt2():
    library = pytest.importorskip("pytorch_transformers")
    return library.GPT2LMHeadModel(library.GPT2Config(VOCAB, n_positions=32, n_ctx=32, n_embd=16, n_layer=2, n_head=2))


HEADS = {
    "an answer": (bert, answers, SpanLoss, lambda: [span_exact_match, span_f1], span_logits),
    "an answer, fastai's loss": (bert, answers, CrossEntropyFlat, lambda: [span_exact_match], span_logits),
    "the next word": (gpt2, next_words, NextTokenLoss, lambda: [WordAccuracy(ahead=1)], None),
}


def make_learner(name):
    model, data, loss, metrics, element = HEADS[name]

    def part(seed):
        return TensorDataset(*data(texts_and_targets("classes", ROWS, seed)[0].clamp(min=5)))

    bunch = DataBunch.create(
        part(0), part(1), bs=BATCH, num_workers=0, collate_fn=collate, no_check=True, device=torch.device("cpu")
    )
    return Learner(
        bunch,
        HFModel(model(), pad_token_id=PAD),
        loss_func=loss(),
        metrics=metrics(),
        silent=True,
        callbacks=[HFCallback(element=element)],
    )


@pytest.mark.parametrize("name", HEADS)
def test_it_trains_validates_and_predicts(name):
    torch.manual_seed(0)
    learn = make_learner(name)
    before = learn.validate(learn.data.fix_dl)
    learn.fit(10, 1e-2)
    assert learn.validate(learn.data.fix_dl)[0] < 0.9 * before[0]
    outputs, targets = learn.get_preds()
    assert len(outputs) == len(targets) == ROWS and outputs.dim() == 3


@pytest.mark.parametrize("name", HEADS)
def test_it_equals_the_patched_loop_bit_for_bit(name):
    comparison = compare(lambda: make_learner(name), fit=lambda learn: learn.fit(1, 1e-2), progress=False)
    assert comparison.identical, str(comparison)
    assert comparison.broken_arm_differs, "the broken arm must differ"
