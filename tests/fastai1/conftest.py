"""Tokenizers, made once."""

import pytest

from tests.tiny_texts import fast_tokenizer, slow_tokenizer


@pytest.fixture(scope="module", params=["slow", "fast"])
def tokenizer(request, tmp_path_factory):
    make = slow_tokenizer if request.param == "slow" else fast_tokenizer
    return make(tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    return slow_tokenizer(tmp_path_factory.mktemp("vocabulary"))
