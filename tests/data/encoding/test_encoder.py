"""TextEncoder gives what the tokenizer itself gives, text by text, and leaves the tokenizer as it is."""

import logging
import pickle
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback import InvalidInputError
from fastai_hf_callback.data.batches.collate import TextCollator
from fastai_hf_callback.data.encoding import slow_tokenization
from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.data.encoding.slow_tokenization import SlowTokenizerJob
from fastai_hf_callback.data.encoding.special_tokens import SpecialTokenTemplate
from fastai_hf_callback.data.encoding.tokenization import Texts
from tests.data.encoding.tiny_tokenizers import (
    CLS,
    SEP,
    SLOW,
    WORDS,
    as_lists,
    bert,
    distilbert,
    every_fast,
    every_slow,
    fast_bert,
    gpt2,
    ids_of,
    listed,
    openai,
    own_pair,
    own_row,
    quick,
    roberta,
    texts_of_all_kinds,
    transfoxl,
    xlm,
    xlnet,
)

# -- what the library itself says, one text at a time ------------------------------------------------


@every_slow
@settings(deadline=None, max_examples=25)
@given(texts=st.lists(texts_of_all_kinds, max_size=5), max_length=st.integers(3, 30))
def test_a_slow_tokenizer_s_rows_are_its_own(slow, make, texts, max_length):
    tokenizer = slow(make)
    for from_ in (1, 1000):  # with words remembered where they may be, and without
        with patch.object(slow_tokenization, "MIN_TEXTS_FOR_CHUNKS", from_):
            rows = as_lists(TextEncoder(tokenizer, max_length).encode(texts))
        assert rows == [own_row(tokenizer, text, max_length) for text in texts]


@every_slow
@settings(deadline=None, max_examples=15)
@given(rows=st.lists(st.tuples(texts_of_all_kinds, texts_of_all_kinds), max_size=4), max_length=st.integers(4, 25))
def test_a_slow_tokenizer_s_pairs_are_its_own(slow, make, rows, max_length):
    tokenizer, texts, pairs = slow(make), [a for a, _ in rows], [b for _, b in rows]
    with patch.object(slow_tokenization, "MIN_TEXTS_FOR_CHUNKS", 1):
        encoded = as_lists(TextEncoder(tokenizer, max_length).encode(texts, pairs))
    assert encoded == [own_pair(tokenizer, text, pair, max_length) for text, pair in rows]


@every_slow
@settings(deadline=None, max_examples=15)
@given(
    words=st.lists(
        st.one_of(st.sampled_from(["good", "bad", "", " ", "a", "fishy", "3,000"]), st.text(max_size=4)), max_size=8
    ),
    max_length=st.integers(3, 30),
)
def test_words_are_tokenised_one_by_one_and_each_piece_knows_its_word(slow, make, words, max_length):
    tokenizer = slow(make)
    (row,) = TextEncoder(tokenizer, max_length).encode([words])
    pieces = [ids_of(tokenizer, word) for word in words]
    room = max_length - len(tokenizer.add_special_tokens_single_sentence([]))
    assert row.input_ids.tolist() == tokenizer.add_special_tokens_single_sentence(sum(pieces, [])[:room])
    kept = [(i, word) for i, word in zip(row.input_ids.tolist(), row.word_ids.tolist()) if word >= 0]
    assert kept == [(i, n) for n, piece in enumerate(pieces) for i in piece][:room]


@every_fast
@settings(deadline=None, max_examples=25)
@given(rows=st.lists(st.tuples(texts_of_all_kinds, texts_of_all_kinds), max_size=4), max_length=st.integers(4, 25))
def test_a_fast_tokenizer_s_rows_are_its_own(fast, make, rows, max_length):
    tokenizer, texts, pairs = fast(make), [a for a, _ in rows], [b for _, b in rows]
    for seconds in (None, pairs):
        encoded = TextEncoder(tokenizer, max_length).encode(texts, seconds)
        for i, row in enumerate(encoded):
            own = tokenizer(texts[i : i + 1], seconds and seconds[i : i + 1], truncation=True, max_length=max_length)
            assert row.input_ids.tolist() == own["input_ids"][0]
            types = own.get("token_type_ids", [[]])[0]
            assert listed(row.token_type_ids) == (types if any(types) else None)


