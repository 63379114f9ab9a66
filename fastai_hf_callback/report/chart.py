"""A ``Series`` -> what a template needs to draw it: lines in thousandths, ticks, marks, hover texts.

Imports ``series`` and ``words``.

Long runs are drawn as the lowest and highest value of each column, so no spike is lost; the place of the
first difference is a column of its own.
"""
import math
from dataclasses import dataclass
from typing import Iterator, List, Optional, Sequence, Tuple

from .curves import Series
from .wording import place_name

__all__ = ["Chart", "Curve", "Strip", "Tick", "chart_of", "columns", "ticks"]

COLUMNS = 240  # a phone is no wider, and a hover text for each stays a small file
DOTS = 30  # of more points only the line is drawn
EXTREME = 1e300  # further out, differences of two floats overflow


@dataclass(frozen=True)
class Tick:
    """A text at a place on an axis, in per cent from the left or from below."""

    at: float
    text: str


@dataclass(frozen=True)
class Curve:
    """One arm's line as an SVG path over 1000 x 1000, and the same points as dots where there are few."""

    arm: str
    line: str
    dots: str


@dataclass(frozen=True)
class Strip:
    """A part of the width, in per cent, and what is to be read there."""

    left: float
    width: float
    text: str


@dataclass(frozen=True)
class Chart:
    """All of a drawing.

    `described` says it in words; with `epochs_begin` the times are where epochs begin, without where a value stands.
    """

    quantity: str
    described: str
    curves: List[Curve]
    levels: List[Tick]
    times: List[Tick]
    epochs_begin: bool
    strips: List[Strip]
    base_rate: Optional[Tick]
    parting: Optional[Tick]
    lost: Optional[Tick]

    @property
    def dense(self) -> bool:
        """Whether a column stands for more than one value somewhere, so that lines lie side by side."""
        return len(self.strips) >= COLUMNS // 2


def chart_of(series: Series) -> Chart:
    """Lay a series out.

    Parameters
    ----------
    series : Series
        Of any length and with any floats; what is not finite is a gap in the line.
    """
    scale = _Scale(series)
    count = len(series.places)
    lost = _first_lost(series)
    cut = columns(count, [i for i in (series.parting, lost) if i is not None])
    curves = [Curve(arm, *_paths(values, cut, scale)) for arm, values in series.arms.items()]
    base = None if series.base_rate is None or not math.isfinite(series.base_rate) else \
        Tick(100 * scale(series.base_rate), f"base rate {series.base_rate:.6g}")
    return Chart(series.quantity, _described(series), curves, [Tick(100 * scale(v), t) for v, t in scale.ticks],
                 _times(series), _has_epochs(series), [_strip(series, column, count) for column in cut], base,
                 _mark(series.parting, count, "first difference"), _mark(lost, count, "no longer finite"))


def columns(count: int, own: Sequence[int] = (), most: int = COLUMNS) -> List[range]:
    """Cut ``range(count)`` into about `most` pieces of one size; each of `own` is a piece of its own."""
    size = max(1, math.ceil(count / most))
    cuts = sorted({start for start in [*range(0, count, size), *own, *(i + 1 for i in own)] if start < count})
    return [range(start, stop) for start, stop in zip(cuts, [*cuts[1:], count])]


def ticks(low: float, high: float, most: int = 5) -> List[Tuple[float, str]]:
    """Up to about `most` round numbers between two, and how to write them."""
    step = _round_step((high - low) / most)
    if not step or high / step > 1e12 or low / step < -1e12:
        return [(low, f"{low:.6g}"), (high, f"{high:.6g}")] if low < high else [(low, f"{low:.6g}")]
    decimals = max(0, -math.floor(math.log10(step)))
    plain = decimals <= 6 and max(abs(low), abs(high)) < 1e6
    found = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(value, f"{value:.{decimals}f}" if plain else f"{value:.6g}") for value in found]


# -- heights -------------------------------------------------------------------------------------------------------


class _Scale:
    """Values to heights between 0 and 1, with a margin."""

    def __init__(self, series: Series):
        found = [v for values in series.arms.values() for v in values if v is not None and math.isfinite(v)]
        found += [series.base_rate] if series.base_rate is not None and math.isfinite(series.base_rate) else []
        low, high = (_held(min(found)), _held(max(found))) if found else (0.0, 1.0)
        margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
        self._low, self._span = low - margin, high - low + 2 * margin
        self.ticks = ticks(low, high) if low < high else [(low, f"{low:.6g}")]

    def __call__(self, value: float) -> float:
        return min(1.0, max(0.0, (_held(value) - self._low) / self._span)) if self._span else 0.5


