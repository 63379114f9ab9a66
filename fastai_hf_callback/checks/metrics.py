"""Does the metric measure the predictions of this epoch, and can it be seen to move?"""
from typing import List, Optional

from ..evidence import Evidence, MetricSeen
from ..finding import Finding

CAUSES = ["metric-ignores-predictions", "metric-of-another-epoch", "metric-wrong-axis", "metric-at-base-rate"]
EXPLAINED_BY = {"metric-at-base-rate": ("metric-ignores-predictions",)}


def ignores(seen: Evidence) -> List[Finding]:
    return [Finding("metric-ignores-predictions", "warning",
                    f"{m.name} is {m.at_ideal:.4g} whatever the model says: for right outputs, for contrary ones and "
                    f"for random ones.", {"right": m.at_ideal, "contrary": m.at_worst, "random": m.at_random},
                    "learn.metrics = [accuracy]")
            for m in seen.metrics if _asked(m) and len({round(v, 9) for v in _answers(m)}) == 1
            and not _one_class(seen)]


def another_epoch(seen: Evidence) -> List[Finding]:
    return [Finding("metric-of-another-epoch", "warning",
                    f"{m.name} of the same outputs is {m.alone:.4g} in a first epoch and {m.after_another_epoch:.4g} "
                    f"after another one: it carries over what it counted before.",
                    {"alone": m.alone, "after another epoch": m.after_another_epoch},
                    "Reset the metric's counts in on_epoch_begin")
            for m in seen.metrics if m.alone is not None and m.after_another_epoch is not None
            and abs(m.alone - m.after_another_epoch) > 1e-6 * (1 + abs(m.alone))]


def wrong_axis(seen: Evidence) -> List[Finding]:
    return [Finding("metric-wrong-axis", "warning",
                    f"{m.name} is {m.at_ideal:.4g} for outputs that are right in every row (others score from "
                    f"{min(_others(m)):.4g} to {max(_others(m)):.4g}, right ones in halves of the rows "
                    f"{m.ideal_of_halves}): it reads the wrong axis or the wrong column.",
                    {"right": m.at_ideal, "contrary": m.at_worst, "random": m.at_random,
                     "right, by halves": m.ideal_of_halves},
                    "accuracy takes outputs (rows, classes) and argmax(dim=-1); learn.metrics = [accuracy]")
            for m in seen.metrics if _asked(m) and _depends_on_batch_mates(m)]


def at_base_rate(seen: Evidence) -> List[Finding]:
    falling = seen.history is not None and seen.history.falling
    while_learning = " while the training loss falls" if falling else ""
    return [Finding("metric-at-base-rate", "note",
                    f"{m.name} stands at {m.value:.6f}, what a predictor that never reads the text scores "
                    f"({m.base_rate:.6f}){while_learning}: this metric cannot show yet whether the model learns.",
                    {m.name: m.value, "base rate": m.base_rate, "one prediction": m.quantum},
                    "learn.metrics.append(ColumnwiseAUC())  # or watch the validation loss" if _by_order(seen)
                    else "Watch the validation loss, or a correlation")
            for m in seen.metrics if m.value is not None and m.base_rate is not None
            and abs(m.value - m.base_rate) <= 1.5 * m.quantum]


def _by_order(seen: Evidence) -> bool:
    """Whether an AUC can be told of these targets: of classes and columns of 0 and 1, of no number and no word."""
    return seen.labels is None or seen.labels.kind in ("classes", "labels")


def _depends_on_batch_mates(metric: MetricSeen) -> bool:
    """Whether right outputs score differently in each half of the rows, and both together not as their mean."""
    if len(metric.ideal_of_halves) != 3:
        return False
    one, other, both = metric.ideal_of_halves
    return abs(one - other) > 0.01 * (abs(one) + abs(other)) and abs((one + other) / 2 - both) > _eps(metric)


def _asked(metric: MetricSeen) -> bool:
    return None not in (metric.at_ideal, metric.at_worst, metric.at_random)


def _answers(metric: MetricSeen) -> List[float]:
    return [metric.at_ideal, *_others(metric)]


def _others(metric: MetricSeen) -> List[float]:
    values = (metric.at_worst, metric.at_random, metric.at_other_random, metric.base_rate)
    return [v for v in values if v is not None]


def _eps(metric: MetricSeen) -> float:
    return 1e-6 * (1 + abs(metric.at_ideal or 0.0))


def _one_class(seen: Evidence) -> Optional[bool]:
    return seen.labels is not None and seen.labels.valid_constant


CHECKS = [ignores, another_epoch, wrong_axis, at_base_rate]
