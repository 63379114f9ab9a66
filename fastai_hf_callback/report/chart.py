"""An ``ArmSeries`` -> what a template needs to draw it: lines in thousandths, ticks, marks, hover texts.

Long runs are drawn as the lowest and highest value of each column, so no spike is lost; the place of the
first difference is a column of its own.
"""

import math
from dataclasses import dataclass
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from .curves import ArmSeries
from .wording import format_position

__all__ = ["Chart", "Curve", "HoverRegion", "Tick", "build_chart", "split_into_columns", "ticks"]

MAX_COLUMNS = 240  # a phone is not wider, and with a hover text for each the file stays small
MAX_DOTS = 30  # with more points only the line is drawn
MAX_MAGNITUDE = 1e300  # further out, differences of two floats overflow


@dataclass(frozen=True)
class Tick:
    """A text at a place on an axis, in per cent from the left or the bottom."""

    at: float
    text: str


@dataclass(frozen=True)
class Curve:
    """One arm's line as an SVG path over 1000 x 1000, and the same points as dots where there are few."""

    arm: str
    line: str
    dots: str


@dataclass(frozen=True)
class HoverRegion:
    """A part of the width, in per cent, and the text to show there."""

    left: float
    width: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A whole drawing.

    `description` is its text alternative; with `ticks_at_epoch_starts` the x ticks are where epochs begin, without it
    where a value is.
    """

    quantity: str
    description: str
    curves: List[Curve]
    y_ticks: List[Tick]
    x_ticks: List[Tick]
    ticks_at_epoch_starts: bool
    hover_regions: List[HoverRegion]
    base_rate: Optional[Tick]
    difference_at: Optional[Tick]
    non_finite_at: Optional[Tick]

    @property
    def is_dense(self) -> bool:
        """Whether a column stands for more than one value somewhere, so that lines lie side by side."""
        return len(self.hover_regions) >= MAX_COLUMNS // 2


def build_chart(series: ArmSeries) -> Chart:
    """Lay out a series.

    Parameters
    ----------
    series : ArmSeries
        Of any length and with any floats; what is not finite is a gap in the line.
    """
    scale = _Scale(series)
    count = len(series.positions)
    non_finite_at = _find_first_non_finite(series)
    column_ranges = split_into_columns(count, [i for i in (series.difference_at, non_finite_at) if i is not None])
    curves = [Curve(arm, *_build_paths(values, column_ranges, scale)) for arm, values in series.arms.items()]
    base_rates = _find_finite([series.base_rate]).values()
    return Chart(
        series.quantity,
        _describe_series(series),
        curves,
        [Tick(100 * scale(v), t) for v, t in scale.ticks],
        _build_x_ticks(series),
        _has_several_epochs(series),
        [_build_hover_region(series, column, count) for column in column_ranges],
        next((Tick(100 * scale(rate), f"base rate {rate:.6g}") for rate in base_rates), None),
        _build_mark(series.difference_at, count, "first difference"),
        _build_mark(non_finite_at, count, "no longer finite"),
    )


def split_into_columns(count: int, isolated: Sequence[int] = (), limit: int = MAX_COLUMNS) -> List[range]:
    """Split ``range(count)`` into about `limit` pieces of equal size; each of `isolated` is a piece of its own."""
    size = max(1, math.ceil(count / limit))
    cuts = sorted({start for start in [*range(0, count, size), *isolated, *(i + 1 for i in isolated)] if start < count})
    return [range(start, stop) for start, stop in zip(cuts, [*cuts[1:], count])]


def ticks(low: float, high: float, limit: int = 5) -> List[Tuple[float, str]]:
    """Return about `limit` round numbers or fewer between two, and how to write them."""
    step = _choose_step((high - low) / limit)
    if not step or high / step > 1e12 or low / step < -1e12:
        return [(low, f"{low:.6g}"), (high, f"{high:.6g}")] if low < high else [(low, f"{low:.6g}")]
    decimals = max(0, -math.floor(math.log10(step)))
    plain = decimals <= 6 and max(abs(low), abs(high)) < 1e6
    found = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(value, f"{value:.{decimals}f}" if plain else f"{value:.6g}") for value in found]


# -- heights -------------------------------------------------------------------------------------------------------


class _Scale:
    """A map from values to heights between 0 and 1, with a margin."""

    def __init__(self, series: ArmSeries):
        found = [v for values in [*series.arms.values(), [series.base_rate]] for v in _find_finite(values).values()]
        low, high = (_clamp(min(found)), _clamp(max(found))) if found else (0.0, 1.0)
        margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
        self._low, self._span = low - margin, high - low + 2 * margin
        self.ticks = ticks(low, high) if low < high else [(low, f"{low:.6g}")]

    def __call__(self, value: float) -> float:
        return min(1.0, max(0.0, (_clamp(value) - self._low) / self._span)) if self._span else 0.5


def _clamp(value: float) -> float:
    return max(-MAX_MAGNITUDE, min(MAX_MAGNITUDE, value))


def _choose_step(minimum: float) -> float:
    if not 1e-290 < minimum < 1e290:
        return 0.0
    power = 10.0 ** math.floor(math.log10(minimum))
    return next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor >= minimum)


# -- lines ---------------------------------------------------------------------------------------------------------


def _build_paths(values: Sequence[Optional[float]], column_ranges: List[range], scale: _Scale) -> Tuple[str, str]:
    finite = _find_finite(values)
    line, dots, pen_up = [], [], True
    for index in _select_indices(finite, column_ranges):
        if index not in finite:
            pen_up = True
            continue
        at = f"{1000 * (index + 0.5) / len(values):.5g} {1000 * (1 - scale(finite[index])):.4g}"
        line.append(("M" if pen_up else "L") + at)
        dots.append(f"M{at}h0")
        pen_up = False
    return "".join(line), "".join(dots) if len(values) <= MAX_DOTS else ""


def _find_finite(values: Sequence[Optional[float]]) -> Dict[int, float]:
    """Return the finite values by their index."""
    return {index: value for index, value in enumerate(values) if value is not None and math.isfinite(value)}


def _select_indices(finite: Dict[int, float], column_ranges: List[range]) -> Iterator[int]:
    """Yield each column's lowest and highest value, in their order; of a column without finite values, one."""
    for column in column_ranges:
        found = [index for index in column if index in finite]
        if len(found) < 2:
            yield from found or column[:1]
        else:
            yield from sorted({min(found, key=finite.__getitem__), max(found, key=finite.__getitem__)})


