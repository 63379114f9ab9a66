"""Traces -> ``ComparisonResult``: whether two arms are the same, and whether anything moved.

Equality is exact, without any tolerance. Movement is measured against the broken arm, whose weights only weight
decay moves: it is the null.
"""

import math
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Dict, List, Optional, Sequence, Tuple

from fastai_hf_callback.errors import ComparisonError

from .trace import Observation, Trace

__all__ = [
    "ComparisonResult",
    "Difference",
    "Movement",
    "check_same_weights",
    "compare_traces",
    "compute_epoch_means",
    "find_first_difference",
    "compute_movements",
]


LOSS_NAMES = ("train_loss", "valid_loss")


@dataclass(frozen=True)
class Difference:
    """The first place where two arms part: `fit`, `epoch`, `step` count from 0, -1 is outside the steps."""

    arms: Tuple[str, str]
    fit: int
    epoch: int
    step: int
    quantity: str
    values: Tuple[Any, Any]

    @property
    def where(self) -> str:
        """Describe fit, epoch and step in words."""
        places = (("fit", self.fit), ("epoch", self.epoch), ("step", self.step))
        named = [f"{name} {number}" for name, number in places if number >= 0]
        at_start = self.epoch < 0 and not self.quantity.startswith(("weight ", "predictions", "what "))
        return ", ".join(named) or ("before the first step" if at_start else "after the run")

    def __str__(self) -> str:
        left, right = (f"{arm} {value!r}" for arm, value in zip(self.arms, self.values))
        return f"{self.where}: {self.quantity}: {left}, {right}"


@dataclass(frozen=True)
class Movement:
    """How one quantity moved in the callback arm.

    Attributes
    ----------
    quantity : str
        ``train_loss``, ``valid_loss`` or a metric's name.
    values : list of float
        Per epoch; for ``valid_loss`` and metrics the first is from before training.
    value_range, broken_range : float
        Highest minus lowest value in this arm and in the broken one. For ``train_loss``: the largest
        distance between the two arms' epoch means, which are over the same batches, and 0; without a broken arm that
        between its own epoch means, or the means of an only epoch's quarters.
    resolution : float
        The smallest step a proportion over the evaluated targets can make: one divided by their number.
    moved : bool
        Whether `value_range` exceeds `broken_range` by more than `resolution` (for ``train_loss`` one divided by the
        number of training targets), and the metric did more than go from its untrained value to a constant predictor's
        and stay there: the best one's, or that of one that gives every text the same answer.
    base_rate : float or None
        What a constant predictor scores.
    """

    quantity: str
    values: List[float]
    value_range: float
    broken_range: float
    resolution: float
    moved: bool
    base_rate: Optional[float] = None

    @property
    def is_metric(self) -> bool:
        """Whether this is one of the learner's metrics and not a loss."""
        return self.quantity not in LOSS_NAMES

    @property
    def at_base_rate(self) -> bool:
        """Whether this metric ended at what a constant predictor scores, within one step of `resolution`."""
        return self.is_metric and _is_within_resolution(self.values[-1:], self.base_rate, self.resolution)


