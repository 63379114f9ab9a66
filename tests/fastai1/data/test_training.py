"""text_data in learners of fastai 1: training, validation, predictions in the caller's order, for every task."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DatasetType
    from fastai.basic_train import load_learner
    from fastai.train import ClassificationInterpretation

from fastai_hf_callback import (
    Doctor,
    InvalidInputError,
    diagnose,
    layer_groups,
    ordered_preds,
    text_data,
    trusted,
)
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from tests.fastai1.data.text_learners import ITEM, TASKS, TEST, TRAIN, VALID, make_data, make_learner, rows_of
from tests.tiny_texts import all_like


def test_texts_to_predict_that_hold_a_special_tokens_string_are_told_of(slow):
    learn = make_learner(make_data(slow))
    with no_progress(learn):
        with pytest.warns(UserWarning, match=r"^1 of 3 texts to predict hold '\[SEP\]', at 1 ") as told:
            ordered_preds(learn, ["a fox", "a [SEP] fox", "[ SEP ] ferns"])
        assert sum("to predict" in str(one.message) for one in told) == 1
        with pytest.warns(UserWarning, match=r"^1 of 1 texts to predict hold '\[SEP\]', at 0 ") as told:
            learn.predict("a [SEP] fox")
        assert sum("to predict" in str(one.message) for one in told) == 1
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            learn.predict("a fox")
    assert not [one for one in told if "to predict" in str(one.message)]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_trains_validates_shows_and_predicts(slow, task, tmp_path, capsys):
    data = make_data(slow, task, path=tmp_path)
    learn = make_learner(data, task)
    learn.split(layer_groups)
    with no_progress(learn):
        learn.fit_one_cycle(2, 1e-3)
    assert np.isfinite(learn.recorder.val_losses).all()
    assert learn.recorder.val_losses[-1] < learn.recorder.val_losses[0] * 1.2
    capsys.readouterr()
    data.show_batch(rows=2)
    learn.show_results(rows=2)
    said = capsys.readouterr().out
    assert said.count("[CLS]") == 4 and "prediction" in said and "[PAD]" not in said
    whole, _targets = learn.get_preds()
    assert len(whole) == len(VALID)
    one, *_ = learn.predict(ITEM.get(task, VALID.text[0])), None
    if task == "single_label_classification":
        assert str(one[0]) in data.classes and torch.allclose(one[2], whole[0], atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("ds_type", (DatasetType.Valid, DatasetType.Test, DatasetType.Train))
def test_ordered_preds_are_get_preds_rows_in_the_callers_order(slow, task, ds_type):
    data = make_data(slow, task)
    learn = make_learner(data, task)
    found = ordered_preds(learn, ds_type)
    expected = learn.get_preds(DatasetType.Fix if ds_type == DatasetType.Train else ds_type)
    assert len(found) == len(expected) == 2
    assert torch.allclose(found[0], expected[0], rtol=0, atol=1e-5) and torch.equal(found[1], expected[1])
    turned = found[0].flip(0)  # an order that was not restored would show
    assert not torch.allclose(turned, expected[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_losses_come_in_the_callers_order_too(slow, task):
    learn = make_learner(make_data(slow, task), task)
    assert torch.allclose(ordered_preds(learn, with_loss=True)[2], learn.get_preds(with_loss=True)[2], atol=1e-5)


def test_ordered_preds_leave_the_learner_as_it_was_when_they_fail(slow):
    data = make_data(slow)
    learn = make_learner(data)
    before = data.valid_dl
    learn.model.model.forward = None
    with pytest.raises(TypeError):
        ordered_preds(learn)
    assert data.valid_dl is before


def test_ordered_preds_say_what_they_cannot_do(slow):
    learn = make_learner(make_data(slow, test=None))
    with pytest.raises(InvalidInputError, match="no test set; write text_data"):
        ordered_preds(learn, DatasetType.Test)
    with pytest.raises(InvalidInputError, match="learn.predict"):
        ordered_preds(learn, DatasetType.Single)


def test_texts_added_later_are_predicted_in_their_order(slow):
    data = make_data(slow, test=None)
    learn = make_learner(data)
    data.add_test(VALID.text.tolist())
    assert torch.allclose(ordered_preds(learn, DatasetType.Test)[0], learn.get_preds()[0], atol=1e-5)


@pytest.mark.parametrize("task, columns", (("single_label_classification", ["text"]), ("pairs", ["text", "second"])))
def test_texts_in_anything_like_a_list_are_predicted_as_those_in_a_list(slow, task, columns):
    data = make_data(slow, task)
    learn = make_learner(data, task)
    before, expected = data.test_dl, learn.get_preds(DatasetType.Test)[0]
    texts = TEST.text.tolist() if len(columns) == 1 else list(zip(TEST.text, TEST.second))
    for given in all_like(texts) + [TEST[columns]]:
        assert torch.allclose(ordered_preds(learn, given)[0], expected, rtol=0, atol=1e-5)
        assert data.test_dl is before and data.label_list.test is before.dataset
        data.add_test(given)
        assert torch.allclose(learn.get_preds(DatasetType.Test)[0], expected, rtol=0, atol=1e-5)
        data.label_list.test, data.test_dl = before.dataset, before
    assert not torch.allclose(ordered_preds(learn, texts[::-1])[0], expected, rtol=0, atol=1e-5)
    with pytest.raises(InvalidInputError, match="expected a text|expected a pair"):
        ordered_preds(learn, [1, 2])
    assert data.test_dl is before


def test_a_label_per_word_is_predicted_for_each_word(slow):
    learn = make_learner(make_data(slow, "token-classification"), "token-classification")
    labels, pieces, _ = learn.predict(["the", "foxs", "sees", "a", "fern"])
    assert len(labels.obj) == 5 and len(pieces) > 7  # 'foxs' and 'sees' are two pieces; then [CLS] and [SEP]


def test_word_accuracy_counts_words_and_nothing_else(slow):
    data = make_data(slow, "token-classification", bs=7)
    learn = make_learner(data, "token-classification")
    preds, targets = learn.get_preds()
    word = targets != -100
    assert int(word.sum()) == sum(map(len, VALID.words))
    expected = float((preds.argmax(-1) == targets)[word].float().mean())
    assert float(learn.validate()[1]) == pytest.approx(expected)


def test_interpretation_finds_classes_and_top_losses(slow):
    learn = make_learner(make_data(slow))
    interpretation = ClassificationInterpretation.from_learner(learn)
    assert interpretation.confusion_matrix().sum() == len(VALID)
    losses, rows = interpretation.top_losses(3)
    assert len(rows) == 3 and losses[0] >= losses[-1]


def test_a_batch_without_a_single_word_is_no_end_of_the_training(slow):
    """Rows without words are of like length and share a batch; a mean over no word would be NaN."""
    train = TRAIN.copy()
    for row in range(12):
        train.at[row, "words"], train.at[row, "tags"] = [], []
    data = text_data(
        train, VALID, slow, text="words", labels="tags", bs=4, max_length=32, progress=False, device=torch.device("cpu")
    )
    assert any(bool((y == -100).all()) for _, y in data.train_dl)
    learn = make_learner(data, "token-classification")
    with no_progress(learn):
        learn.fit(1, 1e-3)
    assert all(map(np.isfinite, [*map(float, learn.recorder.losses), *learn.recorder.val_losses]))
    own = nn.CrossEntropyLoss()(torch.zeros(2, 3), torch.full((2,), -100).long())
    assert bool(torch.isnan(own)) or torch.__version__ < "2"  # the broken arm; torch 1.4 gives 0 as well


def test_words_without_a_piece_or_cut_off_have_no_label_and_keep_their_place(slow):
    learn = make_learner(make_data(slow, "token-classification", max_length=6), "token-classification")
    labels, _, _ = learn.predict(["the", "\u200b", "fox", "sees", "moss", "here"])
    assert labels.obj[1] == "-" and len(labels.obj) == 6 and labels.obj[-1] == "-"
    assert all(label in learn.data.classes for label in (labels.obj[0], labels.obj[2]))


def test_the_places_of_words_can_be_told_in_a_test_set_without_labels(slow):
    data = make_data(slow, "token-classification", test=TEST.words.tolist())
    _, targets = ordered_preds(make_learner(data, "token-classification"), DatasetType.Test)
    assert [int(n) for n in (targets != -100).sum(1)] == [len(words) for words in TEST.words]


def test_texts_to_add_may_be_a_frame(slow):
    for task, columns in (
        ("single_label_classification", ["text"]),
        ("pairs", ["text", "second"]),
        ("token-classification", ["words"]),
    ):
        data = make_data(slow, task)
        expected = rows_of(data, DatasetType.Test)
        data.add_test(TEST[columns])
        assert rows_of(data, DatasetType.Test) == expected


@pytest.mark.parametrize(
    "task, items, said",
    (
        (
            "single_label_classification",
            "the fox",
            "'the fox' was given; expected a list of texts, or a DataFrame or CSV "
            "file with the column 'text': "
            "data.add_test([text, ...])",
        ),
        ("single_label_classification", [], "No text was given; expected at least one: data.add_test([text, ...])"),
        (
            "single_label_classification",
            ["a", 3],
            "3 (int) was given; expected a text: data.add_test(['some text', ...])",
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
            "'a' (str) was given; expected a pair of texts, as these data have: data.add_test([(first, second), ...])",
        ),
    ),
    ids=["a text", "none", "a number", "another column", "no pairs"],
)
def test_what_cannot_be_added_is_refused(slow, task, items, said):
    with pytest.raises(InvalidInputError) as caught:
        make_data(slow, task).add_test(items)
    assert str(caught.value) == said


def test_an_unknown_label_of_texts_to_add_is_refused(slow):
    with pytest.raises(InvalidInputError, match="label='zz' was given; expected one of the classes, or none"):
        make_data(slow).add_test(["a"], label="zz")


@pytest.mark.parametrize("item", (["the fox", "an owl"], ("a", "b"), 5))
def test_several_texts_are_not_glued_into_one(slow, item):
    with pytest.raises(InvalidInputError, match=r"expected a text: learn.predict\('some text'\)"):
        make_learner(make_data(slow)).predict(item)


def test_several_numbers_keep_their_names_and_their_count_when_loaded(slow, tmp_path):
    data = make_data(slow, labels=["share", "plural"], task="regression", path=tmp_path)
    assert data.c == 2 and data.classes == ["share", "plural"] and data.one_batch()[1].shape == (8, 2)
    make_learner(data, "regression").export("model.pkl")
    with trusted(tmp_path / "model.pkl"):
        loaded = load_learner(tmp_path, "model.pkl", test=VALID)
    assert loaded.data.c == 2 and loaded.data.classes == ["share", "plural"]
    assert ordered_preds(loaded, DatasetType.Test)[0].shape == (len(VALID), 2)
    with pytest.raises(InvalidInputError, match="the valid set has no rows"):
        ordered_preds(loaded)


def test_ordered_preds_keep_the_last_fits_recorder_and_doctor(slow):
    learn = make_learner(make_data(slow), callback_fns=[Doctor])
    with no_progress(learn):
        learn.fit(1, 1e-3)
    recorder, doctor = learn.recorder, learn.doctor
    ordered_preds(learn)
    assert learn.recorder is recorder and learn.doctor is doctor and doctor.diagnosis.healthy


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


def test_a_device_that_is_none_is_refused(slow):
    with pytest.raises(InvalidInputError, match="device='gpu' was given, and torch cannot use it"):
        make_data(slow, device="gpu")


def test_a_learner_without_rows_is_not_called_healthy(slow, tmp_path):
    make_learner(make_data(slow, path=tmp_path)).export("model.pkl")
    with trusted(tmp_path / "model.pkl"):
        learn = load_learner(tmp_path, "model.pkl")
    with pytest.raises(InvalidInputError, match="no training rows"):
        diagnose(learn)


def test_sets_can_be_written_down(slow, tmp_path):
    frame = make_data(slow, path=tmp_path).valid_ds.to_df()
    assert frame.y.tolist() == VALID.kind.tolist() and "[CLS]" in frame.x[0]


@pytest.mark.parametrize("item", (3, None, float("nan")))
def test_an_exception_inside_predict_leaves_the_learner_as_it_was(slow, item):
    data = make_data(slow)
    learn = make_learner(data)
    callbacks = list(learn.callbacks)
    with pytest.raises(InvalidInputError):
        learn.predict(item)
    assert len(data.valid_ds) == len(VALID) and data.valid_ds.item is None and learn.callbacks == callbacks


def test_a_failing_batch_inside_predict_leaves_the_learner_as_it_was(slow, monkeypatch):
    data = make_data(slow)
    learn = make_learner(data)
    monkeypatch.setattr("fastai_hf_callback.data.batches.collate.pad_rows", None)
    with pytest.raises(TypeError):
        learn.predict("the fox")
    assert len(data.valid_ds) == len(VALID) and data.valid_ds.item is None


def test_a_pair_is_asked_for_where_the_data_have_pairs(slow):
    learn = make_learner(make_data(slow, "pairs"), "pairs")
    with pytest.raises(InvalidInputError, match=r"learn.predict\(\(first, second\)\)"):
        learn.predict("the fox")
