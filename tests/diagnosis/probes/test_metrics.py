"""probe_metric: what a metric answers to stand-ins, and whether a row's worth hangs on the rest of its batch."""

import warnings
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, matthews_corrcoef, r2_score, roc_auc_score
from torch import nn

from fastai_hf_callback import span_f1
from fastai_hf_callback.diagnosis.checks.metrics import (
    check_metric_arguments_swapped,
    check_metric_fails,
    check_metric_ignores_predictions,
    check_metric_wrong_axis,
)
from fastai_hf_callback.diagnosis.probes.metrics import probe_metric
from fastai_hf_callback.results.evidence import Evidence

LOSSES = {
    "classes": nn.functional.cross_entropy,
    "labels": nn.functional.binary_cross_entropy_with_logits,
    "number": nn.functional.mse_loss,
}


def value_of(metric, epochs):
    """The mean over batches, as fastai 1 takes it of a function."""
    outputs, targets = epochs[-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = [(float(metric(o, t)), len(t)) for o, t in zip(outputs, targets)]
    return sum(v * n for v, n in values) / sum(n for _, n in values)


def asked(metric, kind, seed, rows, width=4, batches=3):
    draw = torch.Generator().manual_seed(seed)
    outputs = [torch.randn(rows, width, generator=draw) for _ in range(batches)]
    targets = {
        "classes": lambda: torch.randint(width, (rows,), generator=draw),
        "labels": lambda: (torch.rand(rows, width, generator=draw) < 0.3).float(),
        "number": lambda: 100 * torch.randn(rows, width, generator=draw),
    }
    seen = probe_metric(
        "it", partial(value_of, metric), outputs, [targets[kind]() for _ in range(batches)], LOSSES[kind]
    )
    return check_metric_wrong_axis(Evidence(metrics=[seen]))


def by_class(told, **kwargs):
    return lambda o, t: told(t.numpy(), o.argmax(1).numpy(), **kwargs)


def by_label(o, t):
    return (o > 0).int().numpy(), t.int().numpy()


HEALTHY = {
    "accuracy": ("classes", lambda o, t: (o.argmax(1) == t).float().mean()),
    "top two": ("classes", lambda o, t: (o.topk(2, 1).indices == t[:, None]).any(1).float().mean()),
    "macro F1": ("classes", by_class(f1_score, average="macro")),
    "Matthews": ("classes", by_class(matthews_corrcoef)),
    "how many are right": ("classes", lambda o, t: (o.argmax(1) == t).sum()),
    "likelihood": ("classes", nn.functional.cross_entropy),
    "AUC of classes": (
        "classes",
        lambda o, t: roc_auc_score(
            t.numpy(), o.double().softmax(1).numpy(), multi_class="ovr", labels=range(o.shape[1])
        ),
    ),
    "accuracy of labels": ("labels", lambda o, t: ((o > 0) == (t > 0)).float().mean()),
    "all labels of a row": ("labels", lambda o, t: ((o > 0) == (t > 0)).all(1).float().mean()),
    "micro F1": ("labels", lambda o, t: f1_score(*reversed(by_label(o, t)), average="micro")),
    "AUC of labels": ("labels", lambda o, t: roc_auc_score(t.numpy(), o.numpy())),
    "mean squared error": ("number", nn.functional.mse_loss),
    "root of it": ("number", lambda o, t: nn.functional.mse_loss(o, t).sqrt()),
    "norm": ("number", lambda o, t: (o - t).norm()),
    "spread of residuals": ("number", lambda o, t: (o - t).std()),
    "R squared": ("number", lambda o, t: r2_score(t.numpy(), o.numpy())),
}
BROKEN = {
    "argmax down the batch": ("classes", lambda o, t: (o.argmax(0) == t[: o.shape[1]]).float().mean()),
    "softmax down the batch": ("classes", lambda o, t: (o.softmax(0).argmax(1) == t).float().mean()),
    "softmax of labels down the batch": ("labels", lambda o, t: ((o.softmax(0) > 0.5) == (t > 0)).float().mean()),
    "top label down the batch": ("labels", lambda o, t: (o.argmax(0) == t.argmax(0)).float().mean()),
    "sorted down the batch": ("number", lambda o, t: (o.sort(0).values - t).abs().mean()),
    "targets of the neighbours": ("classes", lambda o, t: (o.argmax(1) == t.roll(1)).float().mean()),
}


# scikit-learn takes milliseconds for a batch, and a probe asks some two hundred times.
OF_SCIKIT_LEARN = ("macro F1", "Matthews", "AUC of classes", "micro F1", "AUC of labels")
ANY_ROWS = given(st.integers(0, 10_000), st.integers(6, 40))


@pytest.mark.parametrize("name", [name for name in HEALTHY if name not in OF_SCIKIT_LEARN])
@settings(max_examples=12, deadline=None)
@ANY_ROWS
def test_a_measure_of_rows_is_left_alone(name, seed, rows):
    kind, metric = HEALTHY[name]
    assert asked(metric, kind, seed, rows) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_SCIKIT_LEARN)
