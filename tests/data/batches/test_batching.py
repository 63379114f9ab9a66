"""Batches of like length, padding, and a model that does not fit the data."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback import HFModel
from fastai_hf_callback.data.batches.batch_spec import BatchSpec
from fastai_hf_callback.data.batches.padding import Padding, build_attention_mask, pad_rows
from fastai_hf_callback.data.batches.sampler import (
    LengthBucketSampler,
    global_batch_sizes,
    padding_ratio,
    shard_batches,
    shard_batches_evenly,
    sort_longest_first,
)
from fastai_hf_callback.errors import InputError, InvalidInputError
from tests.tiny_models import VOCAB, tiny_model

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=300)


def log_normal(rows, seed=0):
    """Lengths like comments': 5 to 120 tokens, most of them short."""
    drawn = np.random.RandomState(seed).lognormal(3.2, 0.7, rows)
    return np.clip(drawn, 5, 120).astype(int)


def batches(order, bs):
    return [order[at : at + bs] for at in range(0, len(order), bs)]


# -- the order ---------------------------------------------------------------------------------------


@given(LENGTHS, st.integers(1, 40), st.integers(1, 8), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_every_row_comes_once_and_the_longest_in_the_first_full_batch(lengths, bs, window, seed):
    torch.manual_seed(seed)
    order = list(LengthBucketSampler(lengths, bs, window))
    assert sorted(order) == list(range(len(lengths)))
    full = [batch for batch in batches(order, bs) if len(batch) == bs]
    longest = [max(lengths[row] for row in batch) for batch in full]
    assert longest[:1] == ([max(longest)] if longest else [])


def test_no_rows_are_an_empty_pass():
    assert list(LengthBucketSampler([], 4)) == [] and len(LengthBucketSampler([], 4)) == 0


def test_each_pass_makes_other_batches_and_a_seed_the_same_ones():
    buckets = LengthBucketSampler(log_normal(1000), 16)
    torch.manual_seed(3)
    first, second = list(buckets), list(buckets)
    torch.manual_seed(3)
    assert list(buckets) == first
    together = [{frozenset(batch) for batch in batches(order, 16)} for order in (first, second)]
    assert len(together[0] & together[1]) < 0.1 * len(together[0])  # other batches, not the same in another order


def test_only_torchs_generator_is_drawn_from():
    before = np.random.get_state()[1].copy()
    list(LengthBucketSampler([3, 1, 2], 2))
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize("rows", (100, 800, 51 * 32, 76 * 32, 3000, 20000))
def test_buckets_compute_hardly_more_than_all_rows_sorted_would_and_a_random_order_far_more(rows):
    lengths = log_normal(rows)
    least = padding_ratio(lengths, sort_longest_first(lengths), 32)
    assert padding_ratio(lengths, LengthBucketSampler(lengths, 32).draw(), 32) <= 1.05 * least
    assert padding_ratio(lengths, torch.randperm(rows).numpy(), 32) > 1.5 * least


def test_longest_first_keeps_the_order_of_equals():
    assert sort_longest_first([2, 5, 2, 7]).tolist() == [3, 1, 0, 2]


# -- dealt to processes ------------------------------------------------------------------------------

ROWS, BATCH, WORLD = st.integers(0, 2000), st.integers(1, 40), st.integers(1, 64)


def faults_of(shares, order, bs, world):
    """What is wrong with rows dealt for training; nothing, if nothing is."""
    rows = [row for share in shares for batch in share for row in batch.tolist()]
    sizes = [[len(batch) for batch in share] for share in shares]
    most = bs if bs > 1 or len(order) % world == 0 else 2
    return [
        fault
        for fault, there in (
            ("rows lost", set(rows) != set(order)),
            ("rows repeated", len(set(rows)) < len(rows)),
            ("unequal numbers of batches", len(set(map(len, sizes))) > 1),
            ("a process without a row", min(map(min, sizes)) == 0),
            ("a batch too large", max(map(max, sizes)) > most),
            ("unequal batches", any(max(step) - min(step) > 1 for step in zip(*sizes))),
        )
        if there
    ]


@given(ROWS, BATCH, WORLD, st.booleans(), st.integers(0, 9))
@settings(max_examples=400, deadline=None)
def test_dealt_rows_are_all_there_once_and_no_process_has_a_batch_more(rows, bs, world, interleave, seed):
    order = np.random.RandomState(seed).permutation(rows)
    if rows < world:
        with pytest.raises(InvalidInputError, match=rf"{rows} row\(s\) for {world} processes"):
            shard_batches(order, bs, world, interleave)
        return
    shares = shard_batches(order, bs, world, interleave)
    assert len(shares) == world and faults_of(shares, order, bs, world) == []
    joint = [np.concatenate(step) for step in zip(*shares)]
    assert [len(step) for step in joint] == global_batch_sizes(rows, bs, world)
    if interleave:
        assert sorted(np.concatenate(joint)) == sorted(order)
    else:
        assert np.concatenate(joint).tolist() == order.tolist(), "put together they are the order again"


def test_what_torchs_own_sampler_deals_is_seen_to_repeat_rows():
    from torch.utils.data.distributed import DistributedSampler

    samplers = [DistributedSampler(range(61), 2, rank) for rank in range(2)]
    shares = [[np.array(part) for part in batches(list(sampler), 4)] for sampler in samplers]
    assert faults_of(shares, range(61), 4, 2) == ["rows repeated"]


@pytest.mark.parametrize(
    "spoil, fault",
    [
        (lambda shares: shares[0].pop(), "rows lost"),
        (lambda shares: shares[1].append(shares[0][0]), "rows repeated"),
        (lambda shares: shares[1].pop(), "unequal numbers of batches"),
        (
            lambda shares: shares[0].append(np.array([], int)) or shares[1].append(np.array([], int)),
            "a process without a row",
        ),
        (lambda shares: shares[0].insert(0, np.concatenate([shares[0].pop(0), shares[0].pop(0)])), "a batch too large"),
    ],
)
def test_and_so_is_every_other_fault(spoil, fault):
    shares = shard_batches(np.arange(40), 4, 2)
    spoil(shares)
    assert fault in faults_of(shares, range(40), 4, 2)


@given(st.integers(1, 400), BATCH, WORLD, st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_joint_batches_are_those_of_one_process(steps, bs, world, seed):
    rows, lengths = min(steps * bs * world, 3000), None
    rows -= rows % (bs * world)
    if not rows:
        return
    lengths = np.random.RandomState(seed).randint(1, 300, rows)
    torch.manual_seed(seed)
    order = LengthBucketSampler(lengths, bs * world).draw()
    joint = [set(np.concatenate(step)) for step in zip(*shard_batches(order, bs, world, interleave=True))]
    assert joint == [set(batch) for batch in batches(order.tolist(), bs * world)]


@given(ROWS, BATCH, WORLD)
@settings(max_examples=200, deadline=None)
def test_evenly_dealt_rows_are_as_many_for_each_and_what_is_left_is_fewer_than_the_processes(rows, bs, world):
    order = np.random.RandomState(rows).permutation(rows)
    shares, rest = shard_batches_evenly(order, bs, world)
    sizes = [[len(batch) for batch in share] for share in shares]
    assert len(shares) == world and all(one == sizes[0] for one in sizes)
    assert max([0, *(size for one in sizes for size in one), *map(len, rest)]) <= bs
    assert sum(map(len, rest)) < world
    joint = [row for step in zip(*shares) for part in step for row in part] + [row for part in rest for row in part]
    assert joint == order.tolist()


@pytest.mark.parametrize("world", (2, 8, 64))
def test_no_process_waits_for_another_with_longer_texts(world):
    lengths = log_normal(32 * world * 60)

    def waited(order, interleave):
        """Token positions that processes wait for, per position computed: the longest process sets the pace."""
        widths = np.array(
            [[lengths[batch].max() for batch in share] for share in shard_batches(order, 32, world, interleave)]
        )
        return float((widths.max(0) - widths).sum() / widths.sum())

    order = LengthBucketSampler(lengths, 32 * world).draw()
    assert waited(order, True) < 0.02
    assert waited(order, True) < waited(order, False) < waited(torch.randperm(len(lengths)).numpy(), True)


# -- padding -----------------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.integers(0, 99), max_size=9), min_size=1, max_size=6),
    st.sampled_from(["left", "right"]),
    st.integers(0, 4),
)
@settings(max_examples=100, deadline=None)
def test_rows_come_back_out_of_their_padding(rows, side, more):
    width = max(map(len, rows)) + more
    padded = pad_rows(rows, -7, side, width)
    assert padded.dtype == torch.int64 and padded.shape == (len(rows), width)
    for row, line in zip(rows, padded.tolist()):
        missing = [-7] * (width - len(row))
        assert line == (missing + row if side == "left" else row + missing)
    assert torch.equal(build_attention_mask(rows, side, width), (padded != -7).long())
    assert build_attention_mask(rows, side).shape[1] == width - more


# -- a model that does not fit -----------------------------------------------------------------------


def inputs(**changed):
    return BatchSpec(("input_ids", "attention_mask"), **{**dict(longest=20, vocab_size=VOCAB, num_labels=3), **changed})


@pytest.mark.parametrize("name", ("bert", "roberta", "distilbert", "xlnet", "xlm", "bert of transformers 5"))
def test_a_model_that_fits_is_taken(name):
    if "transformers 5" in name:
        pytest.importorskip("transformers")
    model = tiny_model(name, n_outputs=3)
    wrapped = HFModel(model, inputs())
    assert wrapped.input_names == ("input_ids", "attention_mask")


@pytest.mark.parametrize(
    "changed, message",
    (
        (
            dict(vocab_size=VOCAB + 2),
            "The tokenizer has 50 ids, and BertForSequenceClassification embeds 48. Load both from one "
            "folder, or write "
            "model.resize_token_embeddings(50) if tokens were added.",
        ),
        (
            dict(longest=33),
            "The longest text has 33 tokens, and BertForSequenceClassification has 32 positions. Write "
            "text_data(..., max_length=32).",
        ),
        (
            dict(num_labels=4),
            "The labels ask for 4 output(s), and BertForSequenceClassification gives 3. Write "
            "from_pretrained(..., num_labels=4).",
        ),
    ),
)
@pytest.mark.parametrize("name", ("bert", "bert of transformers 5"))
def test_a_model_that_does_not_fit_is_refused_before_training(changed, message, name):
    if "transformers 5" in name:
        pytest.importorskip("transformers")
    with pytest.raises(InputError) as caught:
        HFModel(tiny_model(name, n_outputs=3), inputs(**changed))
    assert str(caught.value) == message


def test_robertas_first_positions_are_no_tokens():
    model = tiny_model("roberta", n_outputs=3)  # 34 rows, of which the padding id and what is before it take two
    HFModel(model, inputs(longest=32))
    with pytest.raises(InputError, match="33 tokens.* 32 positions"):
        HFModel(model, inputs(longest=33))


def test_a_model_without_positions_takes_any_length():
    HFModel(tiny_model("xlnet", n_outputs=3), inputs(longest=10_000))


def test_names_travel_with_what_they_know():
    there = pickle.loads(pickle.dumps(inputs(padding=Padding(5, 3, "left"), task="regression", classes=["a", "b"])))
    assert there == ("input_ids", "attention_mask") and there.padding == Padding(5, 3, "left")
    assert (there.longest, there.vocab_size, there.num_labels) == (20, VOCAB, 3)
    assert (there.task, there.classes) == ("regression", ("a", "b"))
