"""A loss of the user's own on text_data, fastai 2: it trains as given, and the learner predicts as the task asks."""

import pickle

import pytest
import torch
from fastai.interpret import ClassificationInterpretation, Interpretation
from fastai.learner import load_learner
from fastai.losses import CrossEntropyLossFlat, LabelSmoothingCrossEntropy
from torch import nn
from torch.nn import functional

from fastai_hf_callback import compare, diagnose, ordered_preds
from tests.fastai2.data.text_learners import ITEM, TASKS, make_data, make_learner
from tests.own_losses import LOSSES_BY_TASK, FocalLoss, my_cross_entropy, one_against_rest, soft_cross_entropy
from tests.slow_marks import mark_slow_after

TEXT = "the fox sees a fern"
LOSSES = [(task, name) for task, build in LOSSES_BY_TASK.items() for name in build(3)]


def learner_with(tokenizer, task, loss, **kwargs):
    dls = make_data(tokenizer, task)
    return make_learner(dls, task, loss_func=loss, **kwargs)


def build_loss(task, name):
    return LOSSES_BY_TASK[task](3)[name]


@pytest.mark.parametrize("task, name", mark_slow_after(6, LOSSES))
def test_predictions_are_those_of_the_tasks_own_loss(tokenizer, task, name):
    learn, default = learner_with(tokenizer, task, build_loss(task, name)), learner_with(tokenizer, task, None)
    for ours, theirs in zip(ordered_preds(learn, with_decoded=True), ordered_preds(default, with_decoded=True)):
        assert torch.equal(ours, theirs)
    item = ITEM.get(task, TEXT)
    for ours, theirs in zip(learn.predict(item), default.predict(item)):
        assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs


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
    ours, logits = learn.get_preds()[0], default.get_preds(act=lambda rows: rows)[0]
    assert torch.allclose(ours, activate(logits), atol=1e-6) and not torch.allclose(ours, default.get_preds()[0])
    assert torch.allclose(ordered_preds(learn)[0].sort(0)[0], ours.sort(0)[0], atol=1e-5)


@pytest.mark.parametrize(
    "task, name",
    [
        ("single_label_classification", "own module"),
        ("token-classification", "own function"),
        ("token-classification", "weighted"),
        ("multi_label_classification", "partial"),
        ("regression", "absolute"),
        ("regression", "own function"),
    ],
)
def test_it_trains_and_every_way_to_predict_works(tokenizer, task, name, capsys):
    learn = learner_with(tokenizer, task, build_loss(task, name))
    learn.fit(1, 1e-3)
    assert all(torch.isfinite(torch.tensor(float(value))) for value in learn.recorder.values[-1])
    learn.show_results(max_n=2)
    assert "prediction" in capsys.readouterr().out
    predictions, targets, losses = learn.get_preds(with_loss=True)
    assert len(predictions) == len(targets) == len(losses) == 30 and losses.std() > 0
    assert len(Interpretation.from_learner(learn).top_losses(3)[0]) == 3


def test_a_function_trains_as_the_class_of_torch_does(tokenizer):
    trained = []
    for loss in (functional.mse_loss, nn.MSELoss(), None):
        torch.manual_seed(0)
        learn = learner_with(tokenizer, "regression", loss)
        torch.manual_seed(1)
        learn.fit(1, 1e-3)
        trained.append(torch.cat([p.detach().flatten() for p in learn.model.parameters()]))
    assert torch.equal(trained[0], trained[1]) and torch.allclose(trained[0], trained[2], atol=1e-6)


def test_a_confusion_matrix_counts_every_row(tokenizer):
    learn = learner_with(tokenizer, "single_label_classification", FocalLoss())
    assert ClassificationInterpretation.from_learner(learn).confusion_matrix().sum() == 30


