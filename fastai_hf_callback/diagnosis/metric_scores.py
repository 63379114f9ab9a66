"""A learner's metrics on real outputs and on synthetic ones."""

from typing import Any, List, Sequence

from torch import Tensor

from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.metric_evidence import MetricEvidence

from .learner_adapter import LearnerAdapter
from .probe_runner import DoesNotApplyError, NotMadeError
from .probes.metrics import probe_metric

__all__ = ["probe_metrics", "require_scores"]


def probe_metrics(
    adapter: LearnerAdapter,
    metrics: Sequence[Any],
    outputs: List[Tensor],
    targets: List[Tensor],
    evidence: Evidence,
) -> List[MetricEvidence]:
    """Compute each metric on real outputs and on synthetic ones; those that read no batch are left out.

    What the loss leaves out, and whether the outputs are probabilities, is in the `evidence` so far.
    """
    loss_func, named = adapter.learn.loss_func, adapter.list_metric_functions(metrics)
    if not named:
        raise DoesNotApplyError("none of the learner's metrics reads predictions")
    left_out = None if evidence.pairing is None else evidence.pairing.left_out
    bounded = evidence.outputs is not None and evidence.outputs.bounded
    return [probe_metric(name, compute, outputs, targets, loss_func, left_out, bounded) for name, compute in named]


def require_scores(metrics: Sequence[MetricEvidence]) -> None:
    """Raise where a metric has no value on the targets that were read, and may have one on others."""
    for metric in metrics:
        if metric.not_scored:
            raise NotMadeError(
                f"{metric.name} has no value on {metric.rows} of the validation rows: {metric.not_scored}",
                "diagnose(learn, batches=100) reads more of them",
            )