@dataclass
class ComparisonResult:
    """What the arms of :func:`fastai_hf_callback.compare` showed.

    Attributes
    ----------
    traces : dict of str to Trace
        By arm.
    difference : Difference or None
        The first difference between callback and patched arm; None when they are identical.
    broken_difference : Difference or None
        The first difference between callback and broken arm; None means that the comparison could not
        have detected a fault.
    noise : Difference or None
        The first difference between two runs of the patched arm, searched only where the callback
        arm differs: on a device without deterministic kernels it is the noise floor.
    movements : list of Movement
        Train loss, validation loss and metrics of the callback arm.
    """

    traces: Dict[str, Trace]
    difference: Optional[Difference]
    broken_difference: Optional[Difference]
    movements: List[Movement]
    noise: Optional[Difference] = None

    @property
    def identical(self) -> bool:
        """Whether the callback arm equals the patched arm bit for bit."""
        return self.difference is None

    @property
    def broken_arm_differs(self) -> bool:
        """Whether the broken arm was found to differ; without a broken arm, False."""
        return self.broken_difference is not None

    @property
    def moved(self) -> bool:
        """Whether the train loss and at least one metric moved (without metrics: the validation loss).

        False where the last train loss is not finite, even if a metric moved before.
        """
        steps = self.traces["callback"].steps
        if steps and not math.isfinite(steps[-1].loss):
            return False
        by_name = {m.quantity: m.moved for m in self.movements}
        metrics = [m.moved for m in self.movements if m.is_metric]
        return by_name.get("train_loss", False) and any(metrics or [by_name.get("valid_loss", True)])

    @property
    def exit_code(self) -> int:
        """0: identical and moved, 1: different or nothing proven, 3: identical but stuck."""
        if (
            not self.identical
            or "patched" not in self.traces
            or ("broken" in self.traces and not self.broken_arm_differs)
        ):
            return 1
        return 0 if self.moved else 3

    @property
    def verdict(self) -> str:
        """The verdict in one line."""
        if not self.identical:
            return f"DIFFERENT - {self.difference}" + self._describe_noise()
        if "patched" not in self.traces:
            return "NOTHING COMPARED - the patched arm was not run"
        if "broken" in self.traces and not self.broken_arm_differs:
            return "PROVES NOTHING - the broken arm did not differ: this fit trains nothing that could be compared"
        return "IDENTICAL, and it moved" if self.moved else f"IDENTICAL BUT STUCK - {self._explain_stuck()}"

    def _explain_stuck(self) -> str:
        lost = next((s for s in self.traces["callback"].steps if not math.isfinite(s.loss)), None)
        if lost is not None:
            return (
                f"the loss became {lost.loss} at fit {lost.fit}, epoch {lost.epoch}, step {lost.step}; lower the "
                f"learning rate"
            )
        if any(m.moved for m in self.movements if m.quantity == "train_loss"):
            return (
                "train_loss moved, no metric did; train longer, or add a metric that can see it (ColumnwiseAUC); "
                "diagnose(make_learner()) tells whether anything is wrong"
            )
        if self._have_weights_changed():
            loss = next(m for m in self.movements if m.quantity == "train_loss")
            steps = len(self.traces["callback"].steps)
            return (
                f"the weights changed and train_loss moved by {loss.value_range:.6f} in {steps} steps, no more than "
                f"one target's share ({loss.resolution:.6f}); train longer, or on more rows"
            )
        return (
            "both arms moved nothing; raise the learning rate, or ask diagnose(make_learner()) what holds the weights"
        )

    def _have_weights_changed(self) -> bool:
        """Return whether the weights changed by more than they do where nothing is learned."""
        callback, broken = self.traces["callback"], self.traces.get("broken")
        before = callback.initial_weights if broken is None else broken.final_weights
        return bool(callback.steps) and any(before.get(name) != value for name, value in callback.final_weights.items())

    def _describe_noise(self) -> str:
        if self.noise is None:
            return ""
        return (
            f"; but two patched runs differ as well ({self.noise}), so make_learner or this device is not "
            f"deterministic, and nothing can be compared bit for bit"
        )


def compare_traces(traces: Sequence[Trace], noise: Optional[Difference] = None) -> ComparisonResult:
    """Compare arms.

    Parameters
    ----------
    traces : sequence of Trace
        The callback arm first, then ``patched`` and ``broken`` as far as they were run.
    noise : Difference, optional
        Where two runs of the patched arm differ.

    Returns
    -------
    ComparisonResult

    Raises
    ------
    ComparisonError
        When the arms did not begin with the same weights and the same first batch.
    """
    arms = {trace.arm: trace for trace in traces}
    callback, patched, broken = arms["callback"], arms.get("patched"), arms.get("broken")
    for other in traces[1:]:
        _check_same_start(callback, other)
    return ComparisonResult(
        arms,
        find_first_difference(callback, patched) if patched else None,
        find_first_difference(callback, broken) if broken else None,
        compute_movements(callback, broken),
        noise,
    )


def find_first_difference(a: Trace, b: Trace) -> Optional[Difference]:
    """Return the first observation, in time, on which two traces do not agree to the last bit, or None."""
    for one, other in zip_longest(a.observations(), b.observations()):
        if one is None or other is None or one[:4] != other[:4]:
            fit, epoch, step = (one or other)[:3]
            recorded = (_describe_observation(one), _describe_observation(other))
            return Difference((a.arm, b.arm), fit, epoch, step, "what was recorded", recorded)
        if not _is_exactly_equal(one.value, other.value):
            return Difference((a.arm, b.arm), one.fit, one.epoch, one.step, one.quantity, (one.value, other.value))
    return None


