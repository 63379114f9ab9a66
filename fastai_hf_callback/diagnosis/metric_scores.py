"""A learner's metrics on real outputs and on synthetic ones."""

from typing import Any, List, Sequence

from torch import Tensor

from fastai_hf_callback.results.evidence import MetricEvidence

from .learner_adapter import LearnerAdapter
from .probe_runner import NotMadeError
from .probes.metrics import probe_metric

__all__ = ["probe_metrics", "require_scores"]


def probe_metrics(
    adapter: LearnerAdapter, metrics: Sequence[Any], outputs: List[Tensor], targets: List[Tensor]
) -> List[MetricEvidence]:
    """Compute each metric on real outputs and on synthetic ones."""
    loss_func, named = adapter.learn.loss_func, adapter.list_metric_functions(metrics)
    return [probe_metric(name, compute, outputs, targets, loss_func) for name, compute in named]


def require_scores(metrics: Sequence[MetricEvidence]) -> None:
    """Raise where a metric has no value on the targets that were read, and may have one on others."""
    for metric in metrics:
        if metric.not_scored:
            raise NotMadeError(
                f"{metric.name} has no value on {metric.rows} of the validation rows: {metric.not_scored}",
                "diagnose(learn, batches=100) reads more of them",
            )
