"""text_data in learners of fastai 2: training, validation, predictions in the caller's order, for every task."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from fastai.callback.data import PartialDL, WeightedDL
from fastai.data.core import TfmdDL
from fastai.data.load import DataLoader
from fastai.interpret import ClassificationInterpretation, Interpretation
from fastai.losses import CrossEntropyLossFlat

from fastai_hf_callback import (
    InvalidInputError,
    compare,
    ordered_preds,
    text_data,
)
from tests.fastai2.data.text_learners import ITEM, SETS, TASKS, TEST, TRAIN, VALID, make_data, make_learner, rows_of
from tests.tiny_texts import COLUMNS


@pytest.mark.parametrize("task", TASKS)
def test_every_task_trains_validates_shows_and_predicts(tokenizer, task, tmp_path, capsys):
    dls = make_data(tokenizer, task, path=tmp_path)
    learn = make_learner(dls, task)
    before = float(learn.validate()[0])
    learn.fine_tune(1, 1e-3)
    assert np.isfinite(learn.recorder.losses).all() and float(learn.validate()[0]) < before * 1.2
    capsys.readouterr()
    dls.show_batch(max_n=2)
    learn.show_results(max_n=2)
    said = capsys.readouterr().out
    assert said.count("[CLS]") == 4 and "prediction" in said and "[PAD]" not in said
    whole, targets = learn.get_preds()
    assert len(whole) == len(targets) == len(VALID)
    told, decoded, probabilities = learn.predict(ITEM.get(task, VALID.text[0]))
    if task == "single_label_classification":
        assert told in dls.classes and dls.classes[decoded] == told
        assert torch.allclose(probabilities, whole[0], atol=1e-6) and float(probabilities.sum()) == pytest.approx(1)
    if task == "multi_label_classification":
        assert set(told) <= set(COLUMNS) and decoded.tolist() == (probabilities > 0.5).tolist()
    if task == "regression":
        assert told == pytest.approx(float(probabilities))
    if task == "token-classification":
        assert len(told) == 5 and set(told) <= set(dls.classes)
    if task == "answers":
        assert told in ITEM["answers"][1] and decoded[0] <= decoded[1] and probabilities.shape[0] == 2


def test_a_model_learns_what_can_be_learned(tokenizer):
    """The proof that inputs and targets belong together; the broken arm is given other rows' labels."""
    animals = {words: ["fox", "owl", "oak", "fern"][at % 4] for at, words in enumerate(TRAIN.text)}
    train = TRAIN.assign(text=[animals[words] for words in TRAIN.text])
    train["kind"] = ["animal" if word in ("fox", "owl") else "plant" for word in train.text]

    def score(labels):
        dls = text_data(
            train.assign(kind=labels),
            train,
            tokenizer,
            bs=8,
            progress=False,
            max_length=8,
            device=torch.device("cpu"),
            **TASKS["single_label_classification"],
        )
        learn = make_learner(dls)
        learn.fit_one_cycle(4, 1e-2)
        return float(learn.validate()[1])

    assert score(train.kind) == 1
    assert score(["plant" if kind == "animal" else "animal" for kind in train.kind]) == 0


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", SETS)
def test_ordered_preds_are_get_preds_rows_in_the_callers_order(tokenizer, task, name):
    learn = make_learner(make_data(tokenizer, task), task)
    found, expected = ordered_preds(learn, name), learn.get_preds(SETS[name])
    assert len(found) == len(expected) == 2
    assert torch.allclose(found[0], expected[0], rtol=0, atol=1e-5)
    assert found[1] is expected[1] is None or torch.equal(found[1], expected[1])
    turned = found[0].flip(0)  # an order that was not restored would show
    assert not torch.allclose(turned, expected[0], rtol=0, atol=1e-5)


