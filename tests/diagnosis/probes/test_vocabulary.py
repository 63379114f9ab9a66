"""What a tokenizer tells of ids: its unknown token, and whether texts were cut."""

import pytest
import torch

from fastai_hf_callback.diagnosis.probes.inputs import TokenView
from fastai_hf_callback.diagnosis.probes.vocabulary import add_tokenizer_evidence
from fastai_hf_callback.results.evidence import Inputs
from tests.installed_stack import is_installed
from tests.tiny_texts import fast_tokenizer, slow_tokenizer


@pytest.fixture
def tokenizer(tmp_path):
    return (slow_tokenizer if is_installed("pytorch_transformers") else fast_tokenizer)(tmp_path)


def viewed(*rows):
    ids = torch.tensor(rows)
    return [TokenView(ids, None, None, None, torch.zeros_like(ids, dtype=torch.bool), None)]


def special(tokenizer, name):
    return tokenizer.convert_tokens_to_ids(getattr(tokenizer, name))


def test_the_share_of_unknown_words_is_among_words_alone(tokenizer):
    unknown, first, pad = (special(tokenizer, name) for name in ("unk_token", "cls_token", "pad_token"))
    word = next(i for i in range(20) if i not in (unknown, first, pad, special(tokenizer, "sep_token")))
    seen = Inputs(rows=2, length=4, distinct_ids=4)
    add_tokenizer_evidence(seen, viewed([first, unknown, word, pad], [first, word, word, pad]), tokenizer, max_length=8)
    assert seen.unknown_share == 0.25


def test_a_token_that_is_two_things_is_no_sign_of_unknown_words(tokenizer):
    tokenizer.unk_token = tokenizer.pad_token
    seen = Inputs(rows=1, length=2, distinct_ids=1)
    add_tokenizer_evidence(seen, viewed([special(tokenizer, "pad_token")] * 2), tokenizer, max_length=8)
    assert seen.unknown_share is None


@pytest.mark.parametrize("max_length, cut", [(4, 1.0), (5, 0.0)])
def test_texts_shorter_than_the_limit_are_not_cut(tokenizer, max_length, cut):
    seen = Inputs(rows=1, length=4, distinct_ids=1, truncated_share=1.0)
    add_tokenizer_evidence(seen, viewed([1, 2, 3, 4]), tokenizer, max_length)
    assert seen.truncated_share == cut