@quick
@given(rows=st.lists(st.tuples(texts_of_all_kinds, texts_of_all_kinds), max_size=4), max_length=st.integers(5, 25))
def test_a_slow_tokenizer_of_today_gives_its_own_rows(slow_of_today, rows, max_length):
    tokenizer, texts, pairs = slow_of_today, [a for a, _ in rows], [b for _, b in rows]
    for seconds in (None, pairs):
        encoded = as_lists(TextEncoder(tokenizer, max_length).encode(texts, seconds))
        own = [
            tokenizer(texts[i], pairs[i] if seconds else None, truncation=True, max_length=max_length)["input_ids"]
            for i in range(len(texts))
        ]
        assert encoded == own


def test_a_slow_tokenizer_of_today_that_cuts_on_the_left_keeps_the_end(slow_of_today):
    tokenizer = pickle.loads(pickle.dumps(slow_of_today))
    tokenizer.truncation_side = "left"
    (row,) = TextEncoder(tokenizer, 6).encode(["good a good a good good"])
    assert row.input_ids.tolist() == tokenizer("good a good a good good", truncation=True, max_length=6)["input_ids"]
    (row,) = TextEncoder(tokenizer, 5).encode([["good", "a", "good", "a"]])
    assert row.word_ids.tolist() == [-1, 1, 2, 3, -1]


@every_fast
def test_words_of_a_fast_tokenizer_have_the_pieces_they_have_in_a_text(fast, make):
    tokenizer = fast(make)
    empty, row = TextEncoder(tokenizer, 30).encode([[], ["good", "", "bad", " ", "good", "!"]])
    assert row.input_ids.tolist() == tokenizer("good bad good !")["input_ids"]
    words = [word for word in row.word_ids.tolist() if word >= 0]
    assert sorted(set(words)) == [0, 2, 4, 5] and words == sorted(words)
    assert (row.word_ids == -1).sum() == tokenizer.num_special_tokens_to_add()
    assert empty.input_ids.tolist() == tokenizer("")["input_ids"]


def test_a_fast_bert_and_a_slow_one_agree(fast, a_bert):
    texts, pairs = ["good fishy bad !", "a", ""], ["bad", "good good good good good", "a"]
    for max_length in (4, 5, 30):
        one, other = (TextEncoder(tokenizer, max_length) for tokenizer in (fast(fast_bert), a_bert))
        assert as_lists(one.encode(texts)) == as_lists(other.encode(texts))
    for row, slow_row in zip(one.encode(texts, pairs), other.encode(texts, pairs)):
        assert (
            row.input_ids.tolist() == slow_row.input_ids.tolist()
            and row.token_type_ids.tolist() == slow_row.token_type_ids.tolist()
        )
    assert (one.pad_token_id, one.padding_side, one.vocab_size) == (
        other.pad_token_id,
        other.padding_side,
        other.vocab_size,
    )


# -- special tokens, types, padding, and arms that break them -----------------------------------------

TYPES_OF_A_PAIR = {
    bert: [0, 0, 0, 1, 1, 1],
    xlnet: None,
    distilbert: None,
    roberta: None,
    gpt2: None,
    xlm: None,
    openai: None,
    transfoxl: None,
}


@every_slow
def test_a_pair_has_types_where_the_model_has_segments(slow, make):
    (row,) = TextEncoder(slow(make), 40).encode(["good"], ["good good"] if make is bert else ["good"])
    if make is xlnet:
        half = (len(row.input_ids) - 3) // 2
        assert row.token_type_ids.tolist() == [0] * (half + 1) + [1] * (half + 1) + [2]
    else:
        assert listed(row.token_type_ids) == TYPES_OF_A_PAIR[make]


@every_slow
def test_a_single_text_has_types_only_where_some_are_not_0(slow, make):
    (row,) = TextEncoder(slow(make), 40).encode(["good"])
    assert listed(row.token_type_ids) == ([0] * (len(row.input_ids) - 1) + [2] if make is xlnet else None)


@every_slow
def test_padding_as_the_tokenizer_would(slow, make):
    encoder = TextEncoder(slow(make), 40)
    assert encoder.padding_side == ("left" if make is xlnet else "right")
    without = make in (gpt2, openai, transfoxl)
    assert encoder.pad_token_id == (None if without else {roberta: 1, xlm: 2, xlnet: 5}.get(make, 0))
    assert encoder.pad_token_type_id == 0
    assert encoder.vocab_size == len(slow(make))


def copy_of(tokenizer):
    return pickle.loads(pickle.dumps(tokenizer))


