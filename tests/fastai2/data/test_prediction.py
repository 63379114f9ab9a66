"""text_data on fastai 2: texts that come later, and what cannot be predicted."""

import pytest
import torch
from fastai.data.load import DataLoader

from fastai_hf_callback import InvalidInputError, ordered_preds, text_data
from tests.fastai2.data.text_learners import TEST, make_data, make_learner, rows_of
from tests.tiny_texts import all_like


def test_texts_to_predict_may_be_a_frame(tokenizer):
    for task, columns in (
        ("single_label_classification", ["text"]),
        ("pairs", ["text", "second"]),
        ("token-classification", ["words"]),
    ):
        dls = make_data(tokenizer, task)
        assert rows_of(dls.test_dl(TEST[columns])) == rows_of(dls.test)


@pytest.mark.parametrize("task", ("single_label_classification", "pairs", "token-classification"))
def test_texts_in_anything_like_a_list_are_predicted_as_those_in_a_list(tokenizer, task):
    dls = make_data(tokenizer, task)
    learn = make_learner(dls, task)
    texts = {"pairs": list(zip(TEST.text, TEST.second)), "token-classification": TEST.words.tolist()}.get(
        task, TEST.text.tolist()
    )
    expected = ordered_preds(learn, texts)[0]
    for given in all_like(texts):
        assert rows_of(dls.test_dl(given)) == rows_of(dls.test)
        assert torch.equal(ordered_preds(learn, given)[0], expected)
    assert not torch.equal(ordered_preds(learn, texts[::-1])[0], expected)


def test_a_dataset_and_its_column_are_predicted_as_its_texts(tokenizer):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install datasets")
    learn, dataset = make_learner(make_data(tokenizer)), datasets.Dataset.from_pandas(TEST[["text"]])
    expected = ordered_preds(learn, TEST.text.tolist())[0]
    for given in (dataset["text"], dataset["text"][:], dataset):
        assert torch.equal(ordered_preds(learn, given)[0], expected)


def test_a_loader_of_other_rows_is_no_list_of_texts(tokenizer):
    learn = make_learner(make_data(tokenizer))
    for loader in (DataLoader(list(range(4)), bs=2), torch.utils.data.DataLoader(list(range(4)))):
        with pytest.raises(InvalidInputError, match="whose rows have no lengths"):
            ordered_preds(learn, loader)


@pytest.mark.parametrize("task, columns", [("single_label_classification", ["text"]), ("pairs", ["text", "second"])])
def test_a_file_of_texts_is_read_as_its_table(tokenizer, tmp_path, task, columns):
    dls = make_data(tokenizer, task)
    TEST[columns].to_csv(tmp_path / "test.csv", index=False)
    for path in (tmp_path / "test.csv", str(tmp_path / "test.csv")):
        assert rows_of(dls.test_dl(path)) == rows_of(dls.test)
    TEST[["second"]].to_csv(tmp_path / "renamed.csv", index=False)
    with pytest.raises(
        InvalidInputError,
        match=r"renamed.csv with the columns 'second' was given; .*; write pd.read_csv"
        r"\('.*renamed.csv'\).rename\(columns=\{'second': 'text'\}\)",
    ):
        make_data(tokenizer).test_dl(tmp_path / "renamed.csv")
    with pytest.raises(InvalidInputError, match=r"other.csv: no such file.*nearest: test.csv"):
        dls.test_dl(tmp_path / "other.csv")


