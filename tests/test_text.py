"""encode and pad_batch: ids with special tokens, no longer than asked, padded on the right with their mask."""
import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback import BridgeError
from fastai_hf_callback.text import encode, pad_batch

quick = settings(deadline=None, max_examples=50)
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "fish", "##y", "!")
CLS, SEP = WORDS.index("[CLS]"), WORDS.index("[SEP]")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    library = pytest.importorskip("pytorch_transformers")
    vocabulary = tmp_path_factory.mktemp("bert") / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS), encoding="utf-8")
    return library.BertTokenizer(str(vocabulary))


class CallableTokenizer:
    """A tokenizer as transformers has them: called once, for all texts."""

    def __init__(self):
        self.calls = []

    def __call__(self, texts, truncation, max_length):
        self.calls.append((texts, truncation, max_length))
        return {"input_ids": [[CLS, *([5] * len(text.split()))][:max_length - 1] + [SEP] for text in texts]}


# -- encode ----------------------------------------------------------------------------------------


def test_texts_become_ids_between_special_tokens(bert):
    assert encode(bert, ["good fishy", "bad !", ""], 10) == [[CLS, 5, 7, 8, SEP], [CLS, 6, 9, SEP], [CLS, SEP]]


@quick
@given(texts=st.lists(st.text(alphabet="good badfishy!?\n", max_size=40), max_size=4), max_len=st.integers(2, 12))
def test_no_row_is_longer_than_asked_and_all_keep_their_special_tokens(bert, texts, max_len):
    rows, whole = encode(bert, texts, max_len), encode(bert, texts, 1000)
    assert len(rows) == len(texts)
    for row, full in zip(rows, whole):
        assert len(row) == min(max_len, len(full))
        assert row == [*full[:len(row) - 1], SEP]


@pytest.mark.parametrize("max_len", [1, 0, -3])
def test_a_length_with_no_room_for_the_special_tokens_is_refused(bert, max_len):
    with pytest.raises(BridgeError, match=f"max_len={max_len}.*2 special tokens"):
        encode(bert, ["good fish good fish"], max_len)


def test_a_tokenizer_without_special_tokens_adds_none(caplog):
    library = pytest.importorskip("pytorch_transformers")

    class Letters(library.PreTrainedTokenizer):
        def _tokenize(self, text):
            return list(text)

        def _convert_token_to_id(self, token):
            return ord(token)

    caplog.set_level(logging.ERROR, logger=library.tokenization_utils.__name__)  # it warns at each text
    assert encode(Letters(), ["abcd", ""], 3) == [[97, 98, 99], []]


def test_a_tokenizer_that_can_be_called_is_called_once_for_all_texts():
    tokenizer = CallableTokenizer()
    assert encode(tokenizer, ("good fish", "bad bad bad bad"), 4) == [[CLS, 5, 5, SEP], [CLS, 5, 5, SEP]]
    assert tokenizer.calls == [(["good fish", "bad bad bad bad"], True, 4)]


def test_texts_may_be_any_sequence_and_stay_as_they_are(bert):
    texts = ("good", "bad fish")
    assert encode(bert, texts, 9) == encode(bert, list(texts), 9)
    assert texts == ("good", "bad fish")


# -- pad_batch -------------------------------------------------------------------------------------

rows_of_ids = st.lists(st.lists(st.integers(0, 9), max_size=7), min_size=1, max_size=5)


@quick
@given(rows=rows_of_ids, pad_id=st.integers(0, 9))
def test_the_mask_gives_back_every_row_and_the_rest_is_padding(rows, pad_id):
    ids, mask = pad_batch(rows, pad_id)
    assert ids.shape == mask.shape == (len(rows), max(map(len, rows)))
    assert ids.dtype == mask.dtype == torch.int64
    assert [row[kept == 1].tolist() for row, kept in zip(ids, mask)] == rows
    assert bool((ids[mask == 0] == pad_id).all())
    assert bool((mask.sort(1, descending=True)[0] == mask).all()), "padding is on the right"


def test_an_id_that_equals_the_padding_is_still_a_token():
    assert pad_batch([[0, 5], [0]], pad_id=0)[1].tolist() == [[1, 1], [1, 0]]


def test_rows_may_be_tensors_and_stay_as_they_are():
    rows = [torch.tensor([5, 6]), torch.tensor([7])]
    assert pad_batch(rows, 0)[0].tolist() == [[5, 6], [7, 0]]
    assert [row.tolist() for row in rows] == [[5, 6], [7]]
