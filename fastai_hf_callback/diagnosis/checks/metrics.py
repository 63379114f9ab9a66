"""Checks of the metrics: each measures this epoch's predictions, and can be seen to move."""

from itertools import islice
from typing import Any, Dict, Iterator, List, Optional, Tuple

from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import Action, Finding
from fastai_hf_callback.results.metric_evidence import MetricEvidence

from .failures import build_finding, match_cause

CAUSES = [
    "metric-not-wrapped",
    "metric-fails",
    "metric-ignores-predictions",
    "metric-of-another-epoch",
    "metric-wrong-axis",
    "metric-at-other-positions",
    "metric-counts-padding",
    "metric-arguments-swapped",
    "better-taken-for-worse",
    "metric-at-base-rate",
]
EXPLAINED_BY = {
    "metric-at-base-rate": (
        "metric-ignores-predictions",
        "loss-ignores-a-target",
    )
}


def check_metric_ignores_predictions(evidence: Evidence) -> List[Finding]:
    return [
        Finding(
            "metric-ignores-predictions",
            "warning",
            f"{m.name} is {m.at_ideal:.4g} whatever the model says: for right outputs, for contrary ones and "
            f"for random ones.",
            {"right": m.at_ideal, "contrary": m.at_worst, "random": m.at_random},
            f"A metric that reads the predictions, as accuracy does, in place of {m.name}; the others stay",
        )
        for m in evidence.metrics
        if _has_synthetic_scores(m)
        and len({round(v, 9) for v in _scores(m)}) == 1
        and m.distinct_targets != 1  # of a rare class that none of the rows has, any prediction is worth the same
        and not _validation_is_constant(evidence)
    ]


def check_metric_not_wrapped(evidence: Evidence) -> Optional[Finding]:
    names = [] if evidence.wiring is None else evidence.wiring.bare_metrics
    if not names:
        return None
    return Finding(
        "metric-not-wrapped",
        "error",
        f"{', '.join(names)} stands among learn.metrics as a bare function, and fastai expects a metric with reset and "
        f"accumulate: fit and validate end there.",
        {"not metrics": names},
        action=Action("wrap-metrics"),
    )


def check_metric_fails(evidence: Evidence) -> List[Finding]:
    return [
        Finding(
            "metric-fails",
            "error",
            f"{m.name} raises {m.error}, of outputs and targets {m.shapes} and of any others of their shapes: "
            f"fit and validate end there.",
            {"outputs and targets": m.shapes},
            _advise_on_failure(m),
        )
        for m in evidence.metrics
        if m.error
    ]


def _advise_on_failure(metric: MetricEvidence) -> str:
    """Return what to do about one metric; the learner's others stay."""
    finding = build_finding(match_cause(metric.error), metric.error)
    if finding.cause == "metric-of-two-classes":
        return finding.fix
    return (
        f"Mend {metric.name}, or put another in its place: accuracy takes outputs (rows, classes) and classes (rows,); "
        f"the other metrics stay"
    )


def check_metric_of_another_epoch(evidence: Evidence) -> List[Finding]:
    return [
        Finding(
            "metric-of-another-epoch",
            "warning",
            f"{m.name} of the same outputs is {m.in_first_epoch:.4g} in a first epoch and {m.after_another_epoch:.4g} "
            f"after another one: it carries over what it counted before.",
            {"alone": m.in_first_epoch, "after another epoch": m.after_another_epoch},
            action=Action("reset-metric"),
        )
        for m in evidence.metrics
        if m.in_first_epoch is not None
        and m.after_another_epoch is not None
        and abs(m.in_first_epoch - m.after_another_epoch) > 1e-6 * (1 + abs(m.in_first_epoch))
    ]


def check_metric_wrong_axis(evidence: Evidence) -> List[Finding]:
    return [
        Finding(
            "metric-wrong-axis",
            "warning",
            f"{m.name} {description}: it reads the wrong axis or the wrong column.",
            {"right": m.at_ideal, "contrary": m.at_worst, "random": m.at_random, **figures},
            f"argmax(dim=-1) in {m.name}, as in accuracy, which takes outputs (rows, classes); the other metrics stay",
        )
        for m in evidence.metrics
        if _has_synthetic_scores(m) and not _has_own_targets(m, evidence)
        for description, figures in islice(_describe_row_dependence(m), 1)
    ]


def _has_own_targets(m: MetricEvidence, evidence: Evidence) -> bool:
    """Return whether loss and metric leave the targets aside, as with in-batch negatives: the rows' places count."""
    return m.reads_targets is False and evidence.pairing is not None and evidence.pairing.has_own_targets