def test_ordered_preds_take_a_position_a_loader_or_texts(tokenizer, tmp_path):
    learn = make_learner(make_data(tokenizer))
    expected = ordered_preds(learn, "test")[0]
    TEST.to_csv(tmp_path / "test.csv", index=False)
    for asked in (
        2,
        learn.dls.test_dl(TEST),
        TEST,
        TEST.text,
        TEST.text.tolist(),
        tmp_path / "test.csv",
        str(tmp_path / "test.csv"),
    ):
        assert torch.equal(ordered_preds(learn, asked)[0], expected)
    assert torch.equal(ordered_preds(learn, dl=learn.dls.test_dl(TEST))[0], expected)
    assert not torch.equal(ordered_preds(learn, learn.dls.test_dl(TEST[::-1]))[0], expected)


@pytest.mark.parametrize("task", TASKS)
def test_losses_inputs_and_decoded_come_in_the_callers_order_too(tokenizer, task):
    learn = make_learner(make_data(tokenizer, task), task)
    asked = dict(with_input=True, with_loss=True, with_decoded=True)
    found, expected = ordered_preds(learn, **asked), learn.get_preds(**asked)
    ids = [[row[row > 0].tolist() for row in inputs[0]] for inputs in (found[0], expected[0])]
    assert ids[0] == ids[1] == rows_of(learn.dls.valid)
    for mine, fastais in zip(found[3:], expected[3:]):
        assert torch.allclose(mine.float(), fastais.float(), atol=1e-5)


def test_predictions_do_not_depend_on_how_they_are_asked_for(tokenizer):
    learn = make_learner(make_data(tokenizer))
    whole = learn.get_preds()[0]
    one_by_one = torch.stack([learn.predict(text)[2] for text in VALID.text[:5]])
    assert torch.allclose(one_by_one, whole[:5], atol=1e-6)
    assert torch.allclose(learn.get_preds(dl=learn.dls.test_dl(VALID.text.tolist()))[0], whole, atol=1e-6)
    learn.get_preds(dl=learn.dls.train)  # drawn anew, and put back
    assert torch.allclose(learn.get_preds(dl=learn.dls.train)[0], learn.get_preds(0)[0], atol=1e-6)


def test_ordered_preds_leave_the_learner_as_it_was_also_when_they_fail(tokenizer):
    learn = make_learner(make_data(tokenizer))
    learn.fit(1, 1e-3)
    losses, before, callbacks = list(learn.recorder.losses), dict(vars(learn)), list(learn.cbs)
    ordered_preds(learn)
    assert learn.recorder.losses == losses and vars(learn) == before
    learn.model.model.forward = None
    with pytest.raises(TypeError):
        ordered_preds(learn)
    assert vars(learn) == before and list(learn.cbs) == callbacks


def test_ordered_preds_say_what_they_cannot_do(tokenizer):
    learn = make_learner(make_data(tokenizer, test=None))
    assert learn.dls.test is None
    with pytest.raises(InvalidInputError, match="no test set; write text_data"):
        ordered_preds(learn, "test")
    with pytest.raises(InvalidInputError, match="learn.predict"):
        ordered_preds(learn, "single_label_classification")
    with pytest.raises(InvalidInputError, match="expected a text"):
        ordered_preds(learn, [1])
    with pytest.raises(InvalidInputError, match="rows have no lengths"):
        ordered_preds(learn, DataLoader(TEST.text.tolist()))
    with pytest.raises(InvalidInputError, match="expected a fastai Learner"):
        ordered_preds(learn.dls)


def test_a_label_per_word_is_predicted_for_each_word(tokenizer):
    learn = make_learner(make_data(tokenizer, "token-classification"), "token-classification")
    labels, pieces, _ = learn.predict(["the", "foxs", "sees", "a", "fern"])
    assert len(labels) == 5 and len(pieces) > 7  # 'foxs' and 'sees' are two pieces; then [CLS] and [SEP]
    assert str(labels) == " ".join(labels) and labels == learn.predict("the foxs sees a fern")[0]


