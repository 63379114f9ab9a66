"""Batches of like length, padding, and a model that does not fit the data."""
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback import HFModel
from fastai_hf_callback.batching import (
    LengthBuckets,
    Padding,
    TextInputs,
    longest_first,
    mask_rows,
    pad_rows,
    padded_share,
)
from fastai_hf_callback.errors import InputError
from tests.tiny import VOCAB, tiny_model

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=300)


def log_normal(rows, seed=0):
    """Lengths like comments': 5 to 120 tokens, most of them short."""
    drawn = np.random.RandomState(seed).lognormal(3.2, 0.7, rows)
    return np.clip(drawn, 5, 120).astype(int)


def batches(order, bs):
    return [order[at:at + bs] for at in range(0, len(order), bs)]


# -- the order ---------------------------------------------------------------------------------------


@given(LENGTHS, st.integers(1, 40), st.integers(1, 8), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_every_row_comes_once_and_the_longest_in_the_first_full_batch(lengths, bs, window, seed):
    torch.manual_seed(seed)
    order = list(LengthBuckets(lengths, bs, window))
    assert sorted(order) == list(range(len(lengths)))
    full = [batch for batch in batches(order, bs) if len(batch) == bs]
    longest = [max(lengths[row] for row in batch) for batch in full]
    assert longest[:1] == ([max(longest)] if longest else [])


def test_no_rows_are_an_empty_pass():
    assert list(LengthBuckets([], 4)) == [] and len(LengthBuckets([], 4)) == 0


def test_each_pass_makes_other_batches_and_a_seed_the_same_ones():
    buckets = LengthBuckets(log_normal(1000), 16)
    torch.manual_seed(3)
    first, second = list(buckets), list(buckets)
    torch.manual_seed(3)
    assert list(buckets) == first
    together = [{frozenset(batch) for batch in batches(order, 16)} for order in (first, second)]
    assert len(together[0] & together[1]) < 0.1 * len(together[0])  # other batches, not the same in another order


def test_only_torchs_generator_is_drawn_from():
    before = np.random.get_state()[1].copy()
    list(LengthBuckets([3, 1, 2], 2))
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize("rows", (100, 800, 51 * 32, 76 * 32, 3000, 20000))
def test_buckets_compute_hardly_more_than_all_rows_sorted_would_and_a_random_order_far_more(rows):
    lengths = log_normal(rows)
    least = padded_share(lengths, longest_first(lengths), 32)
    assert padded_share(lengths, LengthBuckets(lengths, 32).draw(), 32) <= 1.05 * least
    assert padded_share(lengths, torch.randperm(rows).numpy(), 32) > 1.5 * least


def test_longest_first_keeps_the_order_of_equals():
    assert longest_first([2, 5, 2, 7]).tolist() == [3, 1, 0, 2]


# -- padding -----------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, 99), max_size=9), min_size=1, max_size=6), st.sampled_from(["left", "right"]),
       st.integers(0, 4))
@settings(max_examples=100, deadline=None)
def test_rows_come_back_out_of_their_padding(rows, side, more):
    width = max(map(len, rows)) + more
    padded = pad_rows(rows, -7, side, width)
    assert padded.dtype == torch.int64 and padded.shape == (len(rows), width)
    for row, line in zip(rows, padded.tolist()):
        missing = [-7] * (width - len(row))
        assert line == (missing + row if side == "left" else row + missing)
    assert torch.equal(mask_rows(rows, side, width), (padded != -7).long())
    assert mask_rows(rows, side).shape[1] == width - more


# -- a model that does not fit -----------------------------------------------------------------------


def inputs(**changed):
    return TextInputs(("input_ids", "attention_mask"), **{**dict(longest=20, vocabulary=VOCAB, outputs=3), **changed})


@pytest.mark.parametrize("name", ("bert", "roberta", "distilbert", "xlnet", "xlm", "bert of transformers 5"))
def test_a_model_that_fits_is_taken(name):
    if "transformers 5" in name:
        pytest.importorskip("transformers")
    model = tiny_model(name, n_outputs=3)
    wrapped = HFModel(model, inputs())
    assert wrapped.input_names == ("input_ids", "attention_mask")


@pytest.mark.parametrize("changed, message", (
    (dict(vocabulary=VOCAB + 2),
     "The tokenizer has 50 ids, and BertForSequenceClassification embeds 48. Load both from one folder, or write "
     "model.resize_token_embeddings(50) if tokens were added."),
    (dict(longest=33), "The longest text has 33 tokens, and BertForSequenceClassification has 32 positions. Write "
                       "text_data(..., max_len=32)."),
    (dict(outputs=4), "The labels ask for 4 output(s), and BertForSequenceClassification gives 3. Write "
                      "from_pretrained(..., num_labels=data.c)."),
))
def test_a_model_that_does_not_fit_is_refused_before_training(changed, message):
    with pytest.raises(InputError) as caught:
        HFModel(tiny_model("bert", n_outputs=3), inputs(**changed))
    assert str(caught.value) == message


def test_robertas_first_positions_are_no_tokens():
    model = tiny_model("roberta", n_outputs=3)  # 34 rows, of which the padding id and what is before it take two
    HFModel(model, inputs(longest=32))
    with pytest.raises(InputError, match="33 tokens.* 32 positions"):
        HFModel(model, inputs(longest=33))


def test_a_model_without_positions_takes_any_length():
    HFModel(tiny_model("xlnet", n_outputs=3), inputs(longest=10_000))


def test_a_classifier_without_a_padding_id_is_refused():
    transformers = pytest.importorskip("transformers")
    model = transformers.GPT2ForSequenceClassification(transformers.GPT2Config(
        vocab_size=VOCAB, n_embd=16, n_layer=1, n_head=2, num_labels=3))
    with pytest.raises(InputError, match=r"GPT2ForSequenceClassification has no padding id.*pad_token_id = 0\."):
        HFModel(model, inputs())
    model.config.pad_token_id = 0
    HFModel(model, inputs())


def test_names_travel_with_what_they_know():
    there = pickle.loads(pickle.dumps(inputs(padding=Padding(5, 3, "left"))))
    assert there == ("input_ids", "attention_mask") and there.padding == Padding(5, 3, "left")
    assert (there.longest, there.vocabulary, there.outputs) == (20, VOCAB, 3)
