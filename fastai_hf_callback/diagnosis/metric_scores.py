"""A learner's metrics on real outputs and on synthetic ones."""

from typing import Any, List, Optional, Sequence

from torch import Tensor

from fastai_hf_callback.results.metric_evidence import MetricEvidence
from fastai_hf_callback.results.pairing import Pairing

from .learner_adapter import LearnerAdapter
from .probe_runner import DoesNotApplyError, NotMadeError
from .probes.metrics import probe_metric

__all__ = ["probe_metrics", "require_scores"]


def probe_metrics(
    adapter: LearnerAdapter,
    metrics: Sequence[Any],
    outputs: List[Tensor],
    targets: List[Tensor],
    pairing: Optional[Pairing] = None,
) -> List[MetricEvidence]:
    """Compute each metric on real outputs and on synthetic ones; those that read no batch are left out."""
    loss_func, named = adapter.learn.loss_func, adapter.list_metric_functions(metrics)
    if not named:
        raise DoesNotApplyError("none of the learner's metrics reads predictions")
    left_out = None if pairing is None else pairing.left_out
    return [probe_metric(name, compute, outputs, targets, loss_func, left_out) for name, compute in named]


def require_scores(metrics: Sequence[MetricEvidence]) -> None:
    """Raise where a metric has no value on the targets that were read, and may have one on others."""
    for metric in metrics:
        if metric.not_scored:
            raise NotMadeError(
                f"{metric.name} has no value on {metric.rows} of the validation rows: {metric.not_scored}",
                "diagnose(learn, batches=100) reads more of them",
            )
