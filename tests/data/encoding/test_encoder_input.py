"""TextEncoder.encode: lengths and kinds of texts, and each bad input's message."""

import logging
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastai_hf_callback import FastaiHFError
from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.errors import InvalidInputError
from tests.data.encoding.tiny_tokenizers import CLS, SEP, Loud, as_lists, bert, encode, fast_bert, quick

# -- what cannot be used -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given_, said",
    [
        ("bert-base-uncased", "'bert-base-uncased' (str) was given as tokenizer; expected a tokenizer of"),
        (torch.nn.Linear(2, 2), "Linear(in_features=2, out_features=2, bias=True) (Linear) was given as tokenizer"),
        (Loud, "the class Loud was given as tokenizer"),
        (None, "None (NoneType) was given as tokenizer"),
    ],
)
def test_what_is_no_tokenizer_is_refused(given_, said):
    with pytest.raises(InvalidInputError) as caught:
        TextEncoder(given_)
    assert said in str(caught.value) and "write AutoTokenizer.from_pretrained(name)" in str(caught.value)


@pytest.mark.parametrize(
    "texts, pairs, said",
    [
        (
            [float("nan"), "a", None, 3, 4, 5, 6],
            None,
            "6 of 7 texts are not str (positions 0, 2, 3, 4, 5, ...; the first is nan, float); write "
            "dataframe[column].fillna('').astype(str) to keep such rows, or leave them out",
        ),
        (["a", None], None, "1 of 2 texts are not str (positions 1; the first is None, NoneType)"),
        (
            ["a", "half \ud83d"],
            None,
            "1 of 2 texts are not Unicode, with half a character (a lone surrogate) (positions 1; the first is "
            "'half \\ud83d', str); write text.encode('utf-8', 'replace').decode() in their place",
        ),
        ("a text", None, "texts is 'a text'; expected a sequence of str; write [text] for a single one"),
        (3, None, "texts is 3; expected a sequence of str"),
        ([["a"], "b", ["c", 4]], None, "2 of 3 texts are not list of str (positions 1, 2; the first is 'b', str)"),
        (
            np.array([["a", "b"]]),
            None,
            "texts is a ndarray of 2 dimensions; expected a sequence of str; write dataframe[",
        ),
        (["a"], ["b", "c"], "1 texts and 2 pairs were given; expected one pair for each text"),
        (["a"], [None], "1 of 1 pairs are not str (positions 0; the first is None, NoneType)"),
        ([["a"]], ["b"], "texts of words and pairs were given; expected pairs only next to texts that are str"),
    ],
)
def test_texts_that_are_none_are_refused(a_bert, texts, pairs, said):
    with pytest.raises(InvalidInputError) as caught:
        TextEncoder(a_bert).encode(texts, pairs)
    assert said in str(caught.value)


@pytest.mark.parametrize("max_length", [1.5, "128", True, None])
def test_a_length_that_is_no_number_is_refused(a_bert, max_length):
    with pytest.raises(InvalidInputError, match="expected a whole number"):
        TextEncoder(a_bert, max_length)


def test_a_number_of_processes_below_one_is_refused(a_bert):
    with pytest.raises(
        InvalidInputError, match="tokenizer_workers=0 was given; expected at least 1; write tokenizer_workers=1"
    ):
        TextEncoder(a_bert, tokenizer_workers=0)


def test_a_length_with_room_for_one_text_but_not_for_a_pair_is_refused_with_pairs(a_bert):
    encoder = TextEncoder(a_bert, 2)
    assert as_lists(encoder.encode(["good"])) == [[CLS, SEP]]
    with pytest.raises(
        InvalidInputError, match="max_length=2 was given.*3 special tokens of a pair; write max_length=4 or more"
    ):
        encoder.encode(["good"], ["bad"])


def test_a_length_above_the_tokenizer_s_own_limit_is_refused(tmp_path):
    tokenizer = bert(pytest.importorskip("pytorch_transformers"), tmp_path, max_len=64)
    TextEncoder(tokenizer, 64)
    said = "max_length=65 was given, and the tokenizer's own limit is 64 tokens; write max_length=64 or less"
    with pytest.raises(InvalidInputError, match=said):
        TextEncoder(tokenizer, 65)


def test_a_length_above_a_fast_tokenizer_s_own_limit_is_refused(fast):
    tokenizer = pickle.loads(pickle.dumps(fast(fast_bert)))
    tokenizer.model_max_length = 100
    with pytest.raises(
        InvalidInputError, match="max_length=128 was given, and the tokenizer's own limit is 100 tokens"
    ):
        TextEncoder(tokenizer)


def test_a_vocabulary_without_its_unknown_token_is_named(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[CLS]\n[SEP]\ngood", encoding="utf-8")
    tokenizer = pytest.importorskip("pytorch_transformers").BertTokenizer(str(tmp_path / "vocab.txt"))
    with pytest.raises(InvalidInputError, match=r"the tokenizer has no id for '\[UNK\]'"):
        TextEncoder(tokenizer).encode(["good what"])


# -- encode ----------------------------------------------------------------------------------------


def test_texts_become_ids_between_special_tokens(a_bert):
    assert encode(a_bert, ["good fishy", "bad !", ""], 10) == [[CLS, 5, 7, 8, SEP], [CLS, 6, 9, SEP], [CLS, SEP]]


@quick
@given(texts=st.lists(st.text(alphabet="good badfishy!?\n", max_size=40), max_size=4), max_length=st.integers(2, 12))
def test_no_row_is_longer_than_asked_and_all_keep_their_special_tokens(a_bert, texts, max_length):
    rows, whole = encode(a_bert, texts, max_length), encode(a_bert, texts, 1000)
    assert len(rows) == len(texts)
    for row, full in zip(rows, whole):
        assert len(row) == min(max_length, len(full))
        assert row == [*full[: len(row) - 1], SEP]


@pytest.mark.parametrize("max_length", [1, 0, -3])
def test_a_length_with_no_room_for_the_special_tokens_is_refused(a_bert, max_length):
    with pytest.raises(FastaiHFError, match=f"max_length={max_length}.*2 special tokens"):
        encode(a_bert, ["good fish good fish"], max_length)


def test_a_tokenizer_without_special_tokens_adds_none(caplog):
    library = pytest.importorskip("pytorch_transformers")

    class Letters(library.PreTrainedTokenizer):
        def _tokenize(self, text):
            return list(text)

        def _convert_token_to_id(self, token):
            return ord(token)

    caplog.set_level(logging.ERROR, logger=library.tokenization_utils.__name__)  # it warns at each text
    assert encode(Letters(), ["abcd", ""], 3) == [[97, 98, 99], []]


def test_texts_may_be_any_sequence_and_stay_as_they_are(a_bert):
    texts = ("good", "bad fish")
    assert as_lists(TextEncoder(a_bert, 9).encode(np.array(texts))) == encode(a_bert, texts, 9)
    assert encode(a_bert, texts, 9) == encode(a_bert, list(texts), 9)
    assert texts == ("good", "bad fish")
