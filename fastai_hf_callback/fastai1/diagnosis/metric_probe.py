"""fastai 1 metrics asked about real outputs and stand-ins; part of ``probe``."""

import copy
from functools import partial
from typing import Any, Callable, List

import torch
from torch import Tensor

from fastai_hf_callback.diagnosis.probes.metrics import probe_metric
from fastai_hf_callback.fastai1.comparison.recorder import metric_names
from fastai_hf_callback.fastai1.metrics import ConstantBaseline, build_metrics_handler
from fastai_hf_callback.results.evidence import MetricEvidence

__all__ = ["probe_metrics"]


def probe_metrics(
    metrics: List[Any], outputs: List[Tensor], targets: List[Tensor], loss_func: Callable
) -> List[MetricEvidence]:
    """Score real, right, contrary, random and constant outputs; metrics are copied first.

    Parameters
    ----------
    metrics : list
        The learner's: functions and callbacks.
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


def _compute_value(metric: Any, epochs: List[Any]) -> float:
    """The value after the last of `epochs`, each a pair of lists of batches."""
    handler = build_metrics_handler([copy.deepcopy(metric)])
    handler.on_train_begin(1, None, [])
    for outputs, targets in epochs:
        handler.on_epoch_begin()
        for output, target in zip(outputs, targets):
            handler.on_batch_begin(None, target, train=False)
            handler.on_loss_begin(output)
            handler.on_batch_end(torch.zeros(()))
        handler.on_epoch_end(0.0)
    return float(handler.state_dict["last_metrics"][1])
