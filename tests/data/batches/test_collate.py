"""How texts become tensors on either fastai, and words from their pieces. No fastai here."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fastai_hf_callback import InvalidInputError
from fastai_hf_callback.data.batches.collate import TextCollator
from fastai_hf_callback.data.batches.padding import IGNORE_INDEX
from fastai_hf_callback.data.batches.token_labels import CrossEntropyLoss, gather_word_labels, to_class_names
from fastai_hf_callback.data.display import show_table, truncate
from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.data.encoding.tokenization import EncodedText
from tests.installed_stack import is_installed
from tests.tiny_texts import fast_tokenizer, frame, slow_tokenizer

WRITE = "data.add_test([{}, ...])"


@pytest.fixture(params=["right", "left"])
def encoder(request, tmp_path):
    make = slow_tokenizer if is_installed("pytorch_transformers") else fast_tokenizer
    tokenizer = make(tmp_path)
    tokenizer.padding_side = request.param
    return TextEncoder(tokenizer, max_length=16)


def feed(encoder, texts, **settings):
    collator = TextCollator(encoder, **settings)
    rows = collator.encode_texts(texts)
    collator.set_tensor_names(rows)
    return collator, rows


def test_a_row_comes_back_from_its_tensors_without_padding(encoder):
    collator, rows = feed(encoder, [("the fox", "a"), ("an old newt sees", "two ferns")], paired=True)
    assert collator.names == ("input_ids", "token_type_ids", "attention_mask")
    tensors = collator.tensors(rows, width=16)
    assert all(tensor.shape == (2, 16) and tensor.dtype == torch.int64 for tensor in tensors)
    for at, row in enumerate(rows):
        found, n_words = collator.recover_row([tensor[at] for tensor in tensors], rows)
        assert (
            found.input_ids.tolist() == row.input_ids.tolist()
            and found.token_type_ids.tolist() == row.token_type_ids.tolist()
            and n_words == 0
        )


def test_words_keep_their_labels_through_pieces_and_padding(encoder):
    words = [["the", "foxs", "sees"], ["oak"]]
    collator, rows = feed(encoder, words, is_split_into_words=True)
    targets = collator.targets(rows, [np.array([0, 1, 2]), np.array([1])], width=12)
    tensors = collator.tensors(rows, width=12)
    for at, expected in enumerate(([0, 1, 2], [1])):
        row, n_words = collator.recover_row([tensor[at] for tensor in tensors], rows)
        assert n_words == len(words[at])
        labels = gather_word_labels(targets[at].numpy(), row, n_words, encoder.padding_side)
        assert labels.tolist() == expected
        other_side = {"left": "right", "right": "left"}[encoder.padding_side]  # the broken arm
        assert gather_word_labels(targets[at].numpy(), row, n_words, other_side).tolist() != expected


def test_a_word_without_a_piece_has_no_label():
    row = EncodedText(np.array([2, 9, 3]), None, np.array([-1, 1, -1]))
    numbers = gather_word_labels(np.array([IGNORE_INDEX, 0, IGNORE_INDEX]), row, 3, "right")
    assert to_class_names(numbers, ["animal"]) == ["-", "animal", "-"]


def test_a_batch_without_a_word_costs_nothing_and_others_what_torch_says():
    loss, outputs = CrossEntropyLoss(ignore_index=IGNORE_INDEX), torch.randn(3, 2, requires_grad=True)
    nothing = loss(outputs, torch.full((3,), IGNORE_INDEX).long())
    nothing.backward()
    assert float(nothing.detach()) == 0 and not bool((outputs.grad != 0).any())
    targets = torch.tensor([0, IGNORE_INDEX, 1])
    assert torch.equal(loss(outputs, targets), torch.nn.CrossEntropyLoss(ignore_index=IGNORE_INDEX)(outputs, targets))


def test_whatever_gives_a_frame_may_be_predicted(encoder):
    collator, texts = TextCollator(encoder), frame(4)[["text"]]
    like_a_dataset = SimpleNamespace(to_pandas=lambda: texts)
    assert (
        collator.read_texts_to_predict(like_a_dataset, WRITE)
        == collator.read_texts_to_predict(texts, WRITE)
        == texts.text.tolist()
    )
    with pytest.raises(InvalidInputError, match="DataFrame with the columns 'share' was given; expected 'text'"):
        collator.read_texts_to_predict(frame(4)[["share"]], WRITE)


def test_blank_texts_are_predicted_and_told_of(encoder):
    told = r"2 of 3 texts to predict are blank, at 0, 2 \(counted from 0\): they are predicted from"
    with pytest.warns(UserWarning, match=told):
        assert TextCollator(encoder).read_texts_to_predict(["", "the fox", " \n"], WRITE) == ["", "the fox", " \n"]
    with pytest.warns(UserWarning, match="1 of 2 texts to predict are blank, at 1 "):
        TextCollator(encoder, paired=True).read_texts_to_predict([("", "the fox"), ("", "")], WRITE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TextCollator(encoder).read_texts_to_predict(["the fox"], WRITE)


def test_words_may_be_one_str_for_a_single_row_and_nowhere_else(encoder):
    collator = TextCollator(encoder, is_split_into_words=True)
    row = collator.encode_for_predict("the fox", "learn.predict({})")
    assert row.input_ids.tolist() == collator.encode_texts([["the", "fox"]])[0].input_ids.tolist()
    with pytest.raises(InvalidInputError, match="expected a list of words"):
        collator.read_texts_to_predict(["the fox", "an owl"], WRITE)


def test_a_table_shows_every_row(capsys):
    show_table({"text": [truncate("the old fox", 7), truncate("owl", 7)], "target": [1, None]})
    said = capsys.readouterr().out
    assert "the old ..." in said and "owl" in said and "None" in said


def test_a_table_is_no_wider_than_the_terminal_and_loses_no_word(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    texts = ["a fox hides under an old oak " * 6, "", "owl"]
    show_table({"text": texts, "target": ["animal", "", "animal"], "prediction": ["plant"] * 3})
    lines = capsys.readouterr().out.splitlines()
    assert (
        max(map(len, lines)) <= 80
        and " ".join(" ".join(lines).split()).count("hides under")
        + sum(line.rstrip().endswith("hides") for line in lines)
        >= 4
    )
    assert " ".join(line[:50].strip() for line in lines).count("fox") == 6 and lines[0].split()[-1] == "prediction"
