"""Answers found in their contexts, and as positions of tokens. No fastai here."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback import InvalidInputError
from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.data.tables.examples import read_examples
from tests.tiny_texts import OTHERS, fast_tokenizer, slow_tokenizer

pd = pytest.importorskip("pandas")
CONTEXTS = ["the old fox sees a fern", "a newt hides . a toad hides", "two owls"]
NOWHERE = [-1, -1]


def table(**columns):
    held = dict(question=["who", "what", "how many"], context=CONTEXTS, answer=["old fox", "toad hides", "two"])
    return pd.DataFrame({**held, **columns})


def squads(*answers):
    return [{"text": np.array(texts, dtype=object), "answer_start": np.array(begins)} for texts, begins in answers]


def read(train=None, labels="answer", valid=None, **kwargs):
    valid = table(context=[f"{context} ." for context in CONTEXTS]) if valid is None else valid
    settings = dict(text_pair="context", task="question-answering")
    return read_examples(table() if train is None else train, valid, "question", labels, **{**settings, **kwargs})


def read_error(*args, **kwargs):
    with pytest.raises(InvalidInputError) as caught:
        read(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def answers(examples):
    return [
        context[begin:end] if begin >= 0 else None
        for context, (begin, end) in zip(examples.pairs, examples.targets.tolist())
    ]


# -- in the columns -------------------------------------------------------------------------------------------


def test_answers_are_found_in_their_contexts():
    found = read()
    assert found.task == "question-answering" and found.names == ["start", "end"] and found.messages == []
    assert found.train.texts == ["who", "what", "how many"] and found.train.pairs == CONTEXTS
    assert answers(found.train) == answers(found.valid) == ["old fox", "toad hides", "two"]
    assert found.train.targets.dtype == np.int64


def test_squads_answers_speak_for_themselves():
    train = table(answer=squads((["fox", "old fox"], [8, 4]), (["hides"], [22]), ([], [])))
    found = read(train, task=None, valid=train.iloc[:1].assign(context="the OLD fox"))
    assert found.task == "question-answering"
    assert found.train.targets.tolist() == [[8, 11], [22, 27], NOWHERE]  # the second "hides", as it says; none


def test_two_columns_say_which():
    train = table(answer=[" hides ", "hides", ""], begin=[0, 7, None], context=[" hides ", CONTEXTS[1], "two"])
    assert read(
        train, ["answer", "begin"], valid=train.assign(context=["  hides ", CONTEXTS[1], "x"], begin=[1, 7, ""])
    ).train.targets.tolist() == [[1, 6], [7, 12], NOWHERE]


def test_an_answer_that_stands_there_twice_is_told_and_taken_where_it_stands_first():
    found = read(table(answer=["old fox", "hides", None]))
    assert found.train.targets.tolist() == [[4, 11], [7, 12], NOWHERE]
    assert found.messages == [
        "1 answer(s) of train stand in their context more than once (train.iloc[[1]]): the first "
        "place is taken; two columns, labels=[answer, its first character], say which"
    ]


def test_files_have_answers_too(tmp_path):
    train = table(context=["in 1912", "in 2001 .", "never"], answer=["1912", "2001", ""], begin=["3", "3", ""])
    train.to_csv(tmp_path / "train.csv", index=False)
    for labels in ("answer", ["answer", "begin"]):
        assert answers(read(str(tmp_path / "train.csv"), labels, valid=0.34, seed=1).train)[0] in ("1912", "2001", None)
    train.iloc[:2].to_csv(tmp_path / "train.csv", index=False)  # numbers throughout
    found = read(str(tmp_path / "train.csv"), valid=0.5)
    assert answers(found.train) + answers(found.valid) in (["1912", "2001"], ["2001", "1912"])


def test_a_test_needs_no_answers():
    assert read(test=table()[["question", "context"]]).test.targets is None
    assert answers(read(test=table()).test)[0] == "old fox"


REFUSED = {
    "not there": (
        dict(answer=["a fox", "toad", "x"]),
        {},
        "2 of 3 answer(s) of train do not stand in their context "
        "word for word, train.iloc[[0, 2]] (the first: 'a fox'); expected a part of the context each, or an "
        "empty text where it holds none: correct them, or leave these rows out",
    ),
    "elsewhere": (
        dict(answer=squads((["fox"], [7]), ([], []), ([], []))),
        {},
        "1 of 3 answer(s) of train do not stand "
        "where 'answer' says, train.iloc[[0]] (the first: 'fox' at 7, where ' fo' stands); expected the "
        "place of the first character, counted from 0: correct them, or give the answers' column alone",
    ),
    "a number": (
        dict(answer=["old fox", 3, "two"]),
        {},
        "label column 'answer' of train holds int, train.iloc[[1]]; "
        "expected the answer as it stands in the context, a str, or {'text': [...], 'answer_start': [...]}",
    ),
    "no place": (
        dict(begin=[4, "x", 0]),
        dict(labels=["answer", "begin"]),
        "label column 'begin' of train holds 'x' "
        "for the place of an answer's first character, train.iloc[[1]]; expected a whole number of at least 0",
    ),
    "no contexts": (
        {},
        dict(text_pair=None),
        "task is 'question-answering' and no text_pair was given; expected the column of questions and "
        "that of their contexts: write text='question', text_pair='context'",
    ),
    "classes": (
        {},
        dict(classes=["a", "b"]),
        "classes was given and task is 'question-answering', which has none; leave classes out",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_answers_that_cannot_be_used_are_named(name):
    columns, asked, messages = REFUSED[name]
    assert read_error(table(**columns), valid=table(**columns), **asked) == messages


def test_too_many_columns_are_no_answers():
    assert read_error(
        labels=["answer", "answer_start", "x"], train=table(answer_start=0, x=1), valid=table(answer_start=0, x=1)
    ).startswith("task='question-answering': 3 label columns were given")


# -- in tokens ------------------------------------------------------------------------------------------------


def collator_of(folder, max_length=32, side="right", cut="right"):
    from fastai_hf_callback.data.batches.qa_encoding import QACollator

    tokenizer = fast_tokenizer(folder)
    tokenizer.padding_side, tokenizer.truncation_side = side, cut
    return QACollator(TextEncoder(tokenizer, max_length=max_length))


@pytest.fixture(params=["right", "left"])
def collator(request, tmp_path):
    return collator_of(tmp_path, side=request.param)


def spans(collator, items, labels):
    """The rows, their padded tensors, and the targets."""
    rows = collator.encode_texts(items)
    collator.set_tensor_names(rows)
    return rows, collator.tensors(rows), collator.targets(rows, labels)


def test_tokens_of_an_answer_are_those_of_its_characters(collator):
    items = [("who", "The OLD foxs hide near two ferns"), ("a", "an owl")]
    rows, tensors, targets = spans(collator, items, [(4, 12), (3, 6)])
    assert targets.dtype == torch.int64 and targets.shape == (2, 2)
    tokens = [
        collator.encoder.tokenizer.convert_ids_to_tokens(ids[first : last + 1].tolist())
        for ids, (first, last) in zip(tensors[0], targets.tolist())
    ]
    assert tokens == [["old", "fox", "##s"], ["owl"]]
    read = [
        collator.decode_answer(collator.recover_row([tensor[at] for tensor in tensors], rows)[0], targets[at].tolist())
        for at in range(2)
    ]
    assert read == ["OLD foxs", "owl"]  # as the context writes it
    assert collator.decode_answer(rows[1], (targets[1] + 1).tolist()) != "owl"  # the broken arm


def test_an_encoding_is_the_tokenizers_own_and_leaves_it_as_it_was(collator):
    tokenizer = collator.encoder.tokenizer
    before = tokenizer.backend_tokenizer.truncation, tokenizer.backend_tokenizer.padding
    row = collator.encode_texts([("the fox", "an owl")])[0]
    assert row.input_ids.tolist() == tokenizer("the fox", "an owl")["input_ids"]
    assert row.token_type_ids.tolist() == tokenizer("the fox", "an owl")["token_type_ids"]
    assert (tokenizer.backend_tokenizer.truncation, tokenizer.backend_tokenizer.padding) == before


def test_without_an_answer_the_target_is_the_first_special_token(collator):
    rows, tensors, targets = spans(collator, [("who", "the fox"), ("a", "the old foxs")], [NOWHERE, NOWHERE])
    assert [int(ids[first]) for ids, (first, _) in zip(tensors[0], targets.tolist())] == [2, 2]
    assert (
        collator.decode_answer(collator.recover_row([tensor[0] for tensor in tensors], rows)[0], targets[0].tolist())
        == ""
    )


@pytest.mark.parametrize("cut, label", (("right", (13, 16)), ("left", (4, 7))))
def test_an_answer_cut_off_with_its_context_is_no_target_and_is_told(tmp_path, cut, label):
    collator = collator_of(tmp_path, max_length=7, cut=cut)
    context = "the fox sees owl"
    rows, _, targets = spans(
        collator, [("a", f"{context} {context}" if cut == "left" else context), ("a", "the fox")], [label, (4, 7)]
    )
    assert len(rows[0].input_ids) == 7 and targets.tolist() == [[-100, -100], [4, 4]]
    assert collator.decode_answer(rows[0], [-100, -100]) == "(cut off)"
    (messages,) = collator.report_truncated_answers(rows, [label, (4, 7)], "train")
    assert messages.startswith(
        "1 of 2 answer(s) of train are cut off with their contexts at max_length=7 tokens (the first context: 'the fox"
    )
    assert (
        collator.report_truncated_answers(rows[1:], [(4, 7)], "train")
        == collator.report_truncated_answers(rows, None, "test")
        == []
    )
    with pytest.raises(InvalidInputError, match="there is nothing to learn; write a larger max_length"):
        collator.report_truncated_answers(rows[:1], [label], "train")


def test_the_question_is_kept_whole_or_refused(tmp_path):
    collator = collator_of(tmp_path, max_length=8)
    row = collator.encode_texts([("the old red fox", "the fox")])[0]
    assert row.input_ids[1:5].tolist() == collator.encoder.tokenizer("the old red fox")["input_ids"][1:-1]
    with pytest.raises(
        InvalidInputError, match="max_length=8 was given, and the question 'the old red fox sees' has 5 "
    ):
        collator.encode_texts([("the fox", "a"), ("the old red fox sees", "the fox")])


def test_a_slow_tokenizer_is_refused(tmp_path):
    from fastai_hf_callback.data.batches.qa_encoding import QACollator

    with pytest.raises(
        InvalidInputError, match="is a slow tokenizer.*expected a fast one for task 'question-answering'"
    ):
        QACollator(TextEncoder(slow_tokenizer(tmp_path)))


def test_a_prediction_outside_the_context_is_no_answer(tmp_path):
    collator = collator_of(tmp_path)
    row = collator.encode_texts([("the fox", "an owl sees")])[0]  # [CLS] the fox [SEP] [UNK] owl sees [SEP]
    for span, told in (
        ((5, 6), "owl sees"),
        ((0, 0), ""),
        ((1, 2), ""),
        ((2, 6), ""),
        ((3, 5), ""),
        ((5, 7), "owl sees"),
        ((5, 99), "owl sees"),
        ((7, 7), ""),
    ):
        assert collator.decode_answer(row, span) == told, span


@given(
    words=st.lists(st.sampled_from([*OTHERS, "foxs", "Fox", "(owl)", "newt-toad", "\u4e2d"]), min_size=1, max_size=9),
    space=st.sampled_from([" ", "  ", "\n"]),
    at=st.data(),
)
@settings(deadline=None, max_examples=60)
def test_every_answer_of_whole_words_comes_back(tmp_path_factory, words, space, at):
    context = space.join(words)
    first = at.draw(st.integers(0, len(words) - 1))
    last = at.draw(st.integers(first, len(words) - 1))
    begin = len(space.join(words[:first])) + len(space) * bool(first)
    end = len(space.join(words[: last + 1]))
    collator = _collator_once(tmp_path_factory)
    rows, tensors, targets = spans(collator, [("the", context), ("the", context + " a a a")], [(begin, end)] * 2)
    for row in range(2):
        found, _ = collator.recover_row([tensor[row] for tensor in tensors], rows)
        assert collator.decode_answer(found, targets[row].tolist()) == context[begin:end]


def _collator_once(tmp_path_factory, made=[]):  # noqa: B006
    if not made:
        made.append(collator_of(tmp_path_factory.mktemp("vocabulary"), max_length=64, side="left"))
    return made[0]
