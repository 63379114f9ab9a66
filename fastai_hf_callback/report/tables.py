"""The page's tables: the epochs of a ``Comparison``, metrics and figures of a ``Diagnosis``.

Imports ``words`` and ``series``.
"""
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Tuple

from fastai_hf_callback.comparison.comparison import Comparison, epoch_means
from .curves import Series, series_of
from .wording import number, place_name

__all__ = ["Cell", "Row", "epoch_table", "evidence_rows", "metric_rows"]

MOST_ROWS = 40
MOST_ITEMS = 12


@dataclass(frozen=True)
class Cell:
    """The callback arm's value, and the patched arm's where it differs."""

    text: str
    patched: Optional[str] = None


@dataclass(frozen=True)
class Row:
    """One epoch, or a number of epochs that are left out."""

    place: str
    cells: List[Cell]
    parts_here: bool = False


def epoch_table(comparison: Comparison) -> Tuple[List[str], List[Row], List[str]]:
    """The names of the columns, a row per evaluation and epoch, and the base rates."""
    by_epoch = [_train_loss(comparison), *(s for s in series_of(comparison) if not s.by_step)]
    shown = [series for series in by_epoch if series.places]
    places = sorted({place for series in shown for place in series.places})
    fits = len({fit for fit, _, _ in places if fit >= 0}) > 1
    parting = next((s.places[s.parting] for s in shown if s.parting is not None), None)
    rows = [Row(place_name(place, fits), [_cell(series, place) for series in shown], place == parting)
            for place in places]
    return [s.quantity for s in shown], _shortened(rows), [number(s.base_rate) for s in shown]


def metric_rows(evidence: Any) -> List[List[str]]:
    """Each metric's name, value, base rate, and what stand-ins that are always right or always wrong score."""
    return [[m.name, number(m.value), number(m.base_rate), number(m.at_ideal), number(m.at_worst)]
            for m in evidence.metrics]


def evidence_rows(evidence: Any) -> List[Tuple[str, str]]:
    """Every figure that was seen, by its path."""
    return list(_flat(evidence.to_dict()))


def _flat(value: Any, path: str = "") -> Iterator[Tuple[str, str]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _flat(part, f"{path}.{name}" if path else str(name))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, dict) for item in value):
        for place, item in enumerate(value):
            yield from _flat(item, f"{path}[{place}]")
    elif isinstance(value, (list, tuple)):
        if value:
            more = f", ... ({len(value)} in all)" if len(value) > MOST_ITEMS else ""
            yield path, ", ".join(str(item) for item in value[:MOST_ITEMS]) + more
    elif value is not None:
        yield path, str(value)


def _train_loss(comparison: Comparison) -> Series:
    means = {arm: epoch_means(trace) for arm, trace in comparison.traces.items()}
    places = [(*epoch, -1) for epoch in means["callback"]]
    return Series("train_loss", places, {arm: [values.get(place[:2]) for place in places]
                                         for arm, values in means.items()})


def _cell(series: Series, place: Tuple[int, int, int]) -> Cell:
    if place not in series.places:
        return Cell("-")
    at = series.places.index(place)
    values: Dict[str, Optional[float]] = {arm: found[at] for arm, found in series.arms.items()}
    callback, patched = values["callback"], values.get("patched", values["callback"])
    if repr(callback) == repr(patched):
        return Cell(number(callback))
    return Cell(repr(callback), repr(patched))


def _shortened(rows: List[Row]) -> List[Row]:
    """The first and the last rows, and the one where the arms part."""
    if len(rows) <= MOST_ROWS:
        return rows
    half = MOST_ROWS // 2
    middle = rows[half:-half]
    here = next((i for i, row in enumerate(middle) if row.parts_here), None)
    cut = [middle] if here is None else [middle[:here], [middle[here]], middle[here + 1:]]
    kept = [part[0] if len(part) == 1 else Row(f"... {len(part)} more", []) for part in cut if part]
    return [*rows[:half], *kept, *rows[-half:]]
