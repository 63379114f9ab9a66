"""Losses and metrics of spans and next tokens; the models' own losses are the witness. No fastai here."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from fastai_hf_callback import (
    InvalidInputError,
    NextTokenLoss,
    OutputError,
    SpanLoss,
    span_exact_match,
    span_f1,
    span_logits,
)
from fastai_hf_callback.data.batches.token_labels import count_correct_words
from fastai_hf_callback.model.question_answering import best_spans
from tests.tiny_models import VOCAB, ids, tiny_transformers_model

quick = settings(deadline=None, max_examples=40)
LOGITS = torch.randn(4, 2, 6, generator=torch.Generator().manual_seed(0))
SPANS = torch.tensor([[1, 2], [0, 0], [3, 5], [2, 2]])


# -- the models' own losses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ("bert", "roberta", "distilbert", "electra"))
def test_the_loss_of_a_span_is_the_models_own(name):
    torch.manual_seed(0)
    model, texts = tiny_transformers_model(name, 2, "QuestionAnswering").eval(), ids(4, 6)
    with torch.no_grad():
        output = model(input_ids=texts, start_positions=SPANS[:, 0], end_positions=SPANS[:, 1])
    for outputs in (span_logits(output), (output.start_logits, output.end_logits)):
        for targets in ((SPANS,), (SPANS[:, 0], SPANS[:, 1])):
            assert torch.allclose(SpanLoss()(outputs, *targets), output.loss)
    assert not torch.allclose(SpanLoss()(span_logits(output).flip(1), SPANS), output.loss)  # the broken arm


@pytest.mark.parametrize("padded", (False, True))
def test_the_loss_of_the_next_token_is_the_models_own(padded):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=VOCAB, n_embd=16, n_layer=1, n_head=2, n_positions=16)
    ).eval()
    texts = ids(4, 6)
    labels = texts.masked_fill(torch.tensor([[False] * 4 + [padded] * 2]), -100)
    with torch.no_grad():
        output = model(input_ids=texts, labels=labels)
    assert torch.allclose(NextTokenLoss()(output.logits, labels), output.loss)
    unshifted = F.cross_entropy(output.logits.flatten(0, 1), labels.flatten())  # the broken arm
    assert not torch.allclose(unshifted, output.loss)


# -- reductions -----------------------------------------------------------------------------------------------


def test_one_loss_per_row_is_what_fastai_asks_for_with_loss():
    per_row = SpanLoss("none")(LOGITS, SPANS)
    assert per_row.shape == (4,) and torch.allclose(per_row.mean(), SpanLoss()(LOGITS, SPANS))
    assert torch.allclose(per_row[2], SpanLoss()(LOGITS[2:3], SPANS[2:3]))
    targets = torch.tensor([[1, 2, 3], [4, -100, -100]])
    logits = torch.randn(2, 3, 8)
    per_row = NextTokenLoss("none")(logits, targets)
    assert torch.allclose(per_row[0], NextTokenLoss()(logits[:1], targets[:1])) and float(per_row[1]) == 0


def test_a_batch_without_a_target_is_no_end_of_the_training():
    nothing = torch.full((4, 2), -100, dtype=torch.int64)
    logits = LOGITS.clone().requires_grad_()
    loss = SpanLoss()(logits, nothing)
    loss.backward()
    assert loss.item() == 0 and float(logits.grad.abs().sum()) == 0
    assert float(NextTokenLoss()(torch.randn(4, 2, 8), nothing)) == 0
    if not torch.__version__.startswith("1."):  # torch 1.4 gives 0 itself
        assert bool(torch.isnan(F.cross_entropy(LOGITS.reshape(8, 6), nothing.reshape(8))))  # the broken arm


def test_probabilities_keep_their_form_and_are_decoded():
    one, pair = SpanLoss().activation(LOGITS), SpanLoss().activation((LOGITS[:, 0], LOGITS[:, 1]))
    assert torch.equal(torch.stack(pair, 1), one) and torch.allclose(one.sum(-1), torch.ones(4, 2))
    assert torch.equal(SpanLoss().decodes(one), SpanLoss().decodes(pair))
    assert torch.equal(SpanLoss().decodes(one), best_spans(LOGITS))
    words = torch.randn(2, 3, 5)
    assert torch.equal(NextTokenLoss().decodes(NextTokenLoss().activation(words)), words.argmax(-1))


# -- the best span ----------------------------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 99))
@quick
def test_the_best_span_is_the_best_of_all_that_do_not_end_before_they_begin(rows, width, seed):
    scores = torch.randn(rows, 2, width, generator=torch.Generator().manual_seed(seed))
    found = best_spans(scores)
    for row, (first, last) in zip(scores.numpy(), found.tolist()):
        every = np.triu(np.exp(row[0][:, None].astype(np.float64) + row[1][None]))
        assert (first, last) == np.unravel_index(every.argmax(), every.shape)


def test_each_on_its_own_begin_and_end_would_cross():
    scores = torch.tensor([[[0.0, 0.0, 9.0, 0.0], [9.0, 0.0, 1.0, 0.0]]])
    assert scores.argmax(-1).tolist() == [[2, 0]]
    assert best_spans(scores).tolist() == [[2, 2]]


# -- metrics ----------------------------------------------------------------------------------------------------


def scores_of(spans, width=6):
    scores = torch.zeros(len(spans), 2, width)
    for row, (first, last) in enumerate(spans):
        scores[row, 0, first] = scores[row, 1, last] = 9
    return scores


def test_span_match_and_overlap():
    assert float(span_exact_match(scores_of(SPANS.tolist()), SPANS)) == float(span_f1(scores_of(SPANS), SPANS)) == 1
    near = scores_of([[1, 3], [1, 1], [3, 5], [2, 2]])  # two of three tokens, none, all, all
    assert float(span_exact_match(near, SPANS)) == 0.5
    assert float(span_f1(near, SPANS)) == pytest.approx((2 * 2 / 5 + 0 + 1 + 1) / 4)
    assert torch.equal(
        span_exact_match(near, SPANS), span_exact_match((near[:, 0], near[:, 1]), SPANS[:, 0], SPANS[:, 1])
    )


def test_an_answer_that_was_cut_off_counts_as_missed():
    cut = torch.tensor([[1, 2], [-100, -100]])
    assert (
        float(span_exact_match(scores_of([[1, 2], [0, 0]]), cut))
        == float(span_f1(scores_of([[1, 2], [0, 0]]), cut))
        == 0.5
    )


def test_words_right_ahead_of_their_time():
    targets = torch.tensor([[5, 6, 7, -100]])
    foretold = F.one_hot(torch.tensor([[6, 7, 0, 0]]), 8).float()
    assert count_correct_words(foretold, targets, ahead=1) == (2, 2)
    assert count_correct_words(foretold, targets) == (0, 3)  # the broken arm: what counts unshifted


# -- what cannot be used ------------------------------------------------------------------------------------------


def test_both_outputs_in_one_tensor():
    start, end = LOGITS[:, 0], LOGITS[:, 1]
    for output in (
        {"loss": torch.tensor(0.1), "start_logits": start, "end_logits": end},
        (start, end),
        (torch.tensor(0.1), start, end),
        [start, end, (torch.zeros(4, 6, 8),)],
    ):
        assert torch.equal(span_logits(output), LOGITS)
    assert not torch.equal(span_logits((end, start)), LOGITS)


@pytest.mark.parametrize(
    "output, said",
    (
        ({"logits": LOGITS}, r"The model returned dict\(logits: float32 \(4, 2, 6\)\); expected start_logits and"),
        ((LOGITS,), "expected start_logits and end_logits"),
        (LOGITS, "expected start_logits and end_logits"),
        ({"start_logits": LOGITS, "end_logits": None}, "expected start_logits and end_logits"),
    ),
)
def test_an_output_without_both_is_refused(output, said):
    with pytest.raises(OutputError, match=said):
        span_logits(output)


@pytest.mark.parametrize(
    "outputs, targets, said",
    (
        (
            LOGITS[:, 0],
            (SPANS,),
            r"float32 \(4, 6\) was given for the outputs of a span; expected .*element=span_logits",
        ),
        (
            LOGITS,
            (SPANS[:, 0],),
            r"tuple\(int64 \(4,\)\) was given for the targets of a span; expected int64 \(rows, 2\)",
        ),
        (LOGITS, (SPANS, SPANS, SPANS), "was given for the targets of a span"),
    ),
)
def test_shapes_that_are_no_spans_are_refused(outputs, targets, said):
    for use in (SpanLoss(), span_exact_match, span_f1):
        with pytest.raises(InvalidInputError, match=said):
            use(outputs, *targets)


def test_shapes_that_are_no_next_tokens_are_refused():
    with pytest.raises(InvalidInputError, match=r"float32 \(4, 6\) and int64 \(4, 2\) were given for the next token"):
        NextTokenLoss()(LOGITS[:, 0], SPANS)
