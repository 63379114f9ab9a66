"""The page's tables: the epochs of a comparison, metrics and figures of a diagnosis."""

from dataclasses import dataclass
from typing import Any, Iterator, List, Optional, Tuple

from fastai_hf_callback.results.comparison import ComparisonResult, compute_epoch_means
from fastai_hf_callback.results.evidence import Evidence

from .curves import ArmSeries, build_series
from .wording import format_number, format_position

__all__ = ["Cell", "Row", "build_epoch_table", "build_evidence_rows", "build_metric_rows"]

MAX_ROWS = 40
MAX_ITEMS = 12


@dataclass(frozen=True)
class Cell:
    """The callback arm's value, and the patched arm's where it differs."""

    text: str
    patched: Optional[str] = None


@dataclass(frozen=True)
class Row:
    """One epoch, or several epochs that are left out."""

    position: str
    cells: List[Cell]
    differs_here: bool = False


def build_epoch_table(comparison: ComparisonResult) -> Tuple[List[str], List[Row], List[str]]:
    """Return the names of the columns, a row per evaluation and epoch, and the base rates."""
    by_epoch = [_build_train_loss_series(comparison), *(s for s in build_series(comparison) if not s.by_step)]
    shown = [series for series in by_epoch if series.positions]
    positions = sorted({position for series in shown for position in series.positions})
    fits = len({fit for fit, _, _ in positions if fit >= 0}) > 1
    difference_at = next((s.positions[s.difference_at] for s in shown if s.difference_at is not None), None)
    rows = [
        Row(
            format_position(position, fits),
            [_build_cell(series, position) for series in shown],
            position == difference_at,
        )
        for position in positions
    ]
    return [s.quantity for s in shown], _shorten_rows(rows), [format_number(s.base_rate) for s in shown]


def build_metric_rows(evidence: Evidence) -> List[List[str]]:
    """Return each metric's name, value, base rate, and its scores on outputs that are always right or always wrong."""
    return [[m.name, *map(format_number, (m.value, m.base_rate, m.at_ideal, m.at_worst))] for m in evidence.metrics]


def build_evidence_rows(evidence: Evidence) -> List[Tuple[str, str]]:
    """List every figure that was measured, by its path."""
    return list(_flatten(evidence.to_dict()))


def _flatten(value: Any, path: str = "") -> Iterator[Tuple[str, str]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _flatten(part, f"{path}.{name}" if path else str(name))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, dict) for item in value):
        for position, item in enumerate(value):
            yield from _flatten(item, f"{path}[{position}]")
    elif isinstance(value, (list, tuple)):
        if value:
            more = f", ... ({len(value)} in all)" if len(value) > MAX_ITEMS else ""
            yield path, ", ".join(str(item) for item in value[:MAX_ITEMS]) + more
    elif value is not None:
        yield path, str(value)


def _build_train_loss_series(comparison: ComparisonResult) -> ArmSeries:
    means = {arm: compute_epoch_means(trace) for arm, trace in comparison.traces.items()}
    epochs = list(means["callback"])
    return ArmSeries(
        "train_loss",
        [(*epoch, -1) for epoch in epochs],
        {arm: [values.get(epoch) for epoch in epochs] for arm, values in means.items()},
    )


def _build_cell(series: ArmSeries, position: Tuple[int, int, int]) -> Cell:
    if position not in series.positions:
        return Cell("-")
    at = series.positions.index(position)
    callback = series.arms["callback"][at]
    patched = series.arms.get("patched", series.arms["callback"])[at]
    if repr(callback) == repr(patched):
        return Cell(format_number(callback))
    return Cell(repr(callback), repr(patched))


def _shorten_rows(rows: List[Row]) -> List[Row]:
    """Keep the first and the last rows, and the one where the arms first differ."""
    if len(rows) <= MAX_ROWS:
        return rows
    half = MAX_ROWS // 2
    middle = rows[half:-half]
    here = next((i for i, row in enumerate(middle) if row.differs_here), None)
    cut = [middle] if here is None else [middle[:here], [middle[here]], middle[here + 1 :]]
    kept = [part[0] if len(part) == 1 else Row(f"... {len(part)} more", []) for part in cut if part]
    return [*rows[:half], *kept, *rows[-half:]]
