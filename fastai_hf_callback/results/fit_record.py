"""``FitRecord``: what a fastai's Recorder has written of a fit; ``History``: the figures of it that are evidence."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, NamedTuple, Sequence

__all__ = ["FitRecord", "History"]


class FitRecord(NamedTuple):
    """The lists that the Recorder of one fit writes to; another fit, and what empties it, has new ones.

    Attributes
    ----------
    losses, lrs : list of number
        Smoothed losses and rates, one a step.
    values : list
        What was recorded of each epoch.
    metric_names : sequence of str
    """

    losses: List[Any]
    lrs: List[Any]
    values: List[Any]
    metric_names: Sequence[str]


@dataclass
class History:
    """What the last or the running fit recorded: training losses, smoothed or not, and metrics by epoch."""

    losses: List[float] = field(default_factory=list)
    metrics: Dict[str, List[float]] = field(default_factory=dict)
    smoothed: bool = False

    @property
    def early(self) -> float:
        """The mean of the first quarter of the losses."""
        return _mean(self.losses[: max(1, len(self.losses) // 4)])

    @property
    def late(self) -> float:
        """The mean of the last quarter."""
        return _mean(self.losses[-max(1, len(self.losses) // 4) :])

    @property
    def falling(self) -> bool:
        """Whether the last quarter lies below the first."""
        return len(self.losses) >= 4 and self.late < self.early

    @property
    def rising(self) -> bool:
        """Whether the last quarter lies above the first by more than a few hundredths."""
        return len(self.losses) >= 8 and self.late - self.early > 0.03 * abs(self.early)


def _mean(values: List[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