def test_word_accuracy_counts_words_and_nothing_else(tokenizer):
    learn = make_learner(make_data(tokenizer, "token-classification", bs=7), "token-classification")
    preds, targets = learn.get_preds()
    word = targets != -100
    assert int(word.sum()) == sum(map(len, VALID.words))
    assert float(learn.validate()[1]) == pytest.approx(float((preds.argmax(-1) == targets)[word].float().mean()))


def test_a_batch_without_a_single_word_is_no_end_of_the_training(tokenizer):
    """Rows without words are of like length and share a batch; a mean over no word would be NaN."""
    train = TRAIN.copy()
    for row in range(12):
        train.at[row, "words"], train.at[row, "tags"] = [], []
    dls = text_data(
        train,
        VALID,
        tokenizer,
        text="words",
        labels="tags",
        bs=4,
        max_length=32,
        progress=False,
        device=torch.device("cpu"),
    )
    assert any(bool((y == -100).all()) for *_, y in dls.train)
    learn = make_learner(dls, "token-classification")
    learn.fit(1, 1e-3)
    assert np.isfinite(learn.recorder.losses).all() and np.isfinite(float(learn.validate()[0]))
    nothing = torch.zeros(2, 4, 3), torch.full((2, 4), -100).long()
    assert float(dls.loss_func(*nothing)) == 0
    assert bool(torch.isnan(CrossEntropyLossFlat()(*nothing)))  # the broken arm


def test_labels_per_word_are_padded_to_the_batch_in_training_and_to_the_set_in_prediction(tokenizer):
    dls = make_data(tokenizer, "token-classification")
    assert all(ids.shape == y.shape and ids.shape[1] == mask.sum(1).max() for ids, mask, y in dls.train)
    assert {ids.shape[1] for ids, *_ in dls.valid} == {int(dls.valid.lengths.max())}
    learn = make_learner(dls, "token-classification")
    drawn, in_order = learn.get_preds(dl=dls.train), learn.get_preds(0)  # both in the rows' own order
    assert torch.allclose(drawn[0], in_order[0], atol=1e-5) and torch.equal(drawn[1], in_order[1])


def test_words_without_a_piece_or_cut_off_have_no_label_and_keep_their_place(tokenizer):
    learn = make_learner(make_data(tokenizer, "token-classification", max_length=6), "token-classification")
    labels, _, _ = learn.predict(["the", "\u200b", "fox", "sees", "moss", "here"])
    assert labels[1] == "-" and len(labels) == 6 and labels[-1] == "-"
    assert all(label in learn.dls.classes for label in (labels[0], labels[2]))


def test_the_places_of_words_can_be_told_in_a_test_set_without_labels(tokenizer):
    dls = make_data(tokenizer, "token-classification", test=TEST.words.tolist())
    _, targets = ordered_preds(make_learner(dls, "token-classification"), "test")
    assert [int(n) for n in (targets != -100).sum(1)] == [len(words) for words in TEST.words]


def test_interpretation_finds_classes_and_top_losses(tokenizer, capsys):
    learn = make_learner(make_data(tokenizer))
    interpretation = ClassificationInterpretation.from_learner(learn)
    preds, targets, decoded, losses = learn.get_preds(with_decoded=True, with_loss=True)
    expected = [[int(((targets == t) & (decoded == d)).sum()) for d in range(3)] for t in range(3)]
    assert interpretation.confusion_matrix().tolist() == expected
    found, rows, items = interpretation.top_losses(3, items=True)
    assert torch.equal(torch.as_tensor(found), losses.topk(3)[0]) and len(rows) == 3
    assert [str(item) for item in items] == [str(learn.dls.valid_ds[int(row)]) for row in rows]
    again = interpretation[rows]
    assert torch.allclose(again[1], preds[rows], atol=1e-6) and torch.equal(again[2], targets[rows])
    interpretation.show_results(rows)
    interpretation.print_classification_report()
    said = capsys.readouterr().out
    assert all(str(item) in said for item in items) and "precision" in said


