"""The metrics, driven as fastai drives them."""

from functools import partial

import numpy as np
import pytest
import torch

pytest.importorskip("fastai")

from fastai.metrics import accuracy

from fastai_hf_callback import ColumnwiseAUC, ConstantBaseline, WordAccuracy
from fastai_hf_callback import accuracy_thresh as our_accuracy_thresh
from fastai_hf_callback.model.metrics import mean_columnwise_auc
from tests.installed_fastai import (
    ADAPTER,
    MULTI_LABEL_ACCURACY,
    drive_metric,
    drive_metric_over,
    get_datasets,
    get_recorded_metrics,
    make_learner,
    multi_label_accuracy,
    only_on,
)

OUTPUTS = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0]] * 2)


def run(metric, sizes=(4, 4, 2)):
    """The metric over batches of different size, as fastai's loop drives it."""
    return float(drive_metric(metric, OUTPUTS, TARGETS, sizes))


@pytest.mark.parametrize("sizes", ((10,), (4, 4, 2), (1,) * 10))
def test_auc_is_over_the_whole_set_whatever_the_batches(sizes):
    assert run(ColumnwiseAUC(), sizes) == mean_columnwise_auc(OUTPUTS, TARGETS)


@only_on(2)
def test_auc_is_that_of_fastais_own_where_every_column_has_both_classes():
    from fastai.metrics import RocAucMulti

    assert drive_metric(ColumnwiseAUC(), OUTPUTS[:, :2], TARGETS[:, :2], (4, 4, 2)) == pytest.approx(
        drive_metric(RocAucMulti(), OUTPUTS[:, :2], TARGETS[:, :2], (4, 4, 2))
    )


def test_the_mean_of_batch_aucs_would_be_another_number():
    batches = [mean_columnwise_auc(o, t) for o, t in zip(OUTPUTS.split(5), TARGETS.split(5))]
    assert np.mean(batches) != mean_columnwise_auc(OUTPUTS, TARGETS)


@only_on(2)
def test_a_value_may_be_read_twice_and_a_reset_forgets_it():
    metric = ColumnwiseAUC()
    assert run(metric) == metric.value
    metric.reset()
    assert metric.value is None


def test_the_base_rate_of_an_accuracy_of_labels_is_the_share_of_zeros():
    metric = partial(multi_label_accuracy, thresh=0.45)
    assert run(ConstantBaseline(metric)) == pytest.approx(float((TARGETS == 0).float().mean()))
    assert ConstantBaseline(metric).name == f"base_{MULTI_LABEL_ACCURACY}"
    assert run(metric) != run(ConstantBaseline(metric))


def test_the_base_rate_stands_in_fastais_own_table():
    learn = make_learner("bert")
    learn.metrics = [accuracy, ConstantBaseline(accuracy)]
    learn.fit(2, 1e-3)
    names, values = get_recorded_metrics(learn)
    assert names == ["accuracy", "base_accuracy"]
    rates = {float(of_epoch[1]) for of_epoch in values}
    counts = torch.bincount(get_datasets(learn)[1].tensors[-1])
    assert len(values) == 2 and len(rates) == 1
    assert rates.pop() == pytest.approx(float(counts.max()) / int(counts.sum()))


@pytest.mark.parametrize("same_width", (True, False))
def test_the_base_rate_of_an_accuracy_of_words_is_the_share_of_the_most_frequent_label(same_width):
    outputs = torch.randn(10, 5, 3, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([[-100, 1, 1, 2, -100]] * 7 + [[0, 2, 2, 1, 1]] * 3)
    batches = [(outputs[:7], targets[:7]), (outputs[7:], targets[7:])]
    if not same_width:
        batches[0] = (outputs[:7, :4], targets[:7, :4])
    metric = ConstantBaseline(WordAccuracy())
    assert metric.name == "base_word_accuracy"
    assert float(drive_metric_over(metric, batches)) == pytest.approx(20 / 36)
    assert float(drive_metric_over(WordAccuracy(), batches)) != pytest.approx(20 / 36)


def test_a_metric_of_ones_own_has_a_base_rate_too():
    assert run(ConstantBaseline(ColumnwiseAUC())) == 0.5


def test_a_constant_scores_half_an_auc_and_the_metric_keeps_what_it_held():
    metric = ColumnwiseAUC()
    run(metric)
    held = dict(vars(metric))
    assert ADAPTER.score_constant(torch.zeros(3), [OUTPUTS], [TARGETS], [metric]) == [0.5]
    assert vars(metric) == held


def test_accuracy_thresh_is_right_with_batches_of_different_size():
    expected = float(our_accuracy_thresh(OUTPUTS, TARGETS))
    assert run(our_accuracy_thresh) == pytest.approx(expected)
    batches = [float(our_accuracy_thresh(o, t)) for o, t in zip(OUTPUTS.split((4, 4, 2)), TARGETS.split((4, 4, 2)))]
    assert np.mean(batches) != pytest.approx(expected)  # what a mean over batches would say


def test_word_accuracy_counts_each_word_once_whatever_the_batches():
    outputs = torch.randn(10, 5, 3, generator=torch.Generator().manual_seed(1))
    targets = torch.randint(0, 3, (10, 5), generator=torch.Generator().manual_seed(2))
    targets[:, 0], targets[:7, 3:] = -100, -100
    word = targets != -100
    expected = float((outputs.argmax(-1) == targets)[word].float().mean())
    assert drive_metric(WordAccuracy(), outputs, targets, (4, 4, 2)) == pytest.approx(expected)
    counted = drive_metric(accuracy, outputs, targets, (4, 4, 2))
    assert float(counted) != pytest.approx(expected)  # fastai's counts the padding