# -- places --------------------------------------------------------------------------------------------------------


def _build_mark(index: Optional[int], count: int, text: str) -> Optional[Tick]:
    return None if index is None else Tick(_compute_center(index, count), text)


def _compute_center(index: int, count: int) -> float:
    return 100 * (index + 0.5) / count


def _find_first_non_finite(series: ArmSeries) -> Optional[int]:
    found = (
        index
        for values in series.arms.values()
        for index, value in enumerate(values)
        if value is not None and not math.isfinite(value)
    )
    return min(found, default=None)


def _build_x_ticks(series: ArmSeries) -> List[Tick]:
    positions, count, fits = series.positions, len(series.positions), _has_several_fits(series)
    begins = [i for i in range(count) if i == 0 or positions[i][:2] != positions[i - 1][:2]]
    if series.by_step and not _has_several_epochs(series):
        begins = [int(value) for value, _ in ticks(0, count - 1, 5) if value == int(value)] if count > 1 else [0]
        return [Tick(_compute_center(i, count), f"step {positions[i][2]}") for i in begins]
    every = math.ceil(len(begins) / (3 if fits else 5))
    named = [
        (i, "before" if max(positions[i]) < 0 else format_position((*positions[i][:2], -1), fits))
        for i in begins[::every]
    ]
    return [Tick(100 * i / count if series.by_step else _compute_center(i, count), name) for i, name in named]


def _has_several_epochs(series: ArmSeries) -> bool:
    """Return whether there are steps of several epochs."""
    return series.by_step and len({position[:2] for position in series.positions}) > 1


def _has_several_fits(series: ArmSeries) -> bool:
    return len({fit for fit, _, _ in series.positions if fit >= 0}) > 1


# -- words ---------------------------------------------------------------------------------------------------------


def _build_hover_region(series: ArmSeries, column: range, count: int) -> HoverRegion:
    first, last = series.positions[column[0]], series.positions[column[-1]]
    where = format_position(first) if len(column) == 1 else f"{format_position(first)} to {format_position(last)}"
    by_arm = {
        arm: [v for v in values[column.start : column.stop] if v is not None] for arm, values in series.arms.items()
    }
    exact = len(column) == 1 and "patched" in by_arm and by_arm["callback"] != by_arm["patched"]
    read = [f"{arm} {_format_range(values, exact and arm != 'broken')}" for arm, values in by_arm.items() if values]
    return HoverRegion(100 * column[0] / count, 100 * len(column) / count, "\n".join([where, *read]))


def _format_range(values: List[float], exact: bool) -> str:
    if exact:
        return repr(values[0])
    low, high = f"{min(values):.6g}", f"{max(values):.6g}"
    return low if low == high else f"{low} to {high}"


def _describe_series(series: ArmSeries) -> str:
    parts = []
    for arm, values in series.arms.items():
        there = [value for value in values if value is not None]
        if arm == "patched" and values == series.arms["callback"]:
            parts.append("patched the same")
        elif there:
            parts.append(f"{arm} from {there[0]:.6g} to {there[-1]:.6g}")
    if series.base_rate is not None:
        parts.append(f"base rate {series.base_rate:.6g}")
    if series.difference_at is not None:
        parts.append(f"first difference at {format_position(series.positions[series.difference_at])}")
    return f"{series.quantity} by {'step' if series.by_step else 'epoch'}: {'; '.join(parts)}"