def _held(value: float) -> float:
    return max(-EXTREME, min(EXTREME, value))


def _round_step(least: float) -> float:
    if not 1e-290 < least < 1e290:
        return 0.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor >= least)


# -- lines ---------------------------------------------------------------------------------------------------------


def _paths(values: Sequence[Optional[float]], cut: List[range], scale: _Scale) -> Tuple[str, str]:
    line, dots, resting = [], [], True
    for index in _shown(values, cut):
        value = values[index]
        if value is None or not math.isfinite(value):
            resting = True
            continue
        at = f"{1000 * (index + 0.5) / len(values):.5g} {1000 * (1 - scale(value)):.4g}"
        line.append(("M" if resting else "L") + at)
        dots.append(f"M{at}h0")
        resting = False
    return "".join(line), "".join(dots) if len(values) <= DOTS else ""


def _shown(values: Sequence[Optional[float]], cut: List[range]) -> Iterator[int]:
    """Of each column the lowest and the highest value, in their order; of what is nowhere finite, one."""
    for column in cut:
        finite = [i for i in column if values[i] is not None and math.isfinite(values[i])]
        if len(finite) < 2:
            yield from finite or column[:1]
        else:
            lowest, highest = min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)
            yield from sorted({lowest, highest})


# -- places --------------------------------------------------------------------------------------------------------


def _mark(index: Optional[int], count: int, text: str) -> Optional[Tick]:
    return None if index is None else Tick(_middle(index, count), text)


def _middle(index: int, count: int) -> float:
    return 100 * (index + 0.5) / count


def _first_lost(series: Series) -> Optional[int]:
    found = (index for values in series.arms.values() for index, value in enumerate(values)
             if value is not None and not math.isfinite(value))
    return min(found, default=None)


def _times(series: Series) -> List[Tick]:
    places, count, fits = series.places, len(series.places), _has_fits(series)
    begins = [i for i in range(count) if i == 0 or places[i][:2] != places[i - 1][:2]]
    if series.by_step and not _has_epochs(series):
        begins = [int(value) for value, _ in ticks(0, count - 1, 5) if value == int(value)] if count > 1 else [0]
        return [Tick(_middle(i, count), f"step {places[i][2]}") for i in begins]
    every = math.ceil(len(begins) / (3 if fits else 5))
    named = [(i, "before" if max(places[i]) < 0 else place_name((*places[i][:2], -1), fits)) for i in begins[::every]]
    return [Tick(100 * i / count if series.by_step else _middle(i, count), name) for i, name in named]


def _has_epochs(series: Series) -> bool:
    """Whether there are steps of several epochs."""
    return series.by_step and len({place[:2] for place in series.places}) > 1


def _has_fits(series: Series) -> bool:
    return len({fit for fit, _, _ in series.places if fit >= 0}) > 1


# -- words ---------------------------------------------------------------------------------------------------------


def _strip(series: Series, column: range, count: int) -> Strip:
    first, last = series.places[column[0]], series.places[column[-1]]
    where = place_name(first) if len(column) == 1 else f"{place_name(first)} to {place_name(last)}"
    told = {arm: [values[i] for i in column if values[i] is not None] for arm, values in series.arms.items()}
    exact = len(column) == 1 and told.get("callback") != told.get("patched", told.get("callback"))
    read = [f"{arm} {_range(values, exact and arm != 'broken')}" for arm, values in told.items() if values]
    return Strip(100 * column[0] / count, 100 * len(column) / count, "\n".join([where, *read]))


def _range(values: List[float], exact: bool) -> str:
    if exact:
        return repr(values[0])
    low, high = f"{min(values):.6g}", f"{max(values):.6g}"
    return low if low == high else f"{low} to {high}"


def _described(series: Series) -> str:
    parts = []
    for arm, values in series.arms.items():
        there = [value for value in values if value is not None]
        if arm == "patched" and values == series.arms["callback"]:
            parts.append("patched the same")
        elif there:
            parts.append(f"{arm} from {there[0]:.6g} to {there[-1]:.6g}")
    if series.base_rate is not None:
        parts.append(f"base rate {series.base_rate:.6g}")
    if series.parting is not None:
        parts.append(f"first difference at {place_name(series.places[series.parting])}")
    return f"{series.quantity} by {'step' if series.by_step else 'epoch'}: {'; '.join(parts)}"
