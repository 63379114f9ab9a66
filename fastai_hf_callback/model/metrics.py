"""Metrics that fastai lacks: mean column-wise AUC, and the constant predictor behind the base rate.

Imports torch and scikit-learn. The fastai metrics made of these are in ``fastai1/metrics.py`` and
``fastai2/metrics.py``.
"""

import math
from typing import Any, Callable, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from fastai_hf_callback.errors import InvalidInputError

__all__ = [
    "accuracy_thresh",
    "mean_columnwise_auc",
    "compute_constant_output",
    "compute_constant_row",
    "score_best_constant",
    "build_single_class_outputs",
]

MAX_CLASSES = 20


def accuracy_thresh(outputs: Tensor, targets: Tensor, thresh: float = 0.5, sigmoid: bool = True) -> Tensor:
    """Compute the article's metric: the share of labels whose probability is on the right side of `thresh`.

    fastai's own compares with bytes, which torch has refused for bool and misread for some others since 1.2.

    Parameters
    ----------
    outputs : Tensor, float, (n, columns)
        Logits; probabilities where `sigmoid` is False.
    targets : Tensor, (n, columns)
        0 or 1, of any dtype.
    thresh : float
        A probability above it is a yes.
    sigmoid : bool
        Whether `outputs` are logits.

    Returns
    -------
    Tensor, float32, ()

    Notes
    -----
    With few yeses it is high for a predictor that never says yes: put ``ConstantBaseline(accuracy_thresh)`` next to it.
    """
    _check_columns("accuracy_thresh", outputs, targets)
    predicted = (outputs.sigmoid() if sigmoid else outputs) > thresh
    return (predicted == (targets.float() > 0)).float().mean()


def mean_columnwise_auc(outputs: Tensor, targets: Tensor) -> float:
    """Compute the mean of the columns' areas under the ROC curve, Jigsaw's measure.

    Parameters
    ----------
    outputs : Tensor, float, (n, columns)
        Logits or probabilities: only their order within a column counts.
    targets : Tensor, (n, columns) or, int64, (n,)
        0 or 1; or the class of each row, where a column is one class against the rest, by its softmax. Rows of a
        negative class do not count.

    Returns
    -------
    float
        Mean over the columns that hold both classes; NaN when none does. A constant predictor scores 0.5.
    """
    from sklearn.metrics import roc_auc_score

    if _has_class_targets(outputs, targets):
        outputs, targets = _one_vs_rest(outputs[targets >= 0], targets[targets >= 0])
    _check_columns("mean_columnwise_auc", outputs, targets)
    outputs, targets = outputs.detach().cpu().double(), targets.detach().cpu()
    both = [i for i in range(targets.shape[1]) if 0 < int((targets[:, i] > 0).sum()) < len(targets)]
    if not both or not bool(torch.isfinite(outputs).all()):
        return float("nan")
    areas = [roc_auc_score((targets[:, i] > 0).numpy(), outputs[:, i].numpy()) for i in both]
    return float(sum(areas) / len(areas))


def _has_class_targets(outputs: Tensor, targets: Tensor) -> bool:
    whole = not targets.is_floating_point() and targets.dtype != torch.bool
    return whole and outputs.dim() == 2 and outputs.shape[1] > 1 and targets.shape == outputs.shape[:1]


def _one_vs_rest(outputs: Tensor, classes: Tensor) -> Tuple[Tensor, Tensor]:
    return outputs.double().softmax(-1), torch.nn.functional.one_hot(classes, outputs.shape[1])


def _check_columns(metric: str, outputs: Tensor, targets: Tensor) -> None:
    if outputs.dim() != 2 or outputs.shape != targets.shape:
        raise InvalidInputError(
            f"{metric} was given outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)}; "
            f"expected both (rows, columns), as with several labels per text; for one class "
            f"per text write metrics=[accuracy]"
        )


