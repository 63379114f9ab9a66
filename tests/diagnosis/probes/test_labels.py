"""probe_labels: targets against one another, against their order and against the words."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from fastai_hf_callback.diagnosis.probes.labels import (
    SampledRows,
    _predict_with_ridge,
    _roc_auc,
    _score_predictions,
    probe_labels,
)

WORDS = 25


def texts(rows, seed=0, length=8):
    return list(np.random.RandomState(seed).randint(5, WORDS, (rows, length)))


def told(ids, kind):
    """Targets that one word tells."""
    first = np.array([row[0] for row in ids])
    if kind == "classes":
        return (first % 3).astype(np.int64)
    if kind == "labels":
        return np.stack([first % 2 == 0, first % 3 == 0], 1).astype(np.float64)
    return first.astype(np.float64)[:, None] / WORDS


def shuffled(targets, seed=7):
    return targets[np.random.RandomState(seed).permutation(len(targets))]


def look(train_targets, train_ids=None, valid=None, batches=(), **kwargs):
    return probe_labels(SampledRows(train_ids, train_targets), valid, batches, **kwargs)


KINDS = pytest.mark.parametrize("kind", ["classes", "labels", "number"])


def above(area, error):
    return (area - 0.5) / error


# -- signal --------------------------------------------------------------------------------------------------------


@KINDS
def test_words_that_tell_the_labels_are_found_on_both_sides(kind):
    ids, other = texts(300), texts(200, 1)
    seen = look(told(ids, kind), ids, SampledRows(other, told(other, kind)))
    assert seen.kind == kind and (seen.train_rows, seen.valid_rows) == (300, 200)
    assert above(seen.signal_within_train, seen.error_within_train) > 3
    assert above(seen.signal_within_valid, seen.error_within_valid) > 3
    assert above(seen.signal_together, seen.error_together) > 3


def test_classes_exchanged_in_one_of_the_sets_are_found_where_the_mean_area_hides_them():
    ids, other = texts(900), texts(600, 1)
    right = told(other, "classes")
    exchanged = np.array([1, 0, 2])[right]
    good, bad = (look(told(ids, "classes"), ids, SampledRows(other, labels)) for labels in (right, exchanged))
    assert good.worst_column is None and good.worst_column_z == 0
    assert bad.worst_column in (0, 1) and bad.worst_column_z < -3 and bad.worst_column_auc < 0.45


@KINDS
@pytest.mark.parametrize("seed", range(3))
def test_labels_beside_other_texts_have_no_signal(kind, seed):
    ids, other = texts(300, 2 * seed), texts(200, 2 * seed + 1)
    seen = look(shuffled(told(ids, kind)), ids, SampledRows(other, shuffled(told(other, kind))))
    assert above(seen.signal_within_train, seen.error_within_train) < 3.5
    assert above(seen.signal_together, seen.error_together) < 3.5


@KINDS
def test_training_labels_alone_beside_other_texts(kind):
    ids, other = texts(300), texts(300, 1)
    seen = look(shuffled(told(ids, kind)), ids, SampledRows(other, told(other, kind)))
    assert above(seen.signal_within_valid, seen.error_within_valid) > 3
    assert above(seen.signal_within_train, seen.error_within_train) < 3.5


def test_too_few_rows_no_ids_or_constant_targets_have_no_signal():
    few, ids = texts(63), texts(64)
    assert look(told(few, "classes"), few).signal_within_train is None
    assert look(told(ids, "classes"), ids).signal_within_train is not None
    assert look(told(ids, "classes")).signal_within_train is None
    assert look(np.zeros(64, np.int64), ids).signal_within_train is None


def test_without_validation_ids_the_whole_is_the_training_rows():
    ids = texts(100)
    seen = look(told(ids, "classes"), ids, SampledRows(None, told(ids, "classes")))
    assert seen.signal_together == seen.signal_within_train and seen.signal_within_valid is None


def test_words_to_skip_tell_nothing():
    ids = texts(300)
    targets = np.array([7 in row for row in ids]).astype(np.int64)
    all_words, without = look(targets, ids), look(targets, ids, skip_ids=[7])
    assert above(all_words.signal_within_train, all_words.error_within_train) > 3
    assert without.signal_within_train < all_words.signal_within_train - 0.1, "how many others there are still tells"


def test_a_class_that_only_one_side_has():
    ids, other = texts(100), texts(100, 1)
    targets = told(other, "classes")
    targets[0] = 5
    seen = look(told(ids, "classes"), ids, SampledRows(other, targets))
    assert seen.signal_within_valid is None and seen.signal_within_train is not None


def test_the_same_number_beside_different_texts_is_a_tie_and_a_column_of_one_number_tells_nothing():
    scores = np.array([[0.1], [0.2], [0.3], [0.4]])
    assert _score_predictions(scores, np.array([[1.0], [1.0], [2.0], [2.0]]), "number")[0] == pytest.approx(
        0.947, abs=1e-3
    )
    assert _score_predictions(scores, np.array([[2.0], [2.0], [1.0], [1.0]]), "number")[0] == pytest.approx(
        0.053, abs=1e-3
    )
    assert _score_predictions(scores, np.ones((4, 1)), "number")[0] == 0.5
    assert _score_predictions(np.ones((4, 1)), scores, "number")[0] == 0.5


def test_empty_texts_are_texts():
    ids = texts(100)
    ids[3] = np.array([], dtype=np.int64)
    assert look(np.arange(100) % 2, ids).signal_within_train is not None


# -- kinds, constants and shares -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "targets, kind",
    [
        (np.array([0, 1, 2]), "classes"),
        (np.array([True, False]), "classes"),
        (np.array([[0.0, 1.0]]), "labels"),
        (np.array([0.5, 1.0]), "number"),
        (np.array([[0.5], [1.0]]), "number"),
        (np.zeros((2, 3, 4)), None),
    ],
)
def test_the_kind(targets, kind):
    seen = look(targets)
    assert (seen and seen.kind) == kind


@KINDS
def test_constant_targets_and_the_nearest_that_are_not(kind):
    same = np.zeros(20, np.int64) if kind == "classes" else np.full((20, 2), 0.0 if kind == "labels" else 0.5)
    other = same.copy()
    other[7] = 1
    seen = look(other, valid=SampledRows(None, same))
    assert not seen.train_constant and seen.valid_constant
    assert look(same).train_constant and not look(same, valid=SampledRows(None, other)).valid_constant


def test_shares():
    assert look(np.array([0, 0, 2, -100])).train_shares == pytest.approx([2 / 3, 0, 1 / 3])
    assert look(np.array([[0.0, 1.0], [1.0, 1.0]])).train_shares == [0.5, 1.0]


def test_an_empty_validation_set_says_nothing():
    seen = look(np.array([0, 1]), valid=SampledRows(None, np.array([], dtype=np.int64)))
    assert seen.valid_rows == 0 and not seen.valid_constant


# Once: float targets with gaps (NaN, a common way to write "no label") raise ValueError in the ridge regression.
def test_targets_with_gaps_break_nothing():
    ids = texts(100)
    targets = told(ids, "number")
    targets[3] = np.nan
    assert look(targets, ids).kind == "number"


# -- order ---------------------------------------------------------------------------------------------------------


def batches_of(targets, size=16):
    return list(torch.tensor(targets).split(size))


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_sorted_targets_are_far_from_chance_and_shuffled_ones_are_not(kind):
    targets = np.repeat([0, 1], 64)
    if kind == "labels":
        targets = targets[:, None].astype(np.float64)
    assert look(targets, batches=batches_of(targets)).order_z < -5
    assert abs(look(targets, batches=batches_of(shuffled(targets))).order_z) < 4


def test_classes_by_turns_change_more_often_than_by_chance():
    targets = np.arange(64) % 2
    assert look(targets, batches=batches_of(targets)).order_z > 5


@pytest.mark.parametrize(
    "targets",
    [np.arange(15) % 2, np.zeros(64, np.int64), np.random.RandomState(0).rand(64)],
    ids=["too few", "constant", "numbers"],
)
def test_where_no_order_can_be_told(targets):
    assert look(targets, batches=batches_of(targets)).order_z is None


def test_targets_and_ids_are_left_as_they_were():
    ids = texts(100)
    targets = told(ids, "number")
    before = targets.copy(), [row.copy() for row in ids]
    look(targets, ids, SampledRows(ids, targets))
    assert (targets == before[0]).all() and all((a == b).all() for a, b in zip(ids, before[1]))


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 60), st.integers(2, 90), st.integers(1, 3), st.integers(0, 10_000))
def test_ridge_and_area_are_scikit_learns(rows, words, columns, seed):
    draw = np.random.default_rng(seed)
    x = draw.integers(0, 2, (rows, words)).astype(np.float32)
    y = draw.integers(0, 2, (rows, columns)).astype(np.float64)
    fitted = Ridge(alpha=max(1.0, float((x**2).sum(1).mean()))).fit(x, y)
    np.testing.assert_allclose(_predict_with_ridge(x, y, x[:5]), fitted.predict(x[:5]).reshape(5, -1), atol=1e-4)

    scores = draw.integers(0, 9, rows) / 8  # ties among them
    yes = y[:, 0] > 0
    if 0 < yes.sum() < rows:
        assert _roc_auc(yes, scores) == pytest.approx(roc_auc_score(yes, scores), abs=1e-12)
