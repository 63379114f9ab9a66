"""Tokenizers, made once."""

import pytest

from tests.tiny_texts import fast_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return fast_tokenizer(tmp_path_factory.mktemp("vocabulary"))
