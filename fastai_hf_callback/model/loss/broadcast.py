"""The check whether a loss pairs each row with its own target, or silently broadcasts. Imports torch and ``rng``.

``(batch, 1)`` against ``(batch,)`` under a mean squared error compares every output with every
target; the loss still falls, to that of the mean, and the metric stands still.
"""

import copy
from functools import partial
from typing import Any, Callable, Iterator, Optional, Tuple

import torch
from torch import Tensor

from fastai_hf_callback.utils.rng import preserve_rng_state

__all__ = ["does_loss_broadcast"]


def does_loss_broadcast(loss_func: Optional[Callable[..., Any]], output: Any, target: Any) -> Optional[bool]:
    """Return whether `loss_func` would broadcast `output` against `target`.

    Not read from the shapes, which are legitimate under a loss that flattens, but measured on stand-in
    outputs: a loss that compares every row with every target does not notice when the outputs' rows
    change places, although it does notice other targets.

    Parameters
    ----------
    loss_func : callable
        Called a few times on a copy of itself, under ``no_grad``.
    output : Tensor
        The unwrapped output; only its shape, dtype and device are used.
    target : Tensor
        The batch's targets; not changed.

    Returns
    -------
    bool or None
        None when this batch cannot tell: a single row, or targets that are all the same.
    """
    if loss_func is None or not (isinstance(output, Tensor) and isinstance(target, Tensor)):
        return False
    shape = _broadcast_shape(output, target)
    if shape is None:
        return False
    rows_aligned = output.dim() == target.dim()
    if rows_aligned and shape == output.shape:  # at most the target is repeated, each within its own row
        return False
    if output.shape[0] <= 1 or not target.numel() or bool((target == target.flatten()[0]).all()):
        return None
    try:
        with torch.no_grad(), preserve_rng_state():
            loss = partial(_compute_loss, copy.deepcopy(loss_func))
            return _reads_target(loss, output, target) and (
                _repeats_output(loss, output, target, shape) if rows_aligned else _ignores_order(loss, output, target)
            )
    except Exception:  # a loss that refuses these shapes raises its own error when it is called
        return False


def _ignores_order(loss: Callable[..., Tensor], output: Tensor, target: Tensor) -> bool:
    return all(
        _is_close(loss(rows, target), loss(moved, target))
        for rows in _synthetic_outputs(output, target)
        for moved in (rows.roll(1, 0), rows.flip(0))
    )


def _repeats_output(loss: Callable[..., Tensor], output: Tensor, target: Tensor, shape: torch.Size) -> bool:
    return all(
        _is_close(loss(rows, target), loss(rows.expand(shape).contiguous(), target))
        for rows in _synthetic_outputs(output, target)
    )


def _reads_target(loss: Callable[..., Tensor], output: Tensor, target: Tensor) -> bool:
    rows = next(_synthetic_outputs(output, target))
    return any(
        not _is_close(loss(rows, target), loss(rows, torch.full_like(target, end))) for end in _value_range(target)
    )


def _synthetic_outputs(output: Tensor, target: Tensor) -> Iterator[Tensor]:
    """Make distinct outputs, irregular so that no sums agree by accident, strictly inside the targets' range.

    There every loss bends; outside, a mean absolute error is a straight line, on which rows may swap places unnoticed.
    """
    low, high = _value_range(target)
    count = torch.arange(1.0, output.numel() + 1, device=output.device, dtype=torch.float64)
    for ratio in (0.6180339887498949, 0.7548776662466927):
        inside = 0.05 + 0.9 * (count * ratio % 1) ** 1.5
        yield (low + (high - low) * inside).to(output.dtype).view(output.shape)


def _value_range(target: Tensor) -> Tuple[float, float]:
    numbers = target.double()
    return float(numbers.min()), float(numbers.max())


def _compute_loss(loss_func: Callable[..., Any], output: Tensor, target: Tensor) -> Tensor:
    return torch.as_tensor(loss_func(output, target)).float().sum()


def _is_close(a: Tensor, b: Tensor) -> bool:
    return bool(torch.allclose(a, b, rtol=1e-5, atol=1e-7))


def _broadcast_shape(output: Tensor, target: Tensor) -> Optional[torch.Size]:
    """Return the shape both would be broadcast to; None where they are equal, scalar, or do not fit."""
    if output.shape == target.shape or output.dim() == 0 or target.dim() == 0:
        return None
    try:
        one = torch.empty(1)
        return torch.broadcast_tensors(one.expand(output.shape), one.expand(target.shape))[0].shape
    except RuntimeError:
        return None