def _describe_row_dependence(m: MetricEvidence) -> Iterator[Tuple[str, Dict[str, Any]]]:
    """Yield, in words and figures, how the score of a row depends on the other rows of its batch."""
    if _depends_on_other_rows(m):
        yield (
            f"is {m.at_ideal:.4g} for outputs that are right in every row (others score from "
            f"{min(_other_scores(m)):.4g} to {max(_other_scores(m)):.4g}, right ones in halves of the rows "
            f"{m.ideal_on_halves})",
            {"right, by halves": m.ideal_on_halves},
        )
    for value, other in _differing_pairs(m.with_rows_reordered):
        yield (
            f"is {value:.4g} for some outputs and {other:.4g} for the same rows in another order",
            {"in one order": value, "in another": other},
        )
    for value, other in _differing_pairs([] if _is_a_sum(m.with_rows_repeated) else m.with_rows_repeated):
        yield (
            f"is {value:.4g} for some outputs and {other:.4g} for the same rows when each comes twice",
            {"each row once": value, "each row twice": other},
        )
    if _normalizes_over_batch(m):
        yield (
            f"is {m.at_random:.4g} for some outputs and {m.with_rows_shifted:.4g} when a number is added to each "
            f"row, which changes no probability, and a row alone scores the same whatever is predicted for it",
            {"random, rows shifted": m.with_rows_shifted},
        )


def _normalizes_over_batch(m: MetricEvidence) -> bool:
    """Return whether a softmax runs over the batch: a row alone then tells nothing, and rows outweigh one another."""
    return (
        m.with_rows_shifted is not None
        and m.at_random is not None
        and abs(m.with_rows_shifted - m.at_random) > _tolerance(m)
        and bool(m.on_single_rows)
        and all(max(values) == min(values) for values in m.on_single_rows)
    )


def _differing_pairs(pairs: List[Tuple[float, float]]) -> List[Tuple[float, float]]:
    return [(a, b) for a, b in pairs if abs(a - b) > 1e-5 * (1 + abs(a))]


def _is_a_sum(pairs: List[Tuple[float, float]]) -> bool:
    """Return whether doubling the rows changes every value by the same factor: a count, a sum, a norm."""
    ratios = [b / a for a, b in pairs if a]
    return bool(ratios) and max(ratios) - min(ratios) < 1e-3 * abs(max(ratios)) and all(a or not b for a, b in pairs)


def check_metric_at_other_positions(evidence: Evidence) -> List[Finding]:
    ahead = None if evidence.pairing is None else evidence.pairing.ahead
    return [
        Finding(
            "metric-at-other-positions",
            "warning",
            f"{m.name} compares an output with the target {m.ahead} position(s) on, the loss with the one {ahead} on: "
            f"what the model learns is not what is measured.",
            {"metric looks ahead by": m.ahead, "loss looks ahead by": ahead},
            f"WordAccuracy(ahead={ahead})" if ahead else "WordAccuracy()",
        )
        for m in evidence.metrics
        if ahead is not None and m.ahead is not None and m.ahead != ahead
    ]


def check_metric_counts_padding(evidence: Evidence) -> List[Finding]:
    left_out = None if evidence.pairing is None else evidence.pairing.left_out
    return [
        Finding(
            "metric-counts-padding",
            "warning",
            f"{m.name} is {m.with_left_out[0]:.4g} for outputs that are right wherever the loss asks, and "
            f"{m.with_left_out[1]:.4g} with as many targets more that it leaves out ({left_out}): the metric counts "
            f"those too, and says how much of a batch is padding.",
            {"as it is": m.with_left_out[0], "with more left out": m.with_left_out[1]},
            "learn.metrics = [WordAccuracy()]  # leaves out -100; of a metric of your own: metric(preds[t != -100], "
            "t[t != -100])",
        )
        for m in evidence.metrics
        if m.with_left_out is not None and _differing_pairs([m.with_left_out])
    ]


def check_metric_arguments_swapped(evidence: Evidence) -> List[Finding]:
    return [
        Finding(
            "metric-arguments-swapped",
            "warning",
            f"{m.name} is {m.at_tenfold:.4g} for outputs that lie ten times as far from their mean as they should, and "
            f"{m.at_tenth:.4g} for outputs at a tenth of that, which are nearer: it takes predictions for targets.",
            {"ten times as far": m.at_tenfold, "a tenth as far": m.at_tenth, "right": m.at_ideal},
            "metric(targets, outputs)  # scikit-learn's metrics take what is true first",
        )
        for m in evidence.metrics
        if _prefers_far_outputs(m)
    ]


def _prefers_far_outputs(m: MetricEvidence) -> bool:
    if m.at_tenth is None or m.at_tenfold is None or m.at_ideal is None or m.at_worst is None:
        return False
    gain = (m.at_tenfold - m.at_tenth) * (1 if m.at_ideal > m.at_worst else -1)
    return gain > 0.01 * abs(m.at_ideal - m.at_worst) > 0