@pytest.mark.parametrize("make", [gpt2, openai, transfoxl])
def test_no_batch_is_padded_without_a_padding_token_and_what_is_written_gives_one(slow, make):
    tokenizer = copy_of(slow(make))
    with pytest.raises(InvalidInputError, match="has no padding token; expected one, which batches are") as caught:
        TextCollator(TextEncoder(tokenizer, 40))
    assert TextEncoder(tokenizer, 40).encode(["good"])  # encoding alone asks for none
    ends = "write tokenizer.pad_token = tokenizer.eos_token, or " in str(caught.value)
    assert ends == (make is not openai)
    if ends:
        tokenizer.pad_token = tokenizer.eos_token
        assert TextCollator(TextEncoder(tokenizer, 40)).padding.id == tokenizer.convert_tokens_to_ids(
            tokenizer.eos_token
        )
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert TextCollator(TextEncoder(tokenizer, 40)).padding.id == len(tokenizer) - 1


def test_a_padding_token_outside_the_vocabulary_is_none(fast):
    tokenizer = copy_of(fast(fast_bert))
    tokenizer.pad_token = "<none>"
    assert tokenizer.pad_token_id == tokenizer.unk_token_id  # what transformers gives: an id that words have
    with pytest.raises(InvalidInputError, match=r"has no id for its padding token '<none>'; .*'pad_token': '<none>'"):
        TextCollator(TextEncoder(tokenizer, 40))
    tokenizer.add_special_tokens({"pad_token": "<none>"})
    assert TextCollator(TextEncoder(tokenizer, 40)).padding.id == len(tokenizer) - 1


def test_types_are_padded_as_the_tokenizer_says(slow):
    tokenizer = pickle.loads(pickle.dumps(slow(xlnet)))
    tokenizer.pad_token_type_id = 3
    assert TextEncoder(tokenizer).pad_token_type_id == 3


def test_added_tokens_count_in_the_vocabulary(slow, tmp_path):
    tokenizer = bert(pytest.importorskip("pytorch_transformers"), tmp_path)
    encoder = TextEncoder(tokenizer)
    tokenizer.add_tokens(["[NAME]", "new york"])
    assert encoder.vocab_size == len(WORDS) + 2
    texts = ["good [NAME]! bad", "new york", "good new york a", "new  york", "x[NAME]y"] * 10  # words are remembered
    assert as_lists(encoder.encode(texts)) == [own_row(tokenizer, text, 128) for text in texts]


def frames_hold(encoder):
    """Whether a cut single text and a cut pair of a BERT are right in specials and types; it must be able to fail."""
    (one,) = encoder.encode(["good bad good bad good"])
    (two,) = encoder.encode(["good bad good bad good"], ["fish fish fish"])
    return (
        one.input_ids.tolist() == [CLS, 5, 6, 5, 6, SEP]
        and two.input_ids.tolist() == [CLS, 5, 6, SEP, 7, SEP]
        and two.token_type_ids.tolist() == [0, 0, 0, 0, 1, 1]
    )


def test_special_tokens_and_types_stay_in_a_cut_row(a_bert):
    assert frames_hold(TextEncoder(a_bert, 6))


@pytest.mark.parametrize(
    "name, broken",
    [
        ("join", lambda self, a, b: [*self.before, *self.between, *a, *(b or ()), *self.after]),
        ("join", lambda self, a, b: [*self.after, *a, *self.between, *(b or ()), *self.before]),
        ("join", lambda self, a, b: [*self.before, *a, *self.between, *(b or ())]),
        ("types", lambda self, a, b: [1] * (len(a) + 2) + [0] * (len(b or ()) + 1)),
        ("types", lambda self, a, b: [0] * (len(a) + 1) + [1] * (len(b or ()) + 2)),
    ],
    ids=["separator first", "ends swapped", "last separator lost", "types swapped", "types one early"],
)
def test_a_broken_frame_is_noticed(a_bert, name, broken):
    encoder = TextEncoder(a_bert, 6)
    with patch.object(SpecialTokenTemplate, name, broken):
        assert not frames_hold(encoder)


def test_a_cut_of_the_whole_row_which_loses_the_last_separator_is_noticed(a_bert):
    encoder, join = TextEncoder(a_bert, 6), SpecialTokenTemplate.join
    with patch.object(slow_tokenization, "_truncated_lengths", lambda room, first, second: (first, second)):
        assert not frames_hold(encoder)
        with patch.object(SpecialTokenTemplate, "join", lambda *given_: join(*given_)[:6]):
            (row,) = encoder.encode(["good bad good bad good"])
            assert row.input_ids.tolist() == [CLS, 5, 6, 5, 6, 5] and not frames_hold(encoder)


