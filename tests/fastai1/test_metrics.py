from functools import partial

import numpy as np
import pytest
import torch

pytest.importorskip("fastai.basic_train")

from fastai.callback import CallbackHandler
from fastai.metrics import accuracy, accuracy_thresh

from fastai_hf_callback import ColumnwiseAUC, ConstantBaseline, WordAccuracy
from fastai_hf_callback import accuracy_thresh as our_accuracy_thresh
from fastai_hf_callback.fastai1.metrics import score_constant
from fastai_hf_callback.model.metrics import mean_columnwise_auc
from tests.fastai1.learners import make_learner

OUTPUTS = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0]] * 2)


def run(metric, sizes=(4, 4, 2)):
    """The metric over batches of different size, as fastai's loop drives it."""
    return drive(metric, OUTPUTS, TARGETS, sizes)


def drive(metric, outputs, targets, sizes):
    handler = CallbackHandler([], [metric])
    handler.on_train_begin(1, None, [metric])
    handler.on_epoch_begin()
    for output, target in zip(outputs.split(sizes), targets.split(sizes)):
        handler.on_batch_begin(None, target, train=False)
        handler.on_loss_begin(output)
        handler.on_batch_end(torch.zeros(()))
    handler.on_epoch_end(0.0)
    return handler.state_dict["last_metrics"][1]


@pytest.mark.parametrize("sizes", ((10,), (4, 4, 2), (1,) * 10))
def test_auc_is_over_the_whole_set_whatever_the_batches(sizes):
    assert run(ColumnwiseAUC(), sizes) == mean_columnwise_auc(OUTPUTS, TARGETS)


def test_the_mean_of_batch_aucs_would_be_another_number():
    batches = [mean_columnwise_auc(o, t) for o, t in zip(OUTPUTS.split(5), TARGETS.split(5))]
    assert np.mean(batches) != mean_columnwise_auc(OUTPUTS, TARGETS)


def test_the_base_rate_of_accuracy_thresh_is_the_share_of_zeros():
    metric = partial(accuracy_thresh, thresh=0.45)
    assert run(ConstantBaseline(metric)) == pytest.approx(float((TARGETS == 0).float().mean()))
    assert ConstantBaseline(metric).name == "base_accuracy_thresh"
    assert run(metric) != run(ConstantBaseline(metric))


def test_the_base_rate_stands_in_fastais_own_table():
    learn = make_learner("bert")
    learn.metrics = [accuracy, ConstantBaseline(accuracy)]
    learn.fit(2, 1e-3)
    assert learn.recorder.metrics_names == ["accuracy", "base_accuracy"]
    rates = {float(metrics[1]) for metrics in learn.recorder.metrics}
    counts = torch.bincount(learn.data.valid_ds.tensors[-1])
    assert len(rates) == 1 and rates.pop() == pytest.approx(float(counts.max()) / int(counts.sum()))


def test_a_constant_scores_half_an_auc():
    assert score_constant(torch.zeros(3), [OUTPUTS], [TARGETS], [ColumnwiseAUC()]) == [0.5]


def test_accuracy_thresh_is_right_with_batches_of_different_size():
    expected = float(our_accuracy_thresh(OUTPUTS, TARGETS))
    assert float(run(our_accuracy_thresh, (4, 4, 2))) == pytest.approx(expected)
    batches = [float(our_accuracy_thresh(o, t)) for o, t in zip(OUTPUTS.split((4, 4, 2)), TARGETS.split((4, 4, 2)))]
    assert np.mean(batches) != pytest.approx(expected)  # what a mean over batches would say


def test_word_accuracy_counts_each_word_once_whatever_the_batches():
    outputs = torch.randn(10, 5, 3, generator=torch.Generator().manual_seed(1))
    targets = torch.randint(0, 3, (10, 5), generator=torch.Generator().manual_seed(2))
    targets[:, 0], targets[:7, 3:] = -100, -100
    word = targets != -100
    expected = float((outputs.argmax(-1) == targets)[word].float().mean())
    assert drive(WordAccuracy(), outputs, targets, (4, 4, 2)) == pytest.approx(expected)
    assert drive(accuracy, outputs, targets, (4, 4, 2)) != pytest.approx(expected)  # fastai's counts the padding