def check_better_taken_for_worse(evidence: Evidence) -> List[Finding]:
    trackers = [] if evidence.wiring is None else evidence.wiring.trackers
    return [
        Finding(
            "better-taken-for-worse",
            "warning",
            f"{callback} watches {name} and takes {'more' if takes_more else 'less'} for better; {reason}. It acts as "
            f"{name} gets better: stops the fit, lowers the rate, or keeps the worst weights.",
            {"watched": name, "takes for better": "more" if takes_more else "less"},
            action=Action(
                "watch-for-less" if takes_more else "watch-for-more", {"callback": callback, "monitor": name}
            ),
        )
        for callback, name, takes_more in trackers
        for is_more, reason in _find_better(evidence, name)
        if is_more is not takes_more
    ]


def _find_better(evidence: Evidence, name: str) -> Iterator[Tuple[bool, str]]:
    """Yield whether more of what is watched is better, and how that is known, where it is."""
    if name in ("train_loss", "valid_loss"):
        yield False, "of a loss less is"
    for m in evidence.metrics:
        if m.name == name and m.at_ideal is not None and m.at_worst is not None and m.at_ideal != m.at_worst:
            yield m.at_ideal > m.at_worst, f"right outputs score {m.at_ideal:.4g} and contrary ones {m.at_worst:.4g}"


def check_metric_at_base_rate(evidence: Evidence) -> List[Finding]:
    falling = evidence.history is not None and evidence.history.falling
    while_learning = " while the training loss falls" if falling else ""
    return [
        Finding(
            "metric-at-base-rate",
            "note",
            f"{m.name} stands at {m.value:.6f}, what a predictor that never reads the text scores "
            f"{_describe_constant(m)}{while_learning}: this metric cannot show yet whether the model learns.",
            {m.name: m.value, "base rate": m.base_rate, "one prediction": m.resolution},
            *_suggest_metric(evidence),
        )
        # Any model is near it before its first fit.
        for m in evidence.metrics
        if evidence.history is not None
        and m.value is not None
        and m.base_rate is not None
        and (_equals_base_rate(m) or m.distinct_predictions == 1)
    ]


def _equals_base_rate(m: MetricEvidence) -> bool:
    return m.value is not None and m.base_rate is not None and abs(m.value - m.base_rate) <= 1.5 * m.resolution


def _describe_constant(m: MetricEvidence) -> str:
    return f"({m.base_rate:.6f})" if _equals_base_rate(m) else f"(the model says one class of all {m.rows} rows)"


def _suggest_metric(evidence: Evidence) -> Tuple[str, Optional[Action]]:
    if not _allows_auc(evidence):
        return "Watch the validation loss, or a correlation", None
    if any(_is_auc(m) for m in evidence.metrics):
        return "Watch the area under the curve next to it, and the validation loss", None
    return "", Action("add-auc-metric", note="or watch the validation loss")


def _is_auc(metric: MetricEvidence) -> bool:
    """Return whether any constant predictor scores one half, and right outputs one: an area under the curve."""
    return metric.base_rate == 0.5 and metric.at_ideal == 1.0 and "auc" in metric.name.lower()


def _allows_auc(evidence: Evidence) -> bool:
    """Return whether these targets have an AUC: classes and columns of 0 and 1 do, numbers and words do not."""
    if evidence.labels is not None:
        return evidence.labels.kind in ("classes", "labels")
    return evidence.outputs is None or len(evidence.outputs.shape) == 2 and len(evidence.outputs.target_shape) in (1, 2)


def _depends_on_other_rows(metric: MetricEvidence) -> bool:
    """Return whether right outputs score differently in each half of the rows, and both together not as their mean."""
    if len(metric.ideal_on_halves) != 3:
        return False
    one, other, both = metric.ideal_on_halves
    return abs(one - other) > 0.01 * (abs(one) + abs(other)) and abs((one + other) / 2 - both) > _tolerance(metric)


def _has_synthetic_scores(metric: MetricEvidence) -> bool:
    return None not in (metric.at_ideal, metric.at_worst, metric.at_random)


def _scores(metric: MetricEvidence) -> List[float]:
    return [score for score in (metric.at_ideal, *_other_scores(metric)) if score is not None]


def _other_scores(metric: MetricEvidence) -> List[float]:
    values = (metric.at_worst, metric.at_random, metric.at_other_random, metric.base_rate)
    return [v for v in values if v is not None]


def _tolerance(metric: MetricEvidence) -> float:
    return 1e-6 * (1 + abs(metric.at_ideal or 0.0))


def _validation_is_constant(evidence: Evidence) -> Optional[bool]:
    return evidence.labels is not None and evidence.labels.valid_constant


CHECKS = [
    check_metric_not_wrapped,
    check_metric_fails,
    check_metric_ignores_predictions,
    check_metric_of_another_epoch,
    check_metric_wrong_axis,
    check_metric_at_other_positions,
    check_metric_counts_padding,
    check_metric_arguments_swapped,
    check_better_taken_for_worse,
    check_metric_at_base_rate,
]
