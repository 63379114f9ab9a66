"""The result of a learner's evaluation, and what a constant predictor would have scored. Imports torch.

``evaluate`` in ``fastai1/comparison/recorder.py`` and ``fastai2/comparison/recorder.py`` does the evaluation.
"""

import math
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

import torch
from torch import Tensor, nn

from fastai_hf_callback.model.metrics import build_single_class_outputs, compute_constant_output
from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.results.trace import Epoch

__all__ = [
    "Evaluation",
    "OutputStore",
    "compute_base_rates",
    "expand_row",
    "compute_grad_norm",
    "compute_constant_prediction_scores",
    "make_unique_names",
]


class Evaluation(NamedTuple):
    """One pass over the validation set: the epoch's figures, and each batch's raw output and target."""

    epoch: Epoch
    outputs: List[Any]
    targets: List[Any]


class OutputStore:
    """Each batch's raw output and target, on the CPU: a tensor where there is one, else a list."""

    def __init__(self) -> None:
        self.outputs: List[Any] = []
        self.targets: List[Any] = []

    def add(self, output: Any, target: Any) -> None:
        """Keep a batch."""
        for part, kept in ((output, self.outputs), (target, self.targets)):
            tensors = [t.detach().cpu() for t in tensors_in(part)]
            kept.append(tensors[0] if len(tensors) == 1 else tensors)


def compute_base_rates(
    evaluation: Evaluation, loss_func: Callable[..., Any], score: Callable[[Tensor], Dict[str, float]]
) -> Dict[str, float]:
    """Compute what the best constant output scores on the validation set: base rates, as in ``ConstantBaseline``.

    Parameters
    ----------
    evaluation : Evaluation
    loss_func : callable
        Of output and target.
    score : callable
        From the constant row to the metrics' values by name, as this fastai computes them.

    Returns
    -------
    dict of str to float
        By metric name, and ``valid_loss``; empty where outputs or targets are not single tensors.
    """
    outputs, targets = evaluation.outputs, evaluation.targets
    if not outputs or not all(isinstance(t, Tensor) for t in outputs + targets) or outputs[0].dim() == 0:
        return {}
    width = outputs[0].shape[-1] if outputs[0].dim() > 1 else 1
    try:
        row = compute_constant_output(torch.cat([t.flatten() if t.dim() > 2 else t for t in targets]), width, loss_func)
        losses = [float(loss_func(expand_row(row, o).contiguous(), t)) for o, t in zip(outputs, targets)]
        loss = sum(value * len(t) for value, t in zip(losses, targets)) / sum(len(t) for t in targets)
        return {"valid_loss": loss, **score(row)}
    except Exception:  # a metric or loss that cannot be computed this way has no base rate to show
        return {}


def compute_constant_prediction_scores(
    evaluation: Evaluation, score: Callable[[Tensor], Dict[str, float]]
) -> Dict[str, List[float]]:
    """Compute the scores of models that give every text the same answer; `score` as in :func:`compute_base_rates`.

    Returns
    -------
    dict of str to list of float
        By metric name, a value for each answer; empty where there is none, or where it cannot be computed.
    """
    outputs, targets = evaluation.outputs, evaluation.targets
    if not outputs or not all(isinstance(t, Tensor) for t in outputs + targets) or outputs[0].dim() == 0:
        return {}
    width = outputs[0].shape[-1] if outputs[0].dim() > 1 else 1
    try:
        rows = build_single_class_outputs(torch.cat([t.flatten() if t.dim() > 2 else t for t in targets]), width)
        found = [score(row) for row in rows]
    except Exception:  # a metric that cannot be computed this way
        return {}
    return {name: [scores[name] for scores in found] for name in (found[0] if found else ())}


def expand_row(row: Tensor, output: Tensor) -> Tensor:
    """Repeat `row` to the shape and dtype of `output`."""
    constant = row.expand(output.shape) if output.dim() > 1 else row[0].expand(output.shape)
    return constant.to(output.dtype)


def compute_grad_norm(model: nn.Module) -> float:
    """Compute the 2-norm over all parameters' gradients, summed in float64; NaN where one is not finite."""
    squares = [float(p.grad.detach().double().pow(2).sum()) for p in model.parameters() if p.grad is not None]
    return math.sqrt(math.fsum(squares)) if all(map(math.isfinite, squares)) else math.nan


def make_unique_names(names: Sequence[str]) -> List[str]:
    """Make the names unique: number those that occur more than once."""
    found: List[str] = []
    for name in names:
        taken = sum(n == name or n.startswith(f"{name}_") for n in found)
        found.append(f"{name}_{taken + 1}" if name in found else name)
    return found
