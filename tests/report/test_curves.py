"""A comparison's curves: what is drawn, on which places, and where the arms part."""

from dataclasses import replace

from fastai_hf_callback.comparison.comparison import build_comparison
from fastai_hf_callback.report.curves import ArmSeries, build_gap_series, build_series
from tests.report.example_comparisons import (
    INF,
    NAN,
    alone,
    different,
    long,
    metric_at_base_rate,
    moved,
    parted_after_the_run,
)
from tests.tiny_models import make_broken_trace, make_trace


def by_name(comparison):
    return {series.quantity: series for series in build_series(comparison)}


def test_steps_come_first_then_evaluations_with_their_base_rates():
    found = by_name(moved())
    assert list(found) == ["train_loss", "gradient norm", "valid_loss", "accuracy"]
    assert found["train_loss"].by_step and not found["accuracy"].by_step
    assert found["train_loss"].arms["callback"] == [0.9, 0.7, 0.5, 0.3]
    assert found["train_loss"].positions == [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)]
    assert found["accuracy"].positions == [(-1, -1, -1), (0, 0, -1), (0, 1, -1)]
    assert found["accuracy"].arms["broken"] == [0.5, 0.5, 0.5] and found["accuracy"].base_rate == 0.52


def test_the_first_difference_is_marked_at_its_step_and_named_where_it_is():
    found = by_name(different())
    assert found["train_loss"].difference_at == 3 and found["train_loss"].differs_here
    assert found["gradient norm"].difference_at == 3 and not found["gradient norm"].differs_here
    assert found["valid_loss"].difference_at is None
    assert by_name(long())["train_loss"].difference_at == 7_777


def test_equal_arms_and_what_parts_after_the_run_mark_nothing():
    for comparison in (moved(), metric_at_base_rate(), parted_after_the_run(), alone()):
        assert all(series.difference_at is None for series in build_series(comparison))


def test_a_learning_rate_is_drawn_where_it_is_what_differs():
    assert not any("learning rate" in name for name in by_name(different()))
    patched = make_trace("patched")
    patched = replace(patched, steps=[replace(step, lrs=(1e-3, 5e-4)) for step in patched.steps])
    found = by_name(build_comparison([make_trace("callback"), patched, make_broken_trace()]))[
        "learning rate of group 1"
    ]
    assert found.differs_here and found.difference_at == 0
    assert found.arms["callback"] == [1e-4] * 4 and found.arms["patched"] == [5e-4] * 4


def test_arms_of_different_length_stand_on_the_same_places():
    shorter = make_trace("patched")
    shorter = replace(shorter, steps=shorter.steps[:-1])
    found = by_name(build_comparison([make_trace("callback"), shorter]))["train_loss"]
    assert found.arms["patched"] == [0.9, 0.7, 0.5, None] and len(found.arms["callback"]) == 4


def test_the_gap_is_what_is_left_between_the_arms():
    apart = build_gap_series(by_name(different())["train_loss"])
    assert apart.arms["difference"][:3] == [0.0, 0.0, 0.0] and apart.arms["difference"][3] == 0.3 - 0.4
    assert apart.difference_at == 3 and apart.quantity == "train_loss: callback - patched"


def test_there_is_no_gap_between_equal_arms_not_even_where_they_are_not_finite():
    assert (
        build_gap_series(by_name(moved())["train_loss"]) is None
        and build_gap_series(by_name(alone())["train_loss"]) is None
    )
    assert (
        build_gap_series(ArmSeries("loss", [(0, 0, 0)] * 3, {"callback": [NAN, INF, None], "patched": [NAN, INF, 1.0]}))
        is None
    )
    assert build_gap_series(ArmSeries("loss", [(0, 0, 0)], {"callback": [NAN], "patched": [1.0]})) is not None