def compute_movements(trace: Trace, broken: Optional[Trace] = None) -> List[Movement]:
    """Compute how far each quantity moved in `trace`, with the broken arm as the null (without one: no movement)."""
    found = [_compute_train_loss_movement(trace, broken)] if trace.steps else []
    evaluations, null_evaluations = _collect_evaluations(trace), _collect_evaluations(broken) if broken else {}
    resolution = 1 / max(1, trace.n_valid_targets)
    for name, values in evaluations.items():
        value_range, broken_range = _compute_value_range(values), _compute_value_range(null_evaluations.get(name, []))
        rate = trace.base_rates.get(name)
        at_constant_score = name not in LOSS_NAMES and _are_constant_scores(
            values[1:], [rate, *trace.constant_prediction_scores.get(name, [])], resolution
        )
        moved = value_range - broken_range > 1.5 * resolution and not at_constant_score
        found.append(Movement(name, values, value_range, broken_range, resolution, moved, rate))
    return found


def _is_within_resolution(values: Sequence[float], rate: Optional[float], resolution: float) -> bool:
    # A proportion moves in whole steps, so halfway to the second is where rounding cannot decide.
    return bool(values) and rate is not None and all(abs(value - rate) < 1.5 * resolution for value in values)


def _are_constant_scores(values: Sequence[float], constants: Sequence[Optional[float]], resolution: float) -> bool:
    """Return whether each of `values` is what some constant predictor scores: a model that has collapsed is one."""
    return bool(values) and all(
        any(_is_within_resolution([value], constant, resolution) for constant in constants) for value in values
    )


def _compute_train_loss_movement(trace: Trace, broken: Optional[Trace]) -> Movement:
    values = list(compute_epoch_means(trace).values())
    resolution = 1 / max(1, trace.n_train_targets)
    if broken is None:
        value_range = _compute_value_range(
            values if len(values) > 1 else _compute_quarter_means([step.loss for step in trace.steps])
        )
    else:  # the same batches in the same order, so the distance is what training did
        pairs = zip(values, compute_epoch_means(broken).values())
        value_range = max((abs(a - b) for a, b in pairs if math.isfinite(a - b)), default=0.0)
    return Movement("train_loss", values, value_range, 0.0, resolution, value_range > resolution)


def compute_epoch_means(trace: Trace) -> Dict[Tuple[int, int], float]:
    """Compute the mean of the steps' losses by fit and epoch, in their order."""
    by_epoch: Dict[Tuple[int, int], List[float]] = {}
    for step in trace.steps:
        by_epoch.setdefault((step.fit, step.epoch), []).append(step.loss)
    return {epoch: sum(losses) / len(losses) for epoch, losses in by_epoch.items()}


def _compute_quarter_means(losses: Sequence[float]) -> List[float]:
    """Compute the mean loss of each quarter of one epoch, which shows whether the loss moved within it."""
    cuts = [len(losses) * part // 4 for part in range(5)]
    return [sum(losses[a:b]) / (b - a) for a, b in zip(cuts, cuts[1:]) if b > a]


def _collect_evaluations(trace: Trace) -> Dict[str, List[float]]:
    series: Dict[str, List[float]] = {}
    for epoch in ([trace.before] if trace.before else []) + trace.epochs:
        if epoch.valid_loss is not None:
            for name, value in {"valid_loss": epoch.valid_loss, **epoch.metrics}.items():
                series.setdefault(name, []).append(value)
    return series


def _compute_value_range(values: Sequence[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return max(finite) - min(finite) if finite else 0.0


def check_same_weights(a: Trace, b: Trace) -> None:
    """Raise for arms whose models did not begin with the same weights, which is known before the first step.

    Raises
    ------
    ComparisonError
    """
    differing = [name for name, value in a.initial_weights.items() if b.initial_weights.get(name) != value]
    unshared = sorted(a.initial_weights.keys() ^ b.initial_weights.keys())
    if unshared or differing:
        what = (
            f"{len(differing)} of {len(a.initial_weights)} weights differ before the first step"
            if differing
            else "the two models have different weights"
        )
        raise ComparisonError(
            f"Arms {a.arm} and {b.arm}: {what} (first: {(differing or unshared)[0]}). Expected the "
            f"same start. Build model and data inside make_learner, with nothing random beyond "
            f"the seed.",
            "different-start",
        )


def _check_same_start(a: Trace, b: Trace) -> None:
    check_same_weights(a, b)
    if a.first_batch != b.first_batch:
        raise ComparisonError(
            f"Arms {a.arm} and {b.arm}: the first training batch differs. Expected the same data in "
            f"the same order. Build model and data inside make_learner, and draw random numbers "
            f"from python, numpy or torch, which are seeded.",
            "different-start",
        )


def _is_exactly_equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a.hex() == b.hex()  # exact; NaN equals NaN, 0.0 is not -0.0
    return a == b


def _describe_observation(observation: Optional[Observation]) -> str:
    return "nothing" if observation is None else f"{observation.quantity} at {observation[:3]}"
