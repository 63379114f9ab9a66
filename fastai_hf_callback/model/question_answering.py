"""Spans of answers: a question answering model's two outputs as one tensor, and its metrics.

Imports torch and numpy. One tensor, because both fastais put predictions together, keep and compare single tensors.
"""

from typing import Any, Tuple

import numpy as np
import torch
from torch import Tensor

from fastai_hf_callback.errors import InvalidInputError, OutputError

from .output import describe, unwrap

__all__ = ["best_spans", "stack_logits", "stack_targets", "span_logits", "span_exact_match", "span_f1"]

LOGIT_NAMES = ("start_logits", "end_logits")


def span_logits(output: Any) -> Tensor:
    """Stack both outputs of a ``...ForQuestionAnswering`` model: write ``HFCallback(element=span_logits)``.

    Parameters
    ----------
    output : mapping (``ModelOutput`` included), tuple or list
        With ``start_logits`` and ``end_logits``; without names, the first two tensors of ``(rows, width)``.

    Returns
    -------
    Tensor, float, (rows, 2, width)
        Where the answer begins, and where it ends. fastai's flattened cross entropy takes it against targets
        ``(rows, 2)``, and so does ``SpanLoss``.

    Raises
    ------
    OutputError
        When `output` does not have both.
    """
    if hasattr(output, "keys") and all(output.get(name) is not None for name in LOGIT_NAMES):
        return torch.stack(list(unwrap(output, LOGIT_NAMES)), 1)
    found = (
        [part for part in output if isinstance(part, Tensor) and part.dim() == 2]
        if isinstance(output, (tuple, list))
        else []
    )
    if len(found) < 2:
        raise OutputError(
            f"The model returned {describe(output)}; expected start_logits and end_logits, both (rows, "
            f"width), as a model ...ForQuestionAnswering returns them.",
            "no-tensor-in-output",
        )
    return torch.stack(found[:2], 1)


def best_spans(scores: Any) -> Tensor:
    """Find the most probable span of each row that does not end before it begins.

    Parameters
    ----------
    scores : Tensor, float, (rows, 2, width), or a pair of (rows, width)
        Logits, or logarithms of probabilities.

    Returns
    -------
    Tensor, int64, (rows, 2)
        Positions of the first and the last token, both included.
    """
    scores = stack_logits(scores).detach().float().cpu()
    begins, ends = scores[:, 0].numpy(), scores[:, 1].numpy()
    last = (np.maximum.accumulate(begins, axis=1) + ends).argmax(1)
    later = np.arange(begins.shape[1])[None] > last[:, None]
    first = np.where(later, -np.inf, begins).argmax(1)
    return torch.from_numpy(np.stack([first, last], axis=1))


def span_exact_match(outputs: Any, *targets: Tensor) -> Tensor:
    """Compute the share of rows whose span is predicted to the token (exact match); a metric.

    Parameters
    ----------
    outputs : Tensor, float, (rows, 2, width), or a pair of (rows, width)
        Logits.
    *targets : Tensor, int64, (rows, 2), or two of (rows,)
        First and last token; a row that has none (-100, an answer that was cut off) counts as missed.

    Returns
    -------
    Tensor, float32, ()
    """
    spans = stack_targets(targets).cpu()
    return (best_spans(outputs) == spans).all(1).float().mean()


def span_f1(outputs: Any, *targets: Tensor) -> Tensor:
    """Compute how much of the predicted spans and the right ones is common, in tokens (F1), over rows; a metric.

    Parameters
    ----------
    outputs, *targets
        As of ``span_exact_match``.

    Returns
    -------
    Tensor, float32, ()
    """
    spans, found = stack_targets(targets).cpu(), best_spans(outputs)
    common = (torch.min(spans[:, 1], found[:, 1]) - torch.max(spans[:, 0], found[:, 0]) + 1).clamp(min=0)
    both = spans[:, 1] - spans[:, 0] + found[:, 1] - found[:, 0] + 2
    return (2 * common.float() / both.float()).mean()


def stack_logits(outputs: Any) -> Tensor:
    """Stack a pair of outputs to one tensor; return one tensor as it is."""
    if isinstance(outputs, (tuple, list)) and len(outputs) == 2:
        outputs = torch.stack(tuple(outputs), 1)
    if not isinstance(outputs, Tensor) or outputs.dim() != 3 or outputs.shape[1] != 2:
        raise InvalidInputError(
            f"{describe(outputs)} was given for the outputs of a span; expected float (rows, 2, "
            f"width), or two of (rows, width): write HFCallback(element=span_logits)"
        )
    return outputs


def stack_targets(targets: Tuple[Tensor, ...]) -> Tensor:
    """Return first and last token of each row, int64, ``(rows, 2)``, given as that or as two of ``(rows,)``."""
    target = targets[0] if len(targets) == 1 else torch.stack(targets, 1) if len(targets) == 2 else None
    if target is None or target.dim() != 2 or target.shape[1] != 2:
        raise InvalidInputError(
            f"{describe(targets)} was given for the targets of a span; expected int64 (rows, 2), the "
            f"first and the last token of each answer, or two of (rows,)"
        )
    return target
