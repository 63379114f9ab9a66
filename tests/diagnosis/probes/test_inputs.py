"""Token ids as the word embedding saw them: padding found by what it does, masks, words."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from fastai_hf_callback.diagnosis.probes.batches import take_rows
from fastai_hf_callback.diagnosis.probes.forward_calls import EmbeddingCall, record_embedding_calls
from fastai_hf_callback.diagnosis.probes.inputs import (
    build_token_view,
    find_word_embedding_call,
    probe_inputs,
    unify_padding,
)
from fastai_hf_callback.diagnosis.probes.sensitivity import shuffle_words, take_unpadded_row
from tests.tiny_models import VOCAB, ids, tiny_model

quick = settings(deadline=None, max_examples=80)
LENGTH = 10


def some_ids(rows, seed, low=5, high=VOCAB, length=LENGTH):
    return torch.randint(low, high, (rows, length), generator=torch.Generator().manual_seed(seed))


def padded(lengths, pad=0, side="back", seed=0, high=VOCAB):
    """Ids from 5 on, of these lengths, and their mask."""
    table, places = some_ids(len(lengths), seed, high=high), torch.arange(LENGTH)[None]
    lengths = torch.tensor(lengths)[:, None]
    keep = places < lengths if side == "back" else places >= LENGTH - lengths
    return torch.where(keep, table, torch.full_like(table, pad)), keep.long()


def view(table, batch=None):
    return build_token_view(
        [EmbeddingCall(nn.Embedding(VOCAB, 4, padding_idx=0), table)], table if batch is None else batch
    )


def examined(batches, arguments=None):
    return probe_inputs(
        [view(b[0] if isinstance(b, list) else b, b) for b in batches], batches, arguments or [[] for _ in batches]
    )


# torch 1.4 once: every padding at the back ends in '"flip_cpu" not implemented for 'Bool''; many tests below fail.
# -- padding -------------------------------------------------------------------------------------------------------


@quick
@given(
    st.lists(st.integers(2, LENGTH), min_size=4, max_size=12),
    st.integers(0, 4),
    st.sampled_from(["back", "front"]),
    st.integers(0, 999),
)
def test_padding_is_found_whatever_its_id_its_side_and_the_lengths(lengths, pad, side, seed):
    fills = [LENGTH - length for length in lengths]
    assume(max(fills) >= 2 and len(set(fills)) > 1 and sum(f > 0 for f in fills) >= 0.2 * len(fills))
    assume(sum(fills) >= 0.03 * LENGTH * len(fills))
    assume(sum(fill - 1 for fill in fills if fill) >= 2)  # one row may end in the same word twice by chance
    table, mask = padded(lengths, pad, side, seed)
    found = view(table)
    assert (found.pad_token_id, found.pad_side) == (pad, side)
    assert torch.equal(found.is_pad, mask == 0)


@quick
@given(st.integers(1, 16), st.integers(0, 10**6))
def test_in_ids_at_random_no_padding_is_found(rows, seed):
    table = some_ids(rows, seed, high=30000)
    # One row of few that begins or ends with a word twice (1 in 15,000) is taken for padding: not told apart yet.
    assume(not bool((table[:, 0] == table[:, 1]).any() or (table[:, -1] == table[:, -2]).any()))
    assert view(table) is None or view(table).pad_token_id is None


@quick
@given(st.integers(2, 16), st.integers(0, 10**6))
def test_a_frame_of_first_and_last_tokens_is_no_padding(rows, seed):
    table = some_ids(rows, seed, high=3000)
    table[:, 0], table[:, -1] = 1, 2
    assert view(table).pad_token_id is None


def test_rows_of_one_length_have_no_padding_that_could_be_told():
    assert view(padded([6] * 8)[0]).pad_token_id is None


def test_an_id_that_stands_inside_the_texts_too_is_no_padding():
    table, _ = padded([4, 6, 8, 9])
    table[:, 1] = table[:, 3] = 0
    assert view(table).pad_token_id is None


@quick
@given(
    st.lists(st.integers(LENGTH - 1, LENGTH), min_size=4, max_size=12),
    st.sampled_from(["back", "front"]),
    st.integers(0, 999),
)
def test_a_batch_of_like_length_learns_its_padding_from_another(lengths, side, seed):
    little, mask = padded(lengths, 1, side, seed, high=10**9)  # else one word may end two rows by chance
    plenty = padded([4, 6, 8, 9], 1, side, seed, high=10**9)[0]
    alone, shown = unify_padding([view(little), view(plenty)])
    assert torch.equal(alone.is_pad, mask == 0) and alone.pad_token_id == (1 if LENGTH - 1 in lengths else None)
    assert (shown.pad_token_id, shown.pad_side) == (1, side)


def test_what_is_a_word_elsewhere_is_no_padding_there():
    full, plenty = padded([LENGTH] * 4, 1)[0], padded([4, 6, 8, 9], 1)[0]
    full[0, -1] = full[1, 3] = 1
    assert unify_padding([view(full), view(plenty)])[0].pad_token_id is None
    assert [v.pad_token_id for v in unify_padding([view(full)] * 2)] == [None, None]


# -- which call is the words', and which tensor the mask -----------------------------------------------------------


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "xlnet", "xlm", "gpt2"])
def test_the_words_of_real_models_are_found_among_positions_and_types(name):
    model, (table, mask) = tiny_model(name), padded([4, 6, 8, 9])
    with record_embedding_calls(model) as calls, torch.no_grad():
        model.eval()(table)
    found = build_token_view(calls, [table, mask])
    assert torch.equal(found.ids, table) and found.embedding.num_embeddings == VOCAB
    assert (found.pad_token_id, found.pad_side) == (0, "back") and torch.equal(found.mask, mask)


def test_a_square_batch_of_a_model_that_puts_length_first_is_turned():
    model, table = tiny_model("xlnet"), ids(6, 6)
    with record_embedding_calls(model) as calls, torch.no_grad():
        model.eval()(table)
    assert torch.equal(find_word_embedding_call(calls, table).ids, table)


@pytest.mark.parametrize(
    "table",
    [
        torch.arange(LENGTH).expand(4, LENGTH),
        torch.arange(2, LENGTH + 2).expand(4, LENGTH).t(),
        torch.zeros(4, LENGTH, dtype=torch.long),
    ],
    ids=["positions", "positions, length first", "types"],
)
def test_positions_and_types_are_no_words(table):
    assert view(table, ids(4, LENGTH)) is None


class CountedFromTheMask(nn.Embedding):
    """Positions, as OPT and BioGPT look them up."""

    def forward(self, mask):
        return super().forward(mask.cumsum(1))


def test_an_embedding_that_counts_from_the_mask_looks_up_no_words():
    (table, mask), words, positions = padded([4, 6, 8, 9]), nn.Embedding(VOCAB, 4), CountedFromTheMask(2 * VOCAB, 4)
    with record_embedding_calls(nn.ModuleList([words, positions])) as calls:
        words(table), positions(mask)
    assert find_word_embedding_call(calls, [table, mask]).embedding is words


def test_a_word_embedding_that_is_given_the_mask_is_still_seen():
    (table, mask), words = padded([4, 6, 8, 9]), nn.Embedding(VOCAB, 4)
    with record_embedding_calls(words) as calls:
        words(mask)
    assert find_word_embedding_call(calls, [table, mask]).embedding is words


class WithPad:
    pad_token_id = 0


@pytest.mark.parametrize(
    "looked_up, pad",
    [(lambda ids: ids, 0), (lambda ids: (ids + 1) * 31 % VOCAB, None)],
    ids=["ids", "hashes of ids, as CANINE does"],
)
def test_the_config_speaks_of_the_ids_in_the_batch(looked_up, pad):
    table = padded([4, 6, 8, 9])[0]
    seen = probe_inputs([view(looked_up(table), table)], [table], [[]], WithPad())
    assert seen.pad_token_id == int(looked_up(torch.tensor(0))) and seen.config_pad_id == pad


def test_no_call_is_no_view():
    assert build_token_view([], ids()) is None


def test_a_table_of_zeros_is_no_mask_and_neither_are_the_ids():
    table, mask = padded([4, 6, 8, 9])
    assert view(table, [table, torch.zeros_like(table)]).mask is None
    assert view(table, [table]).mask is None
    assert torch.equal(view(table, [table, torch.zeros_like(table), mask.bool()]).mask, mask.bool())


# -- the sum of several batches ------------------------------------------------------------------------------------


def test_a_right_mask_agrees_and_a_contrary_one_does_not():
    table, mask = padded([4, 6, 8, 9])
    assert examined([[table, mask]]).mask_marks_padding == 1
    assert examined([[table, 1 - mask]]).mask_marks_padding == 0
    assert examined([[table, torch.ones_like(mask)]]).mask_marks_padding == pytest.approx(27 / 40)
    assert examined([table]).mask_marks_padding is None and not examined([table]).mask_given


def test_what_the_model_is_handed_counts_before_what_the_batch_brings():
    table, mask = padded([4, 6, 8, 9])
    seen = examined([[table, 1 - mask]], [[{"input_ids": table, "attention_mask": mask}]])
    assert seen.mask_marks_padding == 1 and seen.mask_argument_given is True
    assert examined([[table, mask]], [[{"input_ids": table}]]).mask_argument_given is False
    assert examined([[table, mask]]).mask_argument_given is None


def test_a_mask_in_another_argument_is_named():
    table, mask = padded([4, 6, 8, 9])
    wrong = examined([[table, mask]], [[{"input_ids": table, "token_type_ids": mask}]])
    assert wrong.mask_arrives_as == ["token_type_ids"]
    assert examined([[table, mask]], [[{"input_ids": table, "attention_mask": mask}]]).mask_arrives_as == []


def test_ids_that_the_embedding_did_not_see():
    table, mask = padded([4, 6, 8, 9])
    assert examined([[mask, table]]).batch_has_other_ids and not examined([[table, mask]]).batch_has_other_ids


def test_words_first_tokens_and_ends():
    table, _ = padded([4, 6, 8, 9] * 4)
    table[:, 0] = 2
    seen = examined([table])
    assert (seen.first_token, seen.first_token_in_front, seen.same_last_token) == (2, 1.0, False)
    assert seen.rows == 16 and seen.mean_length == 6.75 and seen.truncated_share == 0.25
    assert 2 not in (seen.top_token, 0) and seen.distinct_words > 10
    assert seen.pad_share == pytest.approx(1 - 6.75 / LENGTH) and seen.embedding_pad_id == 0


def test_padding_in_front_pushes_the_first_token_away():
    table, mask = padded([4, 6, 8, 10] * 4, side="front")
    table[torch.arange(16), (mask == 0).sum(1)] = 2
    seen = examined([table])
    assert (seen.first_token, seen.pad_side) == (2, "front")


def test_one_word_over_and_over():
    table = some_ids(8, 0)
    table[:, 1:8] = 3
    seen = examined([table])
    assert seen.top_token == 3 and seen.top_token_share == 0.7 and seen.second_position_token == 3
    assert examined([some_ids(8, 0)]).top_token_share < 0.2


def test_a_batch_of_equal_rows_does_not_break_the_sum():
    table = torch.tensor([[7, 8, 9, 7]] * 4)
    seen = examined([table])
    assert seen.rows == 4 and seen.pad_token_id is None


def test_the_batches_are_left_as_they_were():
    table, mask = padded([4, 6, 8, 9])
    before = table.clone(), mask.clone()
    examined([[table, mask]])
    assert torch.equal(table, before[0]) and torch.equal(mask, before[1])


# -- changed copies ------------------------------------------------------------------------------------------------


@quick
@given(
    st.lists(st.integers(2, LENGTH - 1), min_size=4, max_size=10),
    st.sampled_from(["back", "front"]),
    st.integers(0, 999),
)
def test_exchanged_words_keep_padding_mask_and_the_words_themselves(lengths, side, seed):
    table, mask = padded(lengths, side=side, seed=seed)
    batch = {"ids": table, "rest": (mask, [torch.rand(len(lengths))])}
    before = table.clone()
    found = view(table)
    changed = shuffle_words(batch, found, torch.Generator().manual_seed(seed))
    assert changed["rest"][0] is mask and torch.equal(table, before)
    spots = ~found.is_pad
    assert torch.equal(changed["ids"][~spots], table[~spots])
    assert torch.equal(changed["ids"][spots].sort()[0], table[spots].sort()[0])
    assert not torch.equal(changed["ids"], table)
    assert changed["ids"].dtype == table.dtype and changed["ids"].shape == table.shape


def test_what_every_row_holds_alike_stays_in_its_place():
    table = torch.tensor([[2, 7, 8, 3, 0], [2, 9, 3, 0, 0], [2, 11, 12, 13, 3]])
    changed = shuffle_words([table], view(table)._replace(is_pad=table == 0), torch.Generator().manual_seed(1))[0]
    special = (table == 2) | (table == 3) | (table == 0)
    assert torch.equal(changed[special], table[special]) and not torch.equal(changed, table)


def test_rows_of_nothing_else_are_exchanged_all_the_same():
    table = torch.tensor([[2, 7, 3], [2, 7, 3], [2, 7, 3]])
    found = view(some_ids(3, 0, length=3))._replace(ids=table, is_pad=torch.zeros(3, 3, dtype=torch.bool))
    assert not torch.equal(shuffle_words([table], found, torch.Generator().manual_seed(1))[0], table)


def test_a_mask_that_equals_the_ids_in_figures_is_no_ids_where_it_is_boolean():
    table = torch.tensor([[1, 0], [0, 1]])
    changed = shuffle_words(
        [table, table.bool()],
        view(some_ids(2, 0, length=2))._replace(ids=table, is_pad=torch.zeros(2, 2, dtype=torch.bool)),
        torch.Generator(),
    )
    assert changed[1].dtype == torch.bool


def test_a_row_alone_and_unpadded():
    table, mask = padded([4, 6, 8, 9])
    alone = take_unpadded_row([table, mask, torch.arange(4), torch.tensor(3)], view(table), 1)
    assert torch.equal(alone[0], table[1:2, :6]) and alone[1].tolist() == [[1] * 6]
    assert alone[2].tolist() == [1] and alone[3].item() == 3


def test_the_first_rows():
    assert take_rows({"a": torch.arange(5), "b": (torch.tensor(1), "x")}, 2)["a"].tolist() == [0, 1]


# Once: a namedtuple is made from one generator and raises TypeError: type(batch)(...) is for lists and tuples alone.
def test_a_batch_that_is_a_namedtuple():
    from collections import namedtuple

    batch = namedtuple("Batch", "ids mask")(torch.arange(5), torch.ones(5))
    assert take_rows(batch, 2).ids.tolist() == [0, 1]


def test_a_table_of_three_positions_is_no_table_of_words():
    """Texts of one word between two special tokens: positions are three columns then, and their table may be larger."""
    words = torch.tensor([[2, 9, 3], [2, 7, 3], [2, 9, 3], [2, 5, 3]])
    positions = torch.arange(3).expand(4, 3)
    calls = [EmbeddingCall(torch.nn.Embedding(12, 2), words), EmbeddingCall(torch.nn.Embedding(512, 2), positions)]
    assert find_word_embedding_call(calls, [words]).ids.equal(words)
