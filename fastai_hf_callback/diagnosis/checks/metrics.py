"""Does the metric measure the predictions of this epoch, and can it be seen to move?"""
from itertools import islice
from typing import Any, Dict, Iterator, List, Optional, Tuple

from fastai_hf_callback.results.evidence import Evidence, MetricSeen
from fastai_hf_callback.results.finding import Finding

CAUSES = ["metric-fails", "metric-ignores-predictions", "metric-of-another-epoch", "metric-wrong-axis",
          "metric-at-base-rate"]
EXPLAINED_BY = {"metric-at-base-rate": ("metric-ignores-predictions", "loss-ignores-a-target")}


def ignores(seen: Evidence) -> List[Finding]:
    return [Finding("metric-ignores-predictions", "warning",
                    f"{m.name} is {m.at_ideal:.4g} whatever the model says: for right outputs, for contrary ones and "
                    f"for random ones.", {"right": m.at_ideal, "contrary": m.at_worst, "random": m.at_random},
                    "learn.metrics = [accuracy]")
            for m in seen.metrics if _asked(m) and len({round(v, 9) for v in _answers(m)}) == 1
            and not _one_class(seen)]


def fails(seen: Evidence) -> List[Finding]:
    return [Finding("metric-fails", "error",
                    f"{m.name} raises {m.error}, of outputs and targets {m.shapes} and of any others of their shapes: "
                    f"fit and validate end there.", {"outputs and targets": m.shapes},
                    "accuracy takes outputs (rows, classes) and classes (rows,); learn.metrics = [accuracy]")
            for m in seen.metrics if m.error]


def another_epoch(seen: Evidence) -> List[Finding]:
    return [Finding("metric-of-another-epoch", "warning",
                    f"{m.name} of the same outputs is {m.alone:.4g} in a first epoch and {m.after_another_epoch:.4g} "
                    f"after another one: it carries over what it counted before.",
                    {"alone": m.alone, "after another epoch": m.after_another_epoch},
                    "Reset the metric's counts in on_epoch_begin")
            for m in seen.metrics if m.alone is not None and m.after_another_epoch is not None
            and abs(m.alone - m.after_another_epoch) > 1e-6 * (1 + abs(m.alone))]


def wrong_axis(seen: Evidence) -> List[Finding]:
    return [Finding("metric-wrong-axis", "warning", f"{m.name} {told}: it reads the wrong axis or the wrong column.",
                    {"right": m.at_ideal, "contrary": m.at_worst, "random": m.at_random, **figures},
                    "accuracy takes outputs (rows, classes) and argmax(dim=-1); learn.metrics = [accuracy]")
            for m in seen.metrics if _asked(m) for told, figures in islice(_of_batch_mates(m), 1)]


def _of_batch_mates(m: MetricSeen) -> Iterator[Tuple[str, Dict[str, Any]]]:
    """How the value of a row's prediction hangs on the other rows of its batch, in words and figures."""
    if _depends_on_batch_mates(m):
        yield (f"is {m.at_ideal:.4g} for outputs that are right in every row (others score from {min(_others(m)):.4g} "
               f"to {max(_others(m)):.4g}, right ones in halves of the rows {m.ideal_of_halves})",
               {"right, by halves": m.ideal_of_halves})
    for value, other in _differing(m.in_another_order):
        yield (f"is {value:.4g} for some outputs and {other:.4g} for the same rows in another order",
               {"in one order": value, "in another": other})
    for value, other in _differing([] if _is_a_sum(m.with_every_row_twice) else m.with_every_row_twice):
        yield (f"is {value:.4g} for some outputs and {other:.4g} for the same rows when each comes twice",
               {"each row once": value, "each row twice": other})
    if _sees_no_row_alone(m):
        yield (f"is {m.at_random:.4g} for some outputs and {m.with_rows_shifted:.4g} when a number is added to each "
               f"row, which changes no probability, and a row alone scores the same whatever is said of it",
               {"random, rows shifted": m.with_rows_shifted})


def _sees_no_row_alone(m: MetricSeen) -> bool:
    """Whether classes are compared down the batch: of a row alone nothing is seen, and rows outweigh one another."""
    return (m.with_rows_shifted is not None and abs(m.with_rows_shifted - m.at_random) > _eps(m)
            and bool(m.of_single_rows) and all(max(values) == min(values) for values in m.of_single_rows))


def _differing(pairs: List[Tuple[float, float]]) -> List[Tuple[float, float]]:
    return [(a, b) for a, b in pairs if abs(a - b) > 1e-5 * (1 + abs(a))]


def _is_a_sum(pairs: List[Tuple[float, float]]) -> bool:
    """Whether twice the rows change every value by one factor: a count, a sum, a norm."""
    ratios = [b / a for a, b in pairs if a]
    return bool(ratios) and max(ratios) - min(ratios) < 1e-3 * abs(max(ratios)) and all(a or not b for a, b in pairs)


def at_base_rate(seen: Evidence) -> List[Finding]:
    falling = seen.history is not None and seen.history.falling
    while_learning = " while the training loss falls" if falling else ""
    return [Finding("metric-at-base-rate", "note",
                    f"{m.name} stands at {m.value:.6f}, what a predictor that never reads the text scores "
                    f"{_which_one(m)}{while_learning}: this metric cannot show yet whether the model learns.",
                    {m.name: m.value, "base rate": m.base_rate, "one prediction": m.quantum},
                    _that_can_see(seen))
            # Any model is near it before its first fit.
            for m in seen.metrics if seen.history is not None and m.value is not None and m.base_rate is not None
            and (_at_the_best_constant(m) or m.answers == 1)]


def _at_the_best_constant(m: MetricSeen) -> bool:
    return abs(m.value - m.base_rate) <= 1.5 * m.quantum


def _which_one(m: MetricSeen) -> str:
    return f"({m.base_rate:.6f})" if _at_the_best_constant(m) else f"(the model says one class of all {m.rows} rows)"


def _that_can_see(seen: Evidence) -> str:
    if not _by_order(seen):
        return "Watch the validation loss, or a correlation"
    if any(_sees_order(m) for m in seen.metrics):
        return "Watch the area under the curve beside it, and the validation loss"
    return "learn.metrics.append(ColumnwiseAUC())  # or watch the validation loss"


def _sees_order(metric: MetricSeen) -> bool:
    """Whether any constant predictor scores one half, and right outputs one: an area under the curve."""
    return metric.base_rate == 0.5 and metric.at_ideal == 1.0 and "auc" in metric.name.lower()


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


CHECKS = [fails, ignores, another_epoch, wrong_axis, at_base_rate]