def test_the_loss_is_still_the_users(tokenizer):
    mine = nn.CrossEntropyLoss(weight=torch.ones(3))
    learn = learner_with(tokenizer, "single_label_classification", mine)
    assert isinstance(learn.loss_func, nn.CrossEntropyLoss) and repr(learn.loss_func) == repr(mine)
    learn.loss_func.weight = torch.zeros(3)
    assert mine.weight is learn.loss_func.weight and not mine.weight.any()
    learn.get_preds(with_loss=True)
    assert mine.reduction == "mean"


@pytest.mark.parametrize("loss", (None, CrossEntropyLossFlat(), LabelSmoothingCrossEntropy()))
def test_a_loss_that_says_how_to_predict_is_left_alone(tokenizer, loss):
    learn = learner_with(tokenizer, "single_label_classification", loss)
    learn.validate()
    assert learn.loss_func is (learn.dls.loss_func if loss is None else loss)


def test_one_that_is_assigned_later_predicts_too(tokenizer):
    learn = learner_with(tokenizer, "single_label_classification", None)
    before = learn.get_preds()[0]
    learn.loss_func = my_cross_entropy
    assert torch.equal(learn.get_preds()[0], before)


def test_without_the_callback_they_are_the_bare_outputs(tokenizer):
    learn = learner_with(tokenizer, "single_label_classification", my_cross_entropy)
    learn.loss_func = my_cross_entropy
    learn.model = _Logits(learn.model)
    learn.remove_cb(learn.hf)
    rows = learn.get_preds()[0].sum(1)
    assert not torch.allclose(rows, torch.ones_like(rows), atol=0.01)


class _Logits(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *batch):
        return self.model(*batch)[0]


def test_an_export_keeps_it(tokenizer, tmp_path):
    learn = learner_with(tokenizer, "single_label_classification", FocalLoss(gamma=1.0))
    learn.export(tmp_path / "learner.pkl")
    loaded = load_learner(tmp_path / "learner.pkl")
    assert isinstance(loaded.loss_func, FocalLoss) and loaded.loss_func.gamma == 1.0
    assert torch.equal(loaded.predict(TEXT)[2], learn.predict(TEXT)[2])
    assert pickle.loads(pickle.dumps(learn.loss_func)).traits == learn.loss_func.traits


@pytest.mark.slow
@pytest.mark.parametrize("task, name", [("regression", "absolute"), ("token-classification", "weighted")])
def test_the_doctor_finds_nothing(tokenizer, task, name):
    learn = learner_with(tokenizer, task, build_loss(task, name))
    learn.loss_func = build_loss(task, name)  # assigned again, before a fit
    assert diagnose(learn).causes == diagnose(learner_with(tokenizer, task, None)).causes


@pytest.mark.parametrize("task, name", [("regression", "absolute"), ("token-classification", "own module")])
def test_both_loops_train_the_same(tokenizer, task, name):
    dls = make_data(tokenizer, task)
    comparison = compare(
        lambda: make_learner(dls, task, loss_func=build_loss(task, name)), lambda learn: learn.fit(1, 1e-3)
    )
    assert comparison.identical and comparison.broken_arm_differs


def test_a_score_between_0_and_1_may_be_trained_by_its_logit(tokenizer):
    learn = learner_with(tokenizer, "regression", nn.BCEWithLogitsLoss())
    learn.fit(1, 1e-3)
    assert torch.equal(learn.get_preds()[0], learn.get_preds(act=lambda outputs: outputs)[0].sigmoid())


def test_answers_take_torchs_cross_entropy(tokenizer):
    learn, default = (learner_with(tokenizer, "answers", loss) for loss in (nn.CrossEntropyLoss(), None))
    assert torch.equal(ordered_preds(learn)[0], ordered_preds(default)[0])
    assert learn.validate()[0] == pytest.approx(default.validate()[0])
    assert learn.predict(ITEM["answers"])[0] == default.predict(ITEM["answers"])[0]


def test_tasks_are_those_of_text_data():
    assert set(LOSSES_BY_TASK) < set(TASKS)
