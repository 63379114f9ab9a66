"""A loss of the user's own on text_data, fastai 1: it trains as given, and the learner predicts as the task asks."""

import warnings

import pytest
import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DatasetType
    from fastai.basic_train import load_learner
    from fastai.layers import CrossEntropyFlat, LabelSmoothingCrossEntropy
    from fastai.train import ClassificationInterpretation

from fastai_hf_callback import compare, diagnose, ordered_preds, trusted
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from tests.fastai1.data.text_learners import ITEM, make_data, make_learner
from tests.own_losses import LOSSES_BY_TASK, FocalLoss, my_cross_entropy, one_against_rest, soft_cross_entropy

TEXT = "the fox sees a fern"


class FocalLossOfRows(FocalLoss):
    """With the ``reduction`` that fastai asks a loss for."""

    reduction = "mean"

    def forward(self, logits, targets):
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction=self.reduction)
        return (1 - torch.exp(-losses)) ** self.gamma * losses


LOSSES = [(task, name) for task, build in LOSSES_BY_TASK.items() for name in build(3)]


@pytest.fixture
def tokenizer(slow):
    return slow


def learner_with(tokenizer, task, loss, **kwargs):
    return make_learner(make_data(tokenizer, task), task, loss_func=loss, **kwargs)


def build_loss(task, name):
    return LOSSES_BY_TASK[task](3)[name]


@pytest.mark.parametrize("task, name", LOSSES)
def test_predictions_are_those_of_the_tasks_own_loss(tokenizer, task, name):
    learn, default = learner_with(tokenizer, task, build_loss(task, name)), learner_with(tokenizer, task, None)
    with no_progress(learn), no_progress(default):
        # The first that the learner does, where a batch is activated by itself.
        assert torch.allclose(learn.get_preds()[0], default.get_preds()[0], atol=1e-6)
        assert torch.equal(learn.get_preds()[0], default.get_preds()[0])
        assert torch.equal(ordered_preds(learn)[0], ordered_preds(default)[0])
        assert learn.get_preds(activ=lambda rows: rows * 0)[0].abs().max() == 0
    item = ITEM.get(task, TEXT)
    ours, theirs = learn.predict(item), default.predict(item)
    assert str(ours[0]) == str(theirs[0]) and torch.equal(ours[1], theirs[1]) and torch.equal(ours[2], theirs[2])


@pytest.mark.parametrize(
    "task, loss, activate",
    [
        ("multi_label_classification", soft_cross_entropy, lambda rows: rows.softmax(-1)),
        ("multi_label_classification", nn.MSELoss(), lambda rows: rows),
        ("single_label_classification", one_against_rest, torch.sigmoid),
    ],
)
def test_predictions_are_what_the_loss_trains(tokenizer, task, loss, activate):
    learn, default = learner_with(tokenizer, task, loss), learner_with(tokenizer, task, None)
    with no_progress(learn), no_progress(default):
        ours, logits = learn.get_preds()[0], default.get_preds(activ=lambda rows: rows)[0]
    assert torch.allclose(ours, activate(logits), atol=1e-6) and not torch.allclose(ours, default.get_preds()[0])
    assert torch.allclose(ordered_preds(learn)[0].sort(0)[0], ours.sort(0)[0], atol=1e-5)


@pytest.mark.parametrize("task", LOSSES_BY_TASK)
def test_the_very_first_prediction_may_be_of_one_text(tokenizer, task):
    learn, default = (learner_with(tokenizer, task, loss) for loss in (build_loss(task, "own function"), None))
    item = ITEM.get(task, TEXT)
    assert torch.equal(learn.predict(item)[2], default.predict(item)[2])


@pytest.mark.parametrize(
    "task, name",
    [
        ("single_label_classification", "own module"),
        ("token-classification", "own function"),
        ("token-classification", "weighted"),
        ("multi_label_classification", "partial"),
        ("regression", "absolute"),
    ],
)
def test_it_trains_and_every_way_to_predict_works(tokenizer, task, name, capsys):
    learn = learner_with(tokenizer, task, build_loss(task, name))
    with no_progress(learn):
        learn.fit(1, 1e-3)
        assert torch.isfinite(torch.tensor(float(learn.validate()[0])))
        learn.show_results(rows=2)
        assert "prediction" in capsys.readouterr().out
        predictions, targets, losses = ordered_preds(learn, with_loss=True)
    assert len(predictions) == len(targets) == 30 and len(losses) % 30 == 0 and losses.std() > 0


