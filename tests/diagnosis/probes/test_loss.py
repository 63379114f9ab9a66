"""probe_loss: what a loss expects, told from its answers to stand-ins."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fastai_hf_callback.diagnosis.probes.loss import (
    compute_loss,
    find_ignored_targets,
    measure_target_costs,
    probe_all_targets,
    probe_loss,
)

CLASSES = torch.tensor([0, 1, 2, 0, 1, 0])
LABELS = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
of_classes, of_labels = torch.randn(6, 3), torch.randn(4, 2)


def minus(loss):
    return lambda output, target: -loss(output, target)


def test_cross_entropy_takes_logits_and_does_not_mind_a_shift():
    seen = probe_loss(nn.CrossEntropyLoss(), of_classes, CLASSES)
    assert seen.shift_invariant and seen.at_ideal < 0.01 < seen.at_worst
    assert seen.first == pytest.approx(float(F.cross_entropy(of_classes, CLASSES)))
    shares = torch.tensor([3, 2, 1]) / 6.0
    assert seen.constant == pytest.approx(float(-(shares * shares.log()).sum()), abs=1e-3)


def test_a_loss_of_log_probabilities_minds_a_shift():
    seen = probe_loss(nn.NLLLoss(), of_classes.log_softmax(-1), CLASSES)
    assert seen.shift_invariant is False and seen.falls_with_shift is True


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        nn.MultiMarginLoss(),
        nn.CrossEntropyLoss(label_smoothing=0.1)
        if "label_smoothing" in nn.CrossEntropyLoss.__init__.__code__.co_varnames
        else nn.CrossEntropyLoss(),
        lambda output, target: (output**2).mean(),
    ],
)
def test_other_losses_do_not_fall_with_a_shift(loss):
    assert probe_loss(loss, of_classes, CLASSES).falls_with_shift is False


def test_binary_cross_entropy_with_logits_likes_far_outputs_better():
    seen = probe_loss(nn.BCEWithLogitsLoss(), of_labels, LABELS)
    assert seen.takes_logits is True and seen.shift_invariant is None
    assert seen.at_ideal < 0.01 < seen.at_worst and seen.constant == pytest.approx(math.log(2), abs=1e-3)


def test_a_loss_of_probabilities_refuses_far_outputs_and_is_asked_with_near_ones():
    seen = probe_loss(nn.BCELoss(), of_labels.sigmoid(), LABELS)
    assert seen.takes_logits is False
    assert seen.at_ideal is not None and seen.at_ideal < 0.02 < 1 < seen.at_worst


def test_the_squared_error_of_labels_takes_no_logits():
    assert probe_loss(nn.MSELoss(), of_labels, LABELS).takes_logits is False


def test_of_numbers_the_ideal_costs_nothing_and_a_constant_the_variance():
    target = torch.tensor([1.0, 2.0, 4.0])[:, None]
    seen = probe_loss(nn.MSELoss(), torch.zeros(3, 1), target)
    assert seen.at_ideal == 0 < seen.at_worst
    assert seen.constant == pytest.approx(float(target.var(unbiased=False)), rel=1e-2)


@pytest.mark.parametrize(
    "loss, logits, target",
    [
        (nn.CrossEntropyLoss(), of_classes, CLASSES),
        (nn.BCEWithLogitsLoss(), of_labels, LABELS),
        (nn.MSELoss(), torch.zeros(3, 1), torch.tensor([[1.0], [2.0], [4.0]])),
    ],
    ids=["CE", "BCE", "MSE"],
)
def test_a_minus_before_the_loss_is_seen_and_only_then(loss, logits, target):
    good, bad = probe_loss(loss, logits, target), probe_loss(minus(loss), logits, target)
    assert good.at_ideal < good.at_worst and bad.at_ideal > bad.at_worst


def test_a_loss_of_one_value_per_row_is_averaged():
    seen = probe_loss(nn.CrossEntropyLoss(reduction="none"), of_classes, CLASSES)
    assert seen.first == pytest.approx(float(F.cross_entropy(of_classes, CLASSES)))


def test_a_loss_that_raises_has_answered_with_nothing():
    def refuses(output, target):
        raise RuntimeError

    seen = probe_loss(refuses, of_classes, CLASSES)
    assert (seen.first, seen.constant, seen.at_ideal, seen.at_worst, seen.shift_invariant) == (None,) * 4 + (False,)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_none(value):
    assert compute_loss(lambda output, target: torch.tensor(value), of_classes, CLASSES) is None


def test_a_float_instead_of_a_tensor_is_none():
    assert compute_loss(lambda output, target: 1.0, of_classes, CLASSES) is None


def test_of_targets_that_do_not_fit_only_the_loss_itself_is_asked():
    seen = probe_loss(nn.MSELoss(), torch.zeros(3, 1), torch.zeros(3, 1, 1, 5))
    assert seen.first is not None and seen.at_ideal is None and seen.takes_logits is None


def test_nothing_is_asked_for_a_graph_and_nothing_is_changed():
    logits = of_classes.clone().requires_grad_()
    before = logits.detach().clone()

    def loss(output, target):
        assert not torch.is_grad_enabled()
        return F.cross_entropy(output, target)

    probe_loss(loss, logits, CLASSES)
    assert torch.is_grad_enabled() and logits.grad is None and torch.equal(logits, before)


# torch 1.4 once: the near outputs are multiplied in half precision, which its CPU cannot.
def test_half_precision_logits_are_asked_in_their_own_dtype():
    asked = []
    probe_loss(lambda output, target: asked.append(output.dtype) or output.float().mean(), of_labels.half(), LABELS)
    assert set(asked) == {torch.float16}


# -- what each target costs --------------------------------------------------------------------------------------------

AT_A_COST = {
    "CE": (nn.CrossEntropyLoss(), of_classes, CLASSES),
    "CE, sum": (nn.CrossEntropyLoss(reduction="sum"), of_classes, CLASSES),
    "CE, small weights": (nn.CrossEntropyLoss(torch.tensor([1e-3, 1.0, 50.0])), of_classes, CLASSES),
    "CE, another class ignored": (nn.CrossEntropyLoss(ignore_index=-100), of_classes, CLASSES),
    "NLL": (lambda output, target: F.nll_loss(output.log_softmax(-1), target), of_classes, CLASSES),
    "margin": (nn.MultiMarginLoss(), of_classes, CLASSES),
    "BCE": (nn.BCEWithLogitsLoss(), of_labels, LABELS),
    "BCE, weights": (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1e-2, 30.0])), of_labels, LABELS),
    "BCE of probabilities": (nn.BCELoss(), of_labels.sigmoid(), LABELS),
    "squared error of labels": (nn.MSELoss(), of_labels, LABELS),
    "one label": (nn.BCEWithLogitsLoss(), of_labels[:, :1], LABELS[:, :1]),
    "targets alone": (lambda output, target: target.float().mean(), of_classes, CLASSES),
    "numbers": (nn.MSELoss(), torch.zeros(3, 1), torch.tensor([[1.0], [2.0], [4.0]])),
    "refused": (lambda output, target: output.no_such_thing, of_classes, CLASSES),
    "one class": (nn.CrossEntropyLoss(torch.tensor([0.0, 1.0, 1.0])), of_classes, torch.zeros(6, dtype=torch.int64)),
    "a class per token": (nn.CrossEntropyLoss(ignore_index=0), torch.randn(2, 3, 4), torch.randint(0, 3, (2, 4))),
}

AT_NONE = {
    "weight": (nn.CrossEntropyLoss(torch.tensor([0.0, 1.0, 2.0])), of_classes, CLASSES, ["class 0"]),
    "weights": (nn.CrossEntropyLoss(torch.tensor([0.0, 1.0, 0.0])), of_classes, CLASSES, ["class 0", "class 2"]),
    "ignored": (nn.CrossEntropyLoss(ignore_index=1), of_classes, CLASSES, ["class 1"]),
    "more rows": (nn.CrossEntropyLoss(ignore_index=1), of_classes[:2], CLASSES, ["class 1"]),
    "half": (nn.CrossEntropyLoss(ignore_index=1), of_classes.double(), CLASSES, ["class 1"]),
    "pos_weight": (
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 0.0])),
        of_labels,
        LABELS,
        ["1 in label column 1"],
    ),
    "weight of a column": (
        nn.BCEWithLogitsLoss(torch.tensor([0.0, 1.0])),
        of_labels,
        LABELS,
        ["0 in label column 0", "1 in label column 0"],
    ),
    "probabilities": (
        nn.BCELoss(torch.tensor([0.0, 1.0])),
        of_labels.sigmoid(),
        LABELS,
        ["0 in label column 0", "1 in label column 0"],
    ),
    "one label": (nn.BCEWithLogitsLoss(pos_weight=torch.zeros(1)), of_labels[:, 0], LABELS[:, 0], ["1"]),
    "of one's own": (
        lambda output, target: (F.cross_entropy(output, target, reduction="none") * (target != 2)).mean(),
        of_classes,
        CLASSES,
        ["class 2"],
    ),
}


@pytest.mark.parametrize("name", AT_A_COST)
def test_every_target_costs_something(name):
    assert find_ignored_targets(measure_target_costs(*AT_A_COST[name])) == []


@pytest.mark.parametrize("name", AT_NONE)
def test_targets_at_no_cost_are_named(name):
    *given, wanted = AT_NONE[name]
    assert find_ignored_targets(measure_target_costs(*given)) == wanted


def test_all_targets_tell_what_a_few_rows_do_not():
    seen = probe_loss(nn.CrossEntropyLoss(), of_classes[:2], CLASSES[:2])
    probe_all_targets(seen, nn.CrossEntropyLoss(), of_classes[:2], CLASSES)
    shares = torch.tensor([3, 2, 1]) / 6.0
    assert seen.constant_all_targets == pytest.approx(float(-(shares * shares.log()).sum()), abs=1e-3)
    assert seen.constant == pytest.approx(math.log(2), abs=1e-3) and seen.ignored_targets == []


@pytest.mark.parametrize("weights, frequent_costs_more", [((9.0, 1.0), True), ((1.0, 9.0), False)])
def test_what_a_wrong_prediction_of_each_class_costs_is_its_weight(weights, frequent_costs_more):
    target = torch.tensor([0] * 9 + [1])
    costs = measure_target_costs(nn.CrossEntropyLoss(torch.tensor(weights)), torch.zeros(10, 2), target)
    assert [(name, round(share, 2)) for name, share, _ in costs] == [("class 0", 0.9), ("class 1", 0.1)]
    assert (costs[0][2] > 2 * costs[1][2]) is frequent_costs_more


@pytest.mark.parametrize("reduction, growth", [("mean", 1), ("sum", 2)])
def test_a_sum_doubles_with_the_rows_and_a_mean_stays(reduction, growth):
    seen = probe_loss(nn.CrossEntropyLoss(reduction=reduction), of_classes, CLASSES)
    assert seen.growth_with_rows == pytest.approx(growth)
