"""mean_columnwise_auc and compute_constant_output, against the definitions spelled out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fastai_hf_callback import InvalidInputError
from fastai_hf_callback.model.metrics import (
    accuracy_thresh,
    build_single_class_outputs,
    compute_constant_output,
    mean_columnwise_auc,
)

pytest.importorskip("sklearn")
quick = settings(deadline=None, max_examples=40)


# -- AUC -------------------------------------------------------------------------------------------


def auc_by_counting(scores, targets):
    """How often a positive scores above a negative; ties count half."""
    pairs = [
        (p > n) + 0.5 * (p == n)
        for p, hit in zip(scores, targets)
        if hit
        for n, miss in zip(scores, targets)
        if not miss
    ]
    return sum(pairs) / len(pairs)


@quick
@given(
    st.integers(2, 12).flatmap(
        lambda n: st.lists(
            st.tuples(
                st.lists(st.integers(-3, 3), min_size=n, max_size=n), st.lists(st.booleans(), min_size=n, max_size=n)
            ),
            min_size=1,
            max_size=3,
        )
    )
)
def test_auc_is_the_mean_over_columns_of_pairs_in_the_right_order(columns):
    outputs = torch.tensor([scores for scores, _ in columns]).float().t()
    targets = torch.tensor([hits for _, hits in columns]).float().t()
    expected = [auc_by_counting(*column) for column in columns if 0 < sum(column[1]) < len(column[1])]
    value = mean_columnwise_auc(outputs, targets)
    assert math.isnan(value) if not expected else value == pytest.approx(sum(expected) / len(expected))


def test_only_the_order_counts():
    outputs, targets = torch.randn(20, 3), (torch.arange(60).reshape(20, 3) % 4 == 0).float()
    assert mean_columnwise_auc(outputs, targets) == mean_columnwise_auc(outputs.sigmoid() * 7, targets)


def test_a_constant_predictor_scores_one_half_and_an_inverted_one_the_rest():
    targets = (torch.arange(20).reshape(10, 2) % 3 == 0).float()
    outputs = targets + torch.randn(10, 2)
    assert mean_columnwise_auc(torch.zeros(10, 2), targets) == 0.5
    assert mean_columnwise_auc(outputs, targets) + mean_columnwise_auc(-outputs, targets) == pytest.approx(1)


@pytest.mark.parametrize("spoil", [math.nan, math.inf])
def test_outputs_that_are_not_finite_have_no_auc(spoil):
    assert math.isnan(mean_columnwise_auc(torch.tensor([[spoil], [1.0]]), torch.tensor([[1], [0]])))


def test_of_classes_each_is_scored_against_the_rest():
    outputs, classes = torch.randn(30, 3), torch.arange(30) % 3
    expected = mean_columnwise_auc(outputs.softmax(-1), nn.functional.one_hot(classes, 3))
    assert mean_columnwise_auc(outputs, classes) == expected
    shifted = outputs + torch.randn(30, 1)  # of each row by itself, which says nothing
    assert mean_columnwise_auc(shifted, classes) == pytest.approx(expected)
    assert mean_columnwise_auc(nn.functional.one_hot(classes, 3).float(), classes) == 1
    assert mean_columnwise_auc(torch.zeros(30, 3), classes) == 0.5


def test_rows_without_a_class_do_not_count():
    outputs, classes = torch.randn(12, 3), torch.arange(12) % 3
    with_some_more = torch.cat([classes, torch.full((5,), -100, dtype=torch.long)])
    assert mean_columnwise_auc(torch.cat([outputs, torch.randn(5, 3)]), with_some_more) == mean_columnwise_auc(
        outputs, classes
    )


def test_gradients_halves_and_integer_targets_will_do():
    outputs = torch.tensor([[0.1], [0.9], [0.4]], requires_grad=True)
    assert mean_columnwise_auc(outputs, torch.tensor([[0], [1], [0]])) == 1
    assert mean_columnwise_auc(outputs.half(), torch.tensor([[False], [True], [True]])) == 1


# -- the constant predictor ------------------------------------------------------------------------

BITS = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 0]])


def test_of_classes_it_is_the_log_frequencies():
    row = compute_constant_output(torch.tensor([0, 1, 1, 1]), 3)
    assert row.exp().tolist() == pytest.approx([0.25, 0.75, 0], abs=1e-5)
    assert torch.equal(compute_constant_output(torch.tensor([[0], [1], [1], [1]]), 3), row)


def test_of_classes_the_ignored_positions_do_not_count():
    row = compute_constant_output(torch.tensor([0, 1, 1, -100, -100, -100]), 2)
    assert row.exp().tolist() == pytest.approx([1 / 3, 2 / 3])


def test_of_bits_it_is_the_log_odds():
    assert compute_constant_output(BITS, 2).sigmoid().tolist() == pytest.approx([0.75, 0], abs=1e-5)
    assert torch.equal(compute_constant_output(BITS.long(), 2), compute_constant_output(BITS, 2))


def test_of_numbers_it_is_the_mean():
    assert compute_constant_output(torch.tensor([1.0, 2, 6]), 1).tolist() == [3]
    assert compute_constant_output(torch.tensor([[1.0, 0], [3, 5]]), 2).tolist() == [2, 2.5]
    assert compute_constant_output(torch.tensor([1.0, 2, 3, 6]), 2).tolist() == [3, 3], "one number a row is no matrix"


@pytest.mark.parametrize(
    "targets, width",
    [(torch.tensor([0, 2, 1, 2]), 3), (BITS, 2), (torch.tensor([1.0, 2, 6]), 1), (torch.tensor([1.0, 0, 1]), 1)],
    ids=["classes", "bits", "numbers", "one"],
)
def test_it_is_one_row_of_float32_and_the_targets_stay(targets, width):
    before = targets.clone()
    row = compute_constant_output(targets, width)
    assert row.dtype == torch.float32 and row.shape == (width,)
    assert torch.equal(targets, before)


@pytest.mark.parametrize(
    "loss, expected",
    [
        (nn.BCEWithLogitsLoss(), math.log(3)),
        (nn.MSELoss(), 0.75),
        (nn.BCELoss(), 0.75),
        (lambda output, target: 1 / 0, math.log(3)),
    ],
    ids=["logits", "numbers", "probabilities", "a loss that fails"],
)
def test_the_loss_chooses_between_odds_and_means(loss, expected):
    assert compute_constant_output(BITS[:, 0], 1, loss).tolist() == [pytest.approx(expected)]
    assert compute_constant_output(BITS[:, :1], 1, loss).tolist() == [pytest.approx(expected)]


@quick
@given(st.lists(st.integers(0, 2), min_size=3, max_size=12), st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_no_other_constant_has_a_lower_cross_entropy(classes, shift):
    targets = torch.tensor(classes)
    best = compute_constant_output(targets, 3, nn.CrossEntropyLoss())
    other = best + torch.tensor(shift)
    losses = [float(nn.CrossEntropyLoss()(row.expand(len(classes), 3), targets)) for row in (best, other)]
    assert losses[0] <= losses[1] + 1e-5


# -- the article's metric -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", (torch.bool, torch.uint8, torch.int64, torch.float16, torch.float32, torch.float64))
def test_accuracy_thresh_takes_targets_of_every_dtype(dtype):
    outputs = torch.tensor([[2.0, -2.0, 0.1], [-1.0, 1.0, -0.1]])
    targets = torch.tensor([[1, 0, 0], [1, 1, 0]])
    assert float(accuracy_thresh(outputs, targets.to(dtype))) == pytest.approx(4 / 6)


def test_accuracy_thresh_is_read_at_its_threshold_and_of_probabilities_too():
    outputs, targets = torch.tensor([[-1.0, -2.0]]), torch.tensor([[1.0, 0.0]])  # probabilities .269 and .119
    assert float(accuracy_thresh(outputs, targets, thresh=0.25)) == 1
    assert float(accuracy_thresh(outputs, targets)) == 0.5
    assert float(accuracy_thresh(outputs.sigmoid(), targets, thresh=0.25, sigmoid=False)) == 1
    assert float(accuracy_thresh(outputs, targets, thresh=0.25, sigmoid=False)) == 0.5


@pytest.mark.parametrize(
    "metric, targets", [(accuracy_thresh, torch.zeros(4).long()), (mean_columnwise_auc, torch.zeros(4))]
)
def test_one_target_per_text_is_no_matter_for_metrics_of_columns(metric, targets):
    with pytest.raises(InvalidInputError, match=r"was given outputs \(4, 2\) and targets \(4,\); expected both"):
        metric(torch.zeros(4, 2), targets)


def test_a_predictor_that_never_says_yes_scores_the_share_of_zeros():
    targets = torch.zeros(50, 6)
    targets[:3, 0] = 1
    assert float(accuracy_thresh(torch.full((50, 6), -9.0), targets)) == pytest.approx(297 / 300)


def test_single_answers_are_a_class_each_or_all_labels_off_and_on_and_none_for_numbers():
    rows = build_single_class_outputs(torch.tensor([2, 0, 2, -100]), 3)
    assert [int(row.argmax()) for row in rows] == [2, 0]
    off, on = build_single_class_outputs(torch.tensor([[0.0, 1.0], [0.0, 0.0]]), 2)
    assert bool((off < 0).all()) and bool((on > 0).all())
    assert build_single_class_outputs(torch.tensor([[0.3], [1.5]]), 1) == []
    assert len(build_single_class_outputs(torch.arange(50), 50)) == 20
