"""fastai 2 metrics asked about real outputs and stand-ins; part of ``probe``."""

import copy
from functools import partial
from typing import Any, Callable, List

from fastai.learner import Metric
from torch import Tensor

from fastai_hf_callback.diagnosis.probes.metrics import probe_metric
from fastai_hf_callback.fastai2.comparison.recorder import metric_names
from fastai_hf_callback.fastai2.metrics import ConstantBaseline, SingleBatchLearner, UnavailableAttributeError
from fastai_hf_callback.results.evidence import MetricEvidence

__all__ = ["probe_metrics"]


def probe_metrics(
    metrics: List[Metric], outputs: List[Tensor], targets: List[Tensor], loss_func: Callable
) -> List[MetricEvidence]:
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
    # A ConstantBaseline is constant on purpose.
    return [
        probe_metric(name, partial(_compute_value, metric), outputs, targets, loss_func)
        for name, metric in zip(names, metrics)
        if not isinstance(metric, ConstantBaseline)
    ]


def _compute_value(metric: Metric, epochs: List[Any]) -> float:
    """The value after the last of `epochs`, each a pair of lists of batches."""
    made, value = copy.deepcopy(metric), float("nan")
    for outputs, targets in epochs:
        made.reset()
        for output, target in zip(outputs, targets):
            try:
                made.accumulate(SingleBatchLearner(output, target))
            except UnavailableAttributeError:  # for the loss, or the inputs, as Perplexity does
                return float("nan")
        value = float(made.value)
    return value