def test_losses_asked_for_before_anything_else_come_with_a_warning(tokenizer):
    learn, default = (learner_with(tokenizer, "single_label_classification", one) for one in (FocalLossOfRows(), None))
    with no_progress(learn), no_progress(default):
        with pytest.warns(UserWarning, match="FocalLossOfRows was given.*before anything else ran.*call it again"):
            learn.get_preds(with_loss=True)
        assert torch.equal(learn.get_preds(with_loss=True)[0], default.get_preds()[0])


def test_a_confusion_matrix_counts_every_row(tokenizer):
    learn = learner_with(tokenizer, "single_label_classification", FocalLoss())
    with no_progress(learn):
        learn.validate()
        assert ClassificationInterpretation.from_learner(learn).confusion_matrix().sum() == 30


@pytest.mark.parametrize("loss", (None, CrossEntropyFlat()))
def test_a_loss_that_fastai_knows_is_left_alone(tokenizer, loss):
    learn = learner_with(tokenizer, "single_label_classification", loss)
    with no_progress(learn):
        learn.validate()
    assert learn.loss_func is (learn.data.loss_func if loss is None else loss)


def test_fastais_own_smoothed_loss_predicts_probabilities(tokenizer):
    learn = learner_with(tokenizer, "single_label_classification", LabelSmoothingCrossEntropy())
    with no_progress(learn):
        rows = learn.get_preds(DatasetType.Valid)[0].sum(1)
    assert torch.allclose(rows, torch.ones_like(rows), atol=1e-5)


def test_the_loss_is_still_the_users(tokenizer):
    mine = nn.CrossEntropyLoss(weight=torch.ones(3))
    learn = learner_with(tokenizer, "single_label_classification", mine)
    with no_progress(learn):
        learn.validate()
        learn.get_preds(with_loss=True)
    assert isinstance(learn.loss_func, nn.CrossEntropyLoss) and repr(learn.loss_func) == repr(mine)
    assert mine.reduction == "mean" and learn.loss_func.weight is mine.weight


def test_an_export_keeps_it(tokenizer, tmp_path):
    learn = learner_with(tokenizer, "single_label_classification", FocalLoss(gamma=1.0))
    before = learn.predict(TEXT)[2]
    learn.export(tmp_path / "learner.pkl")
    with trusted(tmp_path / "learner.pkl"):
        loaded = load_learner(tmp_path, "learner.pkl")
    assert isinstance(loaded.loss_func, FocalLoss) and torch.equal(loaded.predict(TEXT)[2], before)


@pytest.mark.parametrize("task, name", [("regression", "absolute"), ("token-classification", "weighted")])
def test_the_doctor_finds_nothing(tokenizer, task, name):
    learn, default = (learner_with(tokenizer, task, loss) for loss in (build_loss(task, name), None))
    assert diagnose(learn).causes == diagnose(default).causes
    assert not type(learn.loss_func).__module__.startswith("fastai_hf_callback")  # and nothing is changed


@pytest.mark.parametrize("task, name", [("regression", "absolute"), ("multi_label_classification", "partial")])
def test_both_loops_train_the_same(tokenizer, task, name):
    data = make_data(tokenizer, task)
    comparison = compare(
        lambda: make_learner(data, task, loss_func=build_loss(task, name)), lambda learn: learn.fit(1, 1e-3)
    )
    assert comparison.identical and comparison.broken_arm_differs


def test_one_callback_may_serve_two_learners(tokenizer):
    learn = learner_with(tokenizer, "single_label_classification", my_cross_entropy)
    other = learner_with(
        tokenizer, "multi_label_classification", build_loss("multi_label_classification", "own module")
    )
    other.callbacks = learn.callbacks
    with no_progress(learn), no_progress(other):
        rows = learn.get_preds()[0].sum(1)
        assert torch.allclose(rows, torch.ones_like(rows), atol=1e-5)
        assert other.get_preds()[0].min() >= 0 and other.get_preds()[0].max() <= 1
