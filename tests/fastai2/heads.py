"""Every kind of head: a tiny real model, batches for it, and the loss that belongs to it."""

from typing import Any, Callable, NamedTuple

import pytest
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat
from fastai.metrics import Perplexity, accuracy, accuracy_multi
from torch.utils.data import TensorDataset

from fastai_hf_callback import (
    HFCallback,
    HFModel,
    NextTokenLoss,
    SpanLoss,
    WordAccuracy,
    layer_groups,
    span_exact_match,
    span_f1,
    span_logits,
)
from tests.fastai2.learners import BATCH, IGNORE_INDEX, LENGTH, PAD, texts_and_targets, without_progress_bar
from tests.tiny_models import VOCAB, tiny_transformers_model

ROWS = 16


class Head(NamedTuple):
    """How one kind of head is trained: `data` makes inputs and targets of ids and their mask."""

    model: Callable[[], Any]
    data: Callable[..., Any]
    loss: Callable[[], Any]
    metrics: Callable[[], list]
    inputs: tuple = ("input_ids", "attention_mask")
    element: Any = None


# -- data: what the inputs and targets of a head are ----------------------------------------------------------


def targets_of(task):
    def make(ids, mask, seed):
        return (ids, mask), (texts_and_targets(task, len(ids), seed)[2],)

    return make


def masked_words(ids, mask, seed):
    """Each row's second token is hidden (id 4), and alone to be told; each row says one word again and again."""
    said = ids[:, :1].expand_as(ids)
    hidden = torch.zeros_like(ids)
    hidden[:, 1] = 1
    return (torch.where(hidden == 1, torch.full_like(ids, 4), said * mask), mask), (
        torch.where(hidden == 1, said, torch.full_like(ids, IGNORE_INDEX)),
    )


def next_words(ids, mask, seed):
    """Each word is the one before it plus 7."""
    said = (ids[:, :1] + 7 * torch.arange(LENGTH)[None] - 5) % (VOCAB - 5) + 5
    return (said * mask, mask), (torch.where(mask == 1, said, torch.full_like(said, IGNORE_INDEX)),)


def spans(ids, mask, seed):
    """The answer is the word 4, which stands in each text once, and the word after it."""
    begins = ids[:, 0] % 2
    marked = torch.where(torch.arange(LENGTH)[None] == begins[:, None], torch.full_like(ids, 4), ids)
    return (marked, mask), (torch.stack([begins, begins + 1], 1),)


def two_positions(ids, mask, seed):
    inputs, (target,) = spans(ids, mask, seed)
    return inputs, (target[:, 0], target[:, 1])


def translations(ids, mask, seed):
    """The translation are the words themselves; labels go into the model, too, which makes decoder inputs of them."""
    labels = torch.where(mask == 1, ids, torch.full_like(ids, IGNORE_INDEX))
    return (ids, mask, labels), (labels,)


def ends_marked(ids, mask, seed):
    """BART's classifier reads the last end-of-text token (id 2) and wants as many in each row."""
    ids = ids.clone()
    ids[:, 0] = 2
    return (ids, mask), (texts_and_targets("classes", len(ids), seed)[2],)


# -- models -------------------------------------------------------------------------------------------------


def usual(name, n_outputs, head):
    return lambda: tiny_transformers_model(name, n_outputs, head)


def causal():
    library = pytest.importorskip("transformers")
    return library.GPT2LMHeadModel(library.GPT2Config(vocab_size=VOCAB, n_embd=16, n_layer=2, n_head=2, n_positions=32))


def llama():
    library = pytest.importorskip("transformers")
    return library.LlamaForCausalLM(
        library.LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            pad_token_id=PAD,
        )
    )


def bart(kind="ConditionalGeneration", n_outputs=3):
    library = pytest.importorskip("transformers")
    config = library.BartConfig(
        vocab_size=VOCAB,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        num_labels=n_outputs,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=32,
        pad_token_id=PAD,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
    )
    return getattr(library, f"BartFor{kind}")(config)


def t5():
    library = pytest.importorskip("transformers")
    return library.T5ForConditionalGeneration(
        library.T5Config(
            vocab_size=VOCAB,
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_decoder_layers=1,
            num_heads=2,
            pad_token_id=PAD,
            decoder_start_token_id=PAD,
        )
    )


# -- heads ----------------------------------------------------------------------------------------------------

WITH_LABELS = ("input_ids", "attention_mask", "labels")
HEADS = {
    "one class": Head(
        usual("bert", 3, "SequenceClassification"), targets_of("classes"), CrossEntropyLossFlat, lambda: [accuracy]
    ),
    "several labels": Head(
        usual("distilbert", 4, "SequenceClassification"),
        targets_of("labels"),
        BCEWithLogitsLossFlat,
        lambda: [accuracy_multi],
    ),
    "a number": Head(usual("electra", 1, "SequenceClassification"), targets_of("number"), MSELossFlat, list),
    "one class, encoder and decoder": Head(
        lambda: bart("SequenceClassification"), ends_marked, CrossEntropyLossFlat, lambda: [accuracy]
    ),
    "words": Head(
        usual("roberta", 3, "TokenClassification"), targets_of("words"), CrossEntropyLossFlat, lambda: [WordAccuracy()]
    ),
    "an answer": Head(
        usual("bert", 2, "QuestionAnswering"), spans, SpanLoss, lambda: [span_exact_match, span_f1], element=span_logits
    ),
    "an answer, fastai's loss": Head(
        usual("electra", 2, "QuestionAnswering"),
        spans,
        CrossEntropyLossFlat,
        lambda: [span_exact_match],
        element=span_logits,
    ),
    "an answer, two tensors": Head(
        usual("distilbert", 2, "QuestionAnswering"),
        two_positions,
        SpanLoss,
        lambda: [span_exact_match],
        element=("start_logits", "end_logits"),
    ),
    "hidden words": Head(usual("bert", 2, "MaskedLM"), masked_words, CrossEntropyLossFlat, lambda: [WordAccuracy()]),
    "the next word": Head(causal, next_words, NextTokenLoss, lambda: [Perplexity(), WordAccuracy(ahead=1)]),
    "the next word, llama": Head(llama, next_words, NextTokenLoss, lambda: [WordAccuracy(ahead=1)]),
    "a translation": Head(bart, translations, CrossEntropyLossFlat, lambda: [WordAccuracy()], inputs=WITH_LABELS),
    "a translation, t5": Head(t5, translations, CrossEntropyLossFlat, lambda: [WordAccuracy()], inputs=WITH_LABELS),
}


def make_learner(name, **kwargs):
    """A new learner on a new model with this head."""
    head = HEADS[name]

    def part(seed):
        ids, mask, _ = texts_and_targets("classes", ROWS, seed)
        inputs, targets = head.data(ids, mask, seed)
        data = TensorDataset(*inputs, *targets)
        data.n_inp = len(head.inputs)  # fastai takes all tensors but the last for inputs, where the data do not say
        return data

    dls = DataLoaders.from_dsets(part(0), part(1), bs=BATCH, num_workers=0, device=torch.device("cpu"))
    settings = dict(
        loss_func=head.loss(), metrics=head.metrics(), splitter=layer_groups, cbs=[HFCallback(element=head.element)]
    )
    return without_progress_bar(Learner(dls, HFModel(head.model(), inputs=head.inputs), **{**settings, **kwargs}))
