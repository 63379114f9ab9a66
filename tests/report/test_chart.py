"""How a series is laid out: nothing outside the frame, no spike lost, the first difference always there."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback.report.chart import MAX_COLUMNS, MAX_DOTS, build_chart, split_into_columns, ticks
from fastai_hf_callback.report.curves import ArmSeries, build_gap_series, build_series
from tests.report.example_comparisons import INF, NAN, different, every_comparison, long

VALUES = st.lists(st.none() | st.floats(), min_size=1, max_size=60)


def a_series(callback, per_epoch=4, **kwargs):
    positions = [(0, i // per_epoch, i % per_epoch) for i in range(len(callback))]
    return ArmSeries("loss", positions, {"callback": list(callback)}, **kwargs)


def points(path):
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.e+-]+) ([\d.e+-]+)", path)]


def train_loss(comparison):
    return build_series(comparison)[0]


# -- columns -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 5000), st.lists(st.integers(0, 5000), max_size=3), st.integers(1, 300))
def test_columns_hold_every_place_once_and_marked_ones_alone(count, isolated, limit):
    column_ranges = split_into_columns(count, isolated, limit)
    assert [i for column in column_ranges for i in column] == list(range(count))
    assert all(range(i, i + 1) in column_ranges for i in isolated if i < count)
    assert len(column_ranges) <= limit + 2 * len(isolated)


def test_a_short_run_is_drawn_as_it_is():
    assert split_into_columns(5) == [range(i, i + 1) for i in range(5)] and split_into_columns(0) == []


# -- lines ---------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(VALUES, st.none() | st.floats())
def test_whatever_the_values_everything_lies_in_the_frame(values, base_rate):
    chart = build_chart(a_series(values, base_rate=base_rate))
    drawn = points(chart.curves[0].line)
    assert all(0 <= x <= 1000 and 0 <= y <= 1000 for x, y in drawn)
    assert all(0 <= tick.at <= 100 for tick in chart.y_ticks + chart.x_ticks if tick is not None)
    assert chart.base_rate is None or 0 <= chart.base_rate.at <= 100
    assert len(drawn) == sum(value is not None and math.isfinite(value) for value in values)
    assert math.isclose(sum(strip.width for strip in chart.hover_regions), 100)
    assert 1 <= len(chart.y_ticks) <= 12


def test_the_highest_value_is_drawn_highest_and_where_it_is():
    line = points(build_chart(a_series([1.0, 3.0, 2.0, 0.0])).curves[0].line)
    assert [x for x, _ in line] == [125, 375, 625, 875]
    heights = [1000 - y for _, y in line]
    assert sorted(range(4), key=heights.__getitem__) == [3, 0, 2, 1]
    assert heights[2] - heights[0] == pytest.approx(heights[0] - heights[3], abs=1)


def test_what_is_not_finite_breaks_the_line_and_is_marked_where_it_begins():
    chart = build_chart(a_series([1.0, 2.0, NAN, 3.0, INF, None, 2.0, 1.0]))
    assert chart.curves[0].line.count("M") == 3 and len(points(chart.curves[0].line)) == 5
    assert chart.non_finite_at.text == "no longer finite" and chart.non_finite_at.at == 100 * 2.5 / 8
    assert build_chart(a_series([1.0, 2.0])).non_finite_at is None


def test_an_arm_that_recorded_nothing_somewhere_is_not_lost():
    assert build_chart(a_series([1.0, None, 2.0])).non_finite_at is None


def test_few_points_are_dots_too():
    assert build_chart(a_series([1.0] * MAX_DOTS)).curves[0].dots.count("h0") == MAX_DOTS
    assert build_chart(a_series([1.0] * (MAX_DOTS + 1))).curves[0].dots == ""


# -- long runs -----------------------------------------------------------------------------------------------------


def test_of_ten_thousand_steps_the_first_difference_and_the_spike_are_there():
    chart = build_chart(train_loss(long()))
    assert len(chart.hover_regions) <= MAX_COLUMNS + 2
    here = [strip for strip in chart.hover_regions if "fit 0, epoch 77, step 77\n" in strip.text]
    assert len(here) == 1 and here[0].width == pytest.approx(0.01)
    callback, patched = re.findall(r"(?:callback|patched) (\S+)", here[0].text)
    assert float(callback) - float(patched) == pytest.approx(2**-50, rel=0.2), "to the last bit"
    assert chart.difference_at.at == pytest.approx(77.775)
    for curve in chart.curves[:2]:
        drawn = points(curve.line)
        assert len(drawn) <= 2 * len(chart.hover_regions)
        top = min(drawn, key=lambda point: point[1])
        assert top[0] == pytest.approx(432.15, abs=0.1) and sum(y < 300 for _, y in drawn) == 1


def test_the_gap_of_one_step_in_ten_thousand_is_drawn():
    drawn = points(build_chart(build_gap_series(train_loss(long()))).curves[0].line)
    flat = max(y for _, y in drawn)
    assert [x for x, y in drawn if y < flat] == [pytest.approx(777.75)]


def test_a_column_of_many_steps_tells_from_where_to_where():
    strip = build_chart(train_loss(long())).hover_regions[0]
    assert strip.text.splitlines()[0] == "fit 0, epoch 0, step 0 to fit 0, epoch 0, step 41"
    assert strip.text.splitlines()[1] == "callback 0.960615 to 1"


# -- words ---------------------------------------------------------------------------------------------------------


def test_what_differs_is_told_to_the_last_digit_and_the_rest_in_six():
    hover_regions = build_chart(train_loss(different())).hover_regions
    assert hover_regions[0].text == "fit 0, epoch 0, step 0\ncallback 0.9\npatched 0.9\nbroken 0.9"
    exact = a_series([0.1 + 0.2])
    exact.arms["patched"] = [0.3]
    assert build_chart(exact).hover_regions[0].text.splitlines()[1:] == ["callback 0.30000000000000004", "patched 0.3"]


def test_a_chart_is_described_in_words():
    assert build_chart(train_loss(different())).description == (
        "train_loss by step: callback from 0.9 to 0.3; patched from 0.9 to 0.4; broken from 0.9 to 0.9; first "
        "difference at fit 0, epoch 1, step 1"
    )


@every_comparison
def test_every_chart_is_named_and_described(make):
    for chart in map(build_chart, build_series(make())):
        assert chart.description.startswith(f"{chart.quantity} by ") and chart.hover_regions and chart.x_ticks


# -- ticks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "low, high, said",
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.1, 0.72, ["0.2", "0.4", "0.6"]),
        (0, 100, ["0", "20", "40", "60", "80", "100"]),
        (-3, 3, ["-2", "0", "2"]),
        (0.9545, 0.9549, ["0.9545", "0.9546", "0.9547", "0.9548", "0.9549"]),
        (0, 4e-9, ["0", "1e-09", "2e-09", "3e-09", "4e-09"]),
        (5, 5, ["5"]),
        (0, 1e300, ["0", "1e+300"]),
    ],
)
def test_ticks_are_round_numbers(low, high, said):
    assert [text for _, text in ticks(low, high)] == said


def test_ticks_of_two_neighbouring_floats_do_not_run_away():
    assert len(ticks(1e16, 1e16 + 2)) == 2


@pytest.mark.parametrize(
    "positions, said, begins",
    [
        ([(0, 0, i) for i in range(11)], ["step 0", "step 2", "step 4", "step 6", "step 8", "step 10"], False),
        ([(0, i // 3, i % 3) for i in range(9)], ["epoch 0", "epoch 1", "epoch 2"], True),
        ([(i // 4, i // 2 % 2, i % 2) for i in range(8)], ["fit 0, epoch 0", "fit 1, epoch 0"], True),
        ([(-1, -1, -1), (0, 0, -1), (0, 1, -1)], ["before", "epoch 0", "epoch 1"], False),
        ([(0, 0, 0)], ["step 0"], False),
    ],
)
def test_times_are_named_as_a_difference_names_them(positions, said, begins):
    chart = build_chart(ArmSeries("loss", positions, {"callback": [float(i) for i in range(len(positions))]}))
    assert [tick.text for tick in chart.x_ticks] == said and chart.ticks_at_epoch_starts is begins