@settings(max_examples=3, deadline=None)
@ANY_ROWS
def test_and_one_of_scikit_learn_too(name, seed, rows):
    kind, metric = HEALTHY[name]
    assert asked(metric, kind, seed, rows) == []


@pytest.mark.parametrize("name", BROKEN)
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.integers(16, 40))
def test_a_measure_of_something_else_is_found(name, seed, rows):
    kind, metric = BROKEN[name]
    assert [finding.cause for finding in asked(metric, kind, seed, rows)] == ["metric-wrong-axis"]


def test_a_metric_that_draws_anew_each_time_is_not_judged_by_its_order():
    def of_some(o, t):
        rows = torch.randperm(len(t))[:8]
        return (o[rows].argmax(1) == t[rows]).float().mean()

    seen = probe_metric(
        "it", partial(value_of, of_some), [torch.randn(30, 4)] * 3, [torch.randint(4, (30,))] * 3, LOSSES["classes"]
    )
    assert seen.with_rows_reordered == seen.with_rows_repeated == []


def test_a_metric_that_raises_whatever_the_targets_is_told_apart_from_one_that_wants_both_classes():
    outputs, targets = [torch.randn(8, 2)] * 2, [torch.zeros(8, dtype=torch.int64)] * 2

    def examined(metric):
        return check_metric_fails(
            Evidence(metrics=[probe_metric("it", partial(value_of, metric), outputs, targets, LOSSES["classes"])])
        )

    def cut(o, t):
        assert o.argmax(0).shape == t.shape, "2 and 8"

    def wants_both(o, t):
        if len(t.unique()) < 2:
            raise ValueError("only one class")
        return 0.5

    assert examined(wants_both) == [] == examined(lambda o, t: torch.tensor(float("nan")))
    (finding,) = examined(cut)
    assert "AssertionError: 2 and 8" in finding.message and "(8, 2) and (8,)" in finding.message


# -- probabilities, and arguments the wrong way round --------------------------------------------------------------


def sigmoid_accuracy(output, target):
    return ((output.sigmoid() > 0.5) == (target > 0.5)).float().mean()


@pytest.mark.parametrize("bounded, causes", [(True, ["metric-ignores-predictions"]), (False, [])])
def test_a_sigmoid_of_probabilities_says_the_same_of_all_predictions(bounded, causes):
    target = (torch.rand(32, 3, generator=torch.Generator().manual_seed(3)) < 0.4).float()
    outputs = 0.2 + 0.5 * target
    seen = probe_metric(
        "accuracy",
        partial(value_of, sigmoid_accuracy),
        [outputs],
        [target],
        nn.functional.binary_cross_entropy,
        bounded=bounded,
    )
    assert [f.cause for f in check_metric_ignores_predictions(Evidence(metrics=[seen]))] == causes


def swapped_r2(output, target):
    return r2_score(output, target)


def right_r2(output, target):
    return r2_score(target, output)


def mean_error(output, target):
    return (output - target).abs().mean()


def correlation(output, target):
    return torch.corrcoef(torch.stack([output.flatten(), target.flatten()]))[0, 1]


@pytest.mark.parametrize(
    "metric, found",
    [(swapped_r2, True), (right_r2, False), (mean_error, False), (correlation, False)],
    ids=lambda given: getattr(given, "__name__", str(given)),
)
def test_a_measure_of_numbers_prefers_near_ones_unless_its_arguments_are_swapped(metric, found):
    if metric is correlation and not hasattr(torch, "corrcoef"):
        pytest.skip("torch 1.4 has no corrcoef")
    target = torch.randn(40, 1, generator=torch.Generator().manual_seed(4))
    seen = probe_metric("m", partial(value_of, metric), [target * 0.5], [target], LOSSES["number"])
    assert bool(check_metric_arguments_swapped(Evidence(metrics=[seen]))) is found


def next_word_accuracy(outputs, targets):
    return (outputs[:, :-1].argmax(-1) == targets[:, 1:]).float().mean()


def seen_of_positions(metric, columns):
    """What is found of a metric of outputs with a target in each of so many columns."""
    draw = torch.Generator().manual_seed(0)
    targets = torch.randint(24, (16, columns), generator=draw).sort(1).values
    outputs = torch.randn(16, columns, 24, generator=draw)
    return probe_metric("metric", partial(value_of, metric), [outputs], [targets], LOSSES["classes"]).ahead


def test_the_ends_of_a_span_are_no_positions():
    assert seen_of_positions(span_f1, 2) is None
    assert seen_of_positions(next_word_accuracy, 12) == 1