@pytest.mark.parametrize("task", ("multi_label_classification", "regression", "token-classification"))
def test_interpretation_of_the_other_tasks_finds_top_losses(tokenizer, task, capsys):
    interpretation = Interpretation.from_learner(make_learner(make_data(tokenizer, task), task))
    interpretation.show_results(interpretation.top_losses(2)[1])
    assert capsys.readouterr().out.count("[CLS]") == 2


def test_the_learning_rate_is_found_and_nothing_is_changed(tokenizer, tmp_path):
    learn = make_learner(make_data(tokenizer, path=tmp_path))
    before = learn.model.model.classifier.weight.clone()
    assert learn.lr_find(num_it=10, show_plot=False).valley > 0
    assert torch.equal(learn.model.model.classifier.weight, before)


def test_callback_and_patched_loop_are_equal_on_these_data(tokenizer):
    """Batches are drawn from torch's generator, so the arms of a comparison see the same ones."""
    dls = make_data(tokenizer)
    comparison = compare(
        lambda: make_learner(dls), fit=lambda learn: learn.fit(1, 1e-2), arms=("callback", "patched"), progress=False
    )
    assert comparison.identical


@pytest.mark.filterwarnings("error")
def test_predict_warns_of_nothing(tokenizer):
    """fastai's own callback keeps ``inputs``, and warns where the learner, or its model, has one too."""
    learn = make_learner(make_data(tokenizer))
    learn.predict("the fox")
    learn.model.inputs = ()  # the broken arm
    with pytest.raises(UserWarning, match="shadowing an attribute"):
        learn.predict("the fox")


@pytest.mark.parametrize("loader", (WeightedDL, PartialDL, TfmdDL, DataLoader))
def test_a_loader_that_does_not_pad_says_what_to_write(tokenizer, loader):
    dls = make_data(tokenizer)
    with pytest.raises(InvalidInputError, match=r"dls.loaders\[0\] = dls.train.new\(cls=Mixed"):
        next(iter(loader(dls.train_ds, 8, num_workers=0)))
    item = pickle.loads(pickle.dumps(dls.train_ds[0]))
    assert item.target == dls.train_ds[0].target and len(item.row.input_ids)


def test_texts_to_predict_that_hold_a_special_tokens_string_are_told_of(tokenizer):
    learn = make_learner(make_data(tokenizer))
    with pytest.warns(UserWarning, match=r"^1 of 3 texts to predict hold '\[SEP\]', at 1 ") as told:
        ordered_preds(learn, ["a fox", "a [SEP] fox", "[ SEP ] ferns"])
    assert len(told) == 1
    with pytest.warns(UserWarning, match=r"^1 of 1 texts to predict hold '\[SEP\]', at 0 ") as told:
        learn.predict("a [SEP] fox")
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learn.predict("a fox")


def test_weighted_and_partial_epochs_draw_their_rows_and_the_loader_makes_the_batches(tokenizer):
    dls = make_data(tokenizer)
    weights = np.arange(len(dls.train_ds)) < 3.0
    for kind, given, rows in ((WeightedDL, {"wgts": weights}, len(weights)), (PartialDL, {"partial_n": 16}, 16)):
        mixed = type(kind.__name__, (kind, type(dls.train)), {})
        dls.loaders[0] = loader = dls.train.new(cls=mixed, **given)
        drawn = loader.get_idxs()
        assert len(drawn) == rows and (kind is PartialDL or set(drawn) == {0, 1, 2})
        learn = make_learner(dls)
        learn.fit(1, 1e-2)
        assert len(learn.recorder.losses) == len(loader) and learn.get_preds()[0].shape[0] == len(dls.valid_ds)
        dls = make_data(tokenizer)
