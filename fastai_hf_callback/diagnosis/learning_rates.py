"""The learning rates of a fit's steps. Imports numpy."""

from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from fastai_hf_callback.results.evidence import HyperParams

from .probes.optimizer import OptimizerReader

__all__ = [
    "choose_fit",
    "is_range_test",
    "limit_reach",
    "read_step_rule",
    "scale_learning_rates",
    "summarize_hyperparameters",
]


# Layer norms of models that were trained are further from their initial values than this.
MAX_REACH = 0.02
# Of fewer steps nobody can say that a warm-up was to end in them.
MIN_RATES = 20


def summarize_hyperparameters(rates: List[float], optimizer: OptimizerReader, fit: str) -> HyperParams:
    """Summarize rates and decay of a fit's steps; rates are judged only where a fit, not a range test, has set them.

    Parameters
    ----------
    rates : list of float
        One a step.
    optimizer : OptimizerReader
    fit : str
        Whose rates these are, as in "the last fit".
    """
    wd = optimizer.read_weight_decay()
    rule = {**read_step_rule(optimizer), "lowest_group_share": _compare_groups(optimizer)}
    if not rates or is_range_test(rates):
        return HyperParams(None, wd, "only a range test so far" if rates else "no fit yet", **rule)
    highest = max(rates)
    near_zero = sum(rate < 1e-4 * highest for rate in rates) / len(rates) if highest > 0 else 0.0
    return HyperParams(
        highest, wd, f"the highest of {fit}", near_zero, sum(rates), rises_to_the_end=_rises_to_the_end(rates), **rule
    )


def read_step_rule(optimizer: OptimizerReader) -> Dict[str, Any]:
    """Read how the optimizer in force steps, as fields of ``HyperParams``; none where that is not known."""
    rule = optimizer.measure_step_rule()
    return {} if rule is None else rule._asdict()


def _rises_to_the_end(rates: List[float]) -> bool:
    """Return whether no rate is below the one before, and the last quarter rises by a tenth and more.

    But for the first: fastai 1 records a rate before the callback that sets it, and then the fit's own.
    """
    begin = rates[-1 - len(rates) // 4]
    return bool((np.diff(rates[1:]) >= 0).all()) and len(rates) >= MIN_RATES and rates[-1] > 1.1 * begin


def _compare_groups(optimizer: OptimizerReader) -> float:
    """Return the lowest rate of a group over the highest: 1 but for discriminative rates."""
    given = [group.settings.get("lr") for group in optimizer.read_groups()]
    rates = [float(rate) for rate in given if isinstance(rate, (int, float))]  # fastai 1 begins with a slice
    return min(rates) / max(rates) if rates and max(rates) > 0 else 1.0


def limit_reach(hyper: Optional[HyperParams]) -> float:
    """Return how far the last fit's steps can have moved a weight, where that is little and can be known; else 0.

    A step of Adam's kind is its rate at most, but for a few percent; one that grows with the gradient has no limit.
    """
    if hyper is None or hyper.scales_with_gradient is not False:
        return 0.0
    reach = 1.5 * hyper.total_lr * hyper.momentum_gain
    return reach if reach <= MAX_REACH else 0.0


def choose_fit(records: Sequence[Any]) -> Any:
    """Choose the first record with losses that is none of a range test, else the first with losses; None without.

    Parameters
    ----------
    records : sequence
        Recorders or ``FitRecord``, the latest first; None where there is none.
    """
    fits = [record for record in records if record is not None and getattr(record, "losses", [])]
    return next(
        (fit for fit in fits if not is_range_test([float(rate) for rate in fit.lrs])), fits[0] if fits else None
    )


def is_range_test(rates: List[float]) -> bool:
    """Return whether the rates rise by a constant factor over decades, as those of ``lr_find`` do."""
    if len(rates) < 5 or min(rates) <= 0 or rates[-1] < rates[0]:
        return False
    ratios = np.diff(np.log(rates))
    return bool((ratios > 0).all()) and float(ratios.std()) < 0.05 * float(ratios.mean())


def scale_learning_rates(rates: List[float], lr: float) -> List[float]:
    """Scale the rates so that the last is `lr`, in the proportions they have now."""
    top = rates[-1] if rates and rates[-1] > 0 else None
    return [lr * rate / top if top else lr for rate in rates]
