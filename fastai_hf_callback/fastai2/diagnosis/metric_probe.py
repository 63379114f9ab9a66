"""fastai 2 metrics asked about real outputs and stand-ins; part of ``probe``."""
import copy
from functools import partial
from typing import Any, Callable, List

from fastai.learner import Metric
from torch import Tensor

from fastai_hf_callback.results.evidence import MetricSeen
from fastai_hf_callback.diagnosis.probes.metrics import look_at_metric
from fastai_hf_callback.fastai2.metrics import AskedForMore, BaseRate, LearnerOfABatch
from fastai_hf_callback.fastai2.comparison.recorder import metric_names

__all__ = ["look_at_metrics"]


def look_at_metrics(metrics: List[Metric], outputs: List[Tensor], targets: List[Tensor],
                    loss_func: Callable) -> List[MetricSeen]:
    """Score real, right, contrary, random and constant outputs; metrics are copied first.

    Parameters
    ----------
    metrics : list of Metric
        The learner's.
    outputs, targets : list of Tensor
        Of a few validation batches.
    loss_func : callable
        Chooses among the constant predictors.
    """
    names = metric_names(metrics)
    # A BaseRate is constant on purpose.
    return [look_at_metric(name, partial(_value, metric), outputs, targets, loss_func)
            for name, metric in zip(names, metrics) if not isinstance(metric, BaseRate)]


def _value(metric: Metric, epochs: List[Any]) -> float:
    """The value after the last of `epochs`, each a pair of lists of batches."""
    made, value = copy.deepcopy(metric), float("nan")
    for outputs, targets in epochs:
        made.reset()
        for output, target in zip(outputs, targets):
            try:
                made.accumulate(LearnerOfABatch(output, target))
            except AskedForMore:  # for the loss, or the inputs, as Perplexity does
                return float("nan")
        value = float(made.value)
    return value
