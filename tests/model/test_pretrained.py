"""A model's folder in which the tokenizer's files were forgotten: transformers makes a tokenizer that knows no word."""

import json

import pytest

from fastai_hf_callback.errors import InvalidInputError
from fastai_hf_callback.model.pretrained import _check_vocabulary
from tests.tiny_texts import fast_tokenizer

KINDS = ("bert", "roberta", "gpt2", "t5", "xlnet", "mbart")


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_without_words_is_refused(kind, tmp_path):
    transformers = pytest.importorskip("transformers", minversion="5")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    with pytest.raises(InvalidInputError, match="special tokens and no word; expected the tokenizer's files"):
        _check_vocabulary("folder", tokenizer)


def test_one_with_words_is_taken(tmp_path):
    pytest.importorskip("transformers")
    _check_vocabulary("folder", fast_tokenizer(tmp_path))