def compute_constant_output(targets: Tensor, width: int, loss_func: Optional[Callable[..., Any]] = None) -> Tensor:
    """Compute the best constant output for `targets`: one row that a predictor without input would give.

    Parameters
    ----------
    targets : Tensor
        Classes (int64, any shape), 0/1 columns or numbers, ``(n,)`` or ``(n, columns)``.
    width : int
        Size of the model's last output dimension.
    loss_func : callable, optional
        The closed form (log frequencies, log odds, means) with the lowest loss is chosen.

    Returns
    -------
    Tensor, float32, (width,)
    """
    candidates = _closed_form_outputs(targets, width)
    if loss_func is None or len(candidates) == 1:
        return candidates[0]
    return min(candidates, key=lambda row: _compute_loss(row, targets, loss_func))


def score_best_constant(metric: Callable[..., Any], outputs: Tensor, targets: Tensor) -> float:
    """Compute `metric` of the best constant output, in place of `outputs`."""
    return float(metric(compute_constant_row([outputs], [targets]).expand_as(outputs), targets))


def compute_constant_row(outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Compute the best constant output for the targets of batches, as wide as their outputs.

    Parameters
    ----------
    outputs : sequence of Tensor, float, (rows, ..., width)
        Each batch's, for its shape.
    targets : sequence of Tensor
        Each batch's, as ``compute_constant_output`` takes them, or a class for each position.

    Returns
    -------
    Tensor, float32, (width,)
    """
    per_position = outputs[0].dim() > 2 and targets[0].shape == outputs[0].shape[:-1]
    every = torch.cat([target.flatten() if per_position else target for target in targets])
    return compute_constant_output(every, outputs[0].shape[-1])


def build_single_class_outputs(targets: Tensor, width: int) -> List[Tensor]:
    """Build the outputs of collapsed models, which predict one class for every text.

    Parameters
    ----------
    targets : Tensor
        Classes (int64, any shape) or 0/1 columns.
    width : int
        Size of the model's last output dimension.

    Returns
    -------
    list of Tensor, float32, (width,)
        One for each class that `targets` hold, the most frequent first and at most 20; all labels off, and all on;
        none for numbers.
    """
    if _are_class_targets(targets, width):
        classes, counts = torch.unique(targets[targets >= 0], return_counts=True)
        frequent = classes[counts.argsort(descending=True)][:MAX_CLASSES]
        return [10.0 * torch.nn.functional.one_hot(c, width).float() for c in frequent if int(c) < width]
    bits = bool(((targets == 0) | (targets == 1)).all())
    return [torch.full((width,), -10.0), torch.full((width,), 10.0)] if bits else []


def _are_class_targets(targets: Tensor, width: int) -> bool:
    return not targets.is_floating_point() and (targets.dim() == 1 or targets.shape[-1] != width) and width > 1


def _closed_form_outputs(targets: Tensor, width: int) -> List[Tensor]:
    tiny = 1e-6
    if _are_class_targets(targets, width):
        counts = torch.bincount(targets[targets >= 0], minlength=width)[:width].float()
        return [(counts / counts.sum()).clamp(min=tiny).log()]
    one_per_row = targets.dim() == 1 or targets.numel() % width
    columns = targets.float().reshape(-1, 1 if one_per_row else width)
    mean = columns.mean(0).expand(width).clone()
    if bool(((columns == 0) | (columns == 1)).all()):
        odds = mean.clamp(tiny, 1 - tiny)
        return [(odds / (1 - odds)).log(), mean]
    return [mean]


def _compute_loss(row: Tensor, targets: Tensor, loss_func: Callable[..., Any]) -> float:
    try:
        with torch.no_grad():
            shape = (len(targets), *row.shape) if targets.dim() > 1 or len(row) > 1 else targets.shape
            return float(loss_func(row.expand(shape).contiguous(), targets))
    except Exception:  # a loss that cannot be computed does not choose
        return math.inf