@pytest.mark.parametrize("make", [roberta, xlm], ids=lambda make: make.__name__)
def test_words_that_depend_on_their_neighbours_are_noticed_on_the_tokenizer_at_hand(slow, make):
    """RoBERTa's pieces carry the space, XLM splits off a text's last full stop; here both say they have wordpieces."""
    tokenizer, texts = slow(make), ["good cat. good day ", "a"] * 20
    with patch.object(tokenizer, "wordpiece_tokenizer", None, create=True):
        assert not SlowTokenizerJob(tokenizer, 20, Texts(texts, None, False)).by_chunk
    with patch.object(SlowTokenizerJob, "_chunks_are_independent", lambda self: True):  # the broken arm
        broken = as_lists(TextEncoder(tokenizer, 20).encode(texts))
    assert broken != [own_row(tokenizer, text, 20) for text in texts]


def test_words_are_remembered_for_a_bert_alone(slow):
    jobs = {make.__name__: SlowTokenizerJob(slow(make), 9, Texts(["good a"] * 40, None, False)) for make in SLOW}
    assert {name for name, job in jobs.items() if job.by_chunk} == {"bert", "distilbert"}


# -- the tokenizer stays as it is ----------------------------------------------------------------------


@every_slow
def test_nothing_is_left_in_a_slow_tokenizer(slow, make):
    tokenizer = slow(make)
    before = pickle.dumps({name: value for name, value in vars(tokenizer).items() if name != "sp_model"})
    TextEncoder(tokenizer).encode(["good bad never seen before"] * 40)
    assert pickle.dumps({name: value for name, value in vars(tokenizer).items() if name != "sp_model"}) == before


@every_fast
@pytest.mark.parametrize("was_set", [False, True])
def test_a_fast_tokenizer_keeps_its_truncation_and_padding(fast, make, was_set):
    tokenizer = pickle.loads(pickle.dumps(fast(make)))
    backend = tokenizer.backend_tokenizer
    if was_set:
        backend.enable_truncation(7, stride=1)
        backend.enable_padding(length=9, pad_token_id=1)
    before = backend.truncation, backend.padding
    TextEncoder(tokenizer, 20).encode(["good bad", "a"])
    assert (backend.truncation, backend.padding) == before and (before == (None, None)) != was_set
    with pytest.raises(ZeroDivisionError):
        TextEncoder(tokenizer, 20).encode(["good bad", "a"], progress=lambda parts, total: [0 / 0 for _ in parts])
    assert (backend.truncation, backend.padding) == before


@every_slow
def test_an_encoder_of_a_slow_tokenizer_can_be_pickled(slow, make):
    encoder = TextEncoder(slow(make), 20)
    texts = ["good bad", "a a a"]
    assert as_lists(pickle.loads(pickle.dumps(encoder)).encode(texts)) == as_lists(encoder.encode(texts))


@every_fast
def test_an_encoder_of_a_fast_tokenizer_can_be_pickled(fast, make):
    encoder = TextEncoder(fast(make), 20)
    texts = ["good bad", "a a a"]
    assert as_lists(pickle.loads(pickle.dumps(encoder)).encode(texts)) == as_lists(encoder.encode(texts))


def test_no_warning_for_each_text_that_is_cut(tmp_path, caplog):
    library = pytest.importorskip("pytorch_transformers")
    tokenizers = [bert(library, tmp_path, max_len=4), gpt2(library, tmp_path)]
    with caplog.at_level(logging.WARNING):
        for tokenizer in tokenizers:
            encoder = TextEncoder(tokenizer, 4)
            encoder.encode(["good bad " * 9] * 3)
            encoder.encode(["good bad " * 9] * 3, ["a a a a a a"] * 3)
    assert not caplog.records


@every_slow
def test_decoding_leaves_special_tokens_visible(slow, make):
    tokenizer = slow(make)
    encoder = TextEncoder(tokenizer, 20)
    (row,) = encoder.encode(["good good"])
    shown = encoder.decode(row.input_ids)
    assert shown.count("good") == 2
    for i in tokenizer.add_special_tokens_single_sentence([]):
        assert tokenizer.convert_ids_to_tokens([i])[0] in shown


def test_decoding_with_a_fast_tokenizer_leaves_special_tokens_visible(fast):
    encoder = TextEncoder(fast(fast_bert), 20)
    assert encoder.decode(encoder.encode(["good fishy"])[0].input_ids) == "[CLS] good fishy [SEP]"
