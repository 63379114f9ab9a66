"""``FitRecord``: what a fastai's Recorder has written of a fit, in the Recorder's own lists."""

from typing import Any, List, NamedTuple, Sequence

__all__ = ["FitRecord"]


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
