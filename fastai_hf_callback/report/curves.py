"""A comparison -> the curves to draw, all arms on one axis."""

from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Tuple

from fastai_hf_callback.results.comparison import ComparisonResult, Difference
from fastai_hf_callback.results.trace import Epoch, Step, Trace

__all__ = ["ArmSeries", "build_gap_series", "build_series"]

Position = Tuple[int, int, int]  # fit, epoch, step: as in a Difference


@dataclass(frozen=True)
class ArmSeries:
    """One quantity of every arm.

    Attributes
    ----------
    quantity : str
    positions : list of (int, int, int)
        Fit, epoch and step of each value, in time; the step is -1 for an evaluation, all are before training.
    arms : dict of str to list of (float or None)
        By arm, a value per position; None where the arm recorded nothing there.
    base_rate : float or None
        What a constant predictor scores.
    difference_at : int or None
        The index of the position of the first difference between callback and patched arm.
    differs_here : bool
        Whether it is this quantity that differs first.
    """

    quantity: str
    positions: List[Position]
    arms: Dict[str, List[Optional[float]]]
    base_rate: Optional[float] = None
    difference_at: Optional[int] = None
    differs_here: bool = False

    @property
    def by_step(self) -> bool:
        """Whether these are steps and not evaluations."""
        return any(step >= 0 for _, _, step in self.positions)


def build_series(comparison: ComparisonResult) -> List[ArmSeries]:
    """Build train loss and gradient norm by step, then validation loss and metrics by evaluation.

    A learning rate is among them where it is what differs first.
    """
    steps = {"train_loss": lambda step: step.loss, "gradient norm": lambda step: step.grad_norm}
    if comparison.difference and comparison.difference.quantity.startswith("learning rate of group "):
        group = int(comparison.difference.quantity.split()[-1])
        steps[comparison.difference.quantity] = lambda step: step.lrs[group] if group < len(step.lrs) else None
    found = [_build_step_series(comparison, name, read) for name, read in steps.items()]
    found += [
        _build_evaluation_series(comparison, m.quantity, m.base_rate)
        for m in comparison.movements
        if m.quantity != "train_loss"
    ]
    return [series for series in found if series.positions]


def build_gap_series(series: ArmSeries) -> Optional[ArmSeries]:
    """Subtract the patched arm from the callback arm; None where there is no difference to draw."""
    pairs = zip(series.arms["callback"], series.arms.get("patched", []))
    gaps = [None if a is None or b is None else 0.0 if a == b or a != a and b != b else a - b for a, b in pairs]
    if not any(gaps):
        return None
    return ArmSeries(
        f"{series.quantity}: callback - patched", series.positions, {"difference": gaps}, None, series.difference_at
    )


def _build_step_series(
    comparison: ComparisonResult, quantity: str, read: Callable[[Step], Optional[float]]
) -> ArmSeries:
    arms = {arm: {(s.fit, s.epoch, s.step): read(s) for s in trace.steps} for arm, trace in comparison.traces.items()}
    return _align_arms("loss" if quantity == "train_loss" else quantity, quantity, arms, comparison.difference, None)


def _build_evaluation_series(comparison: ComparisonResult, quantity: str, base_rate: Optional[float]) -> ArmSeries:
    arms = {
        arm: {(e.fit, e.epoch, -1): _get_evaluated_value(e, quantity) for e in _list_evaluations(trace)}
        for arm, trace in comparison.traces.items()
    }
    return _align_arms(quantity, quantity, arms, comparison.difference, base_rate)


def _align_arms(
    recorded_name: str,
    quantity: str,
    arms: Dict[str, Dict[Position, Optional[float]]],
    difference: Optional[Difference],
    base_rate: Optional[float],
) -> ArmSeries:
    positions = sorted(
        {position for values in arms.values() for position, value in values.items() if value is not None}
    )
    difference_at, here = None, False
    if difference is not None and difference.where != "after the run":
        position = (difference.fit, difference.epoch, difference.step)
        difference_at = positions.index(position) if position in positions else None
        here = difference_at is not None and difference.quantity == recorded_name
    return ArmSeries(
        quantity,
        positions,
        {arm: [values.get(position) for position in positions] for arm, values in arms.items()},
        base_rate,
        difference_at,
        here,
    )


def _list_evaluations(trace: Trace) -> List[Epoch]:
    return ([trace.before] if trace.before else []) + trace.epochs


def _get_evaluated_value(epoch: Epoch, quantity: str) -> Optional[float]:
    return epoch.valid_loss if quantity == "valid_loss" else epoch.metrics.get(quantity)