@pytest.mark.parametrize(
    "task, items, said",
    (
        (
            "single_label_classification",
            "the fox",
            "'the fox' was given; expected a list of texts, or a DataFrame or CSV "
            "file with the column 'text': "
            "dls.test_dl([text, ...])",
        ),
        (
            "single_label_classification",
            {"a": 1},
            "{'a': 1} was given; expected a list of texts, or a DataFrame or CSV "
            "file with the column 'text': "
            "dls.test_dl([text, ...])",
        ),
        ("single_label_classification", [], "No text was given; expected at least one: dls.test_dl([text, ...])"),
        (
            "single_label_classification",
            ["a", 3],
            "3 (int) was given; expected a text: dls.test_dl(['some text', ...])",
        ),
        (
            "single_label_classification",
            TEST[["second"]],
            "A DataFrame with the columns 'second' was given; expected 'text', as in training; "
            "write frame.rename(columns={'second': 'text'})",
        ),
        (
            "pairs",
            ["a", "b"],
            "'a' (str) was given; expected a pair of texts, as these data have: dls.test_dl([(first, second), ...])",
        ),
        (
            "token-classification",
            ["a", "b"],
            "'a' (str) was given; expected a list of words: dls.test_dl([['some', 'text'], ...])",
        ),
    ),
    ids=["a text", "a dict", "none", "a number", "another column", "no pairs", "no words"],
)
def test_what_cannot_be_predicted_is_refused(tokenizer, task, items, said):
    with pytest.raises(InvalidInputError) as caught:
        make_data(tokenizer, task).test_dl(items)
    assert str(caught.value) == said


def test_labels_do_not_come_with_texts_to_predict(tokenizer):
    with pytest.raises(InvalidInputError, match="learn.validate"):
        make_data(tokenizer).test_dl(TEST, with_labels=True)
    learn = make_learner(make_data(tokenizer))
    assert len(learn.validate(dl=make_data(tokenizer).test)) == 2


@pytest.mark.parametrize("item", (["the fox", "an owl"], ("a", "b"), 5))
def test_several_texts_are_not_glued_into_one(tokenizer, item):
    with pytest.raises(InvalidInputError, match=r"expected a text: learn.predict\('some text'\)"):
        make_learner(make_data(tokenizer)).predict(item)


def test_a_pair_is_asked_for_where_the_data_have_pairs(tokenizer):
    with pytest.raises(InvalidInputError, match=r"learn.predict\(\(first, second\)\)"):
        make_learner(make_data(tokenizer, "pairs"), "pairs").predict("the fox")


@pytest.mark.parametrize("item", (3, None, float("nan")))
def test_an_exception_inside_predict_leaves_the_learner_as_it_was(tokenizer, item):
    learn = make_learner(make_data(tokenizer))
    callbacks, loaders = list(learn.cbs), list(learn.dls.loaders)
    with pytest.raises(InvalidInputError):
        learn.predict(item)
    assert list(learn.cbs) == callbacks and learn.dls.loaders == loaders


def test_a_failing_batch_inside_predict_leaves_the_learner_usable(tokenizer, monkeypatch):
    learn = make_learner(make_data(tokenizer))
    callbacks, expected = list(learn.cbs), learn.predict("the fox")[2]
    with monkeypatch.context() as patched:
        patched.setattr("fastai_hf_callback.data.batches.collate.pad_rows", None)
        with pytest.raises(TypeError):
            learn.predict("the fox")
    assert list(learn.cbs) == callbacks and torch.equal(learn.predict("the fox")[2], expected)


@pytest.mark.parametrize(
    "changed, said",
    (
        (dict(bs=0), "bs=0 was given; expected a whole number, at least 1"),
        (dict(bs="8"), "bs='8' was given; expected a whole number, at least 1"),
        (dict(val_bs=2.5), "val_bs=2.5 was given; expected a whole number, at least 1"),
        (dict(num_workers=-1), "num_workers=-1 was given; expected a whole number, at least 0"),
        (dict(path=None), "path=None was given; expected a folder: path='.'"),
    ),
)
def test_settings_that_cannot_be_are_refused_before_anything_is_read(changed, said):
    with pytest.raises(InvalidInputError) as caught:
        text_data(None, None, None, text="text", labels="kind", **changed)
    assert str(caught.value) == said


def test_a_device_that_is_none_is_refused(tokenizer):
    with pytest.raises(InvalidInputError, match="device='gpu' was given, and torch cannot use it"):
        make_data(tokenizer, device="gpu")
