"""Whether a loss pairs every row with its own target, or silently broadcasts. Imports torch only.

``(batch, 1)`` against ``(batch,)`` under a mean squared error compares every output with every
target; the loss still falls, to that of the mean, and the metric stands still.
"""
import copy
from functools import partial
from typing import Any, Callable, Optional

import torch
from torch import Tensor

__all__ = ["broadcasts"]


def broadcasts(loss_func: Callable[..., Any], output: Any, target: Any) -> Optional[bool]:
    """Tell whether `loss_func` would broadcast `output` against `target`.

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
    if not (isinstance(output, Tensor) and isinstance(target, Tensor)):
        return False
    shape = _broadcast_shape(output, target)
    if shape is None:
        return False
    rows_aligned = output.dim() == target.dim()
    if rows_aligned and shape == output.shape:  # at most the target is repeated, each within its own row
        return False
    if output.shape[0] == 1 or bool((target == target.flatten()[0]).all()):
        return None
    try:
        with torch.no_grad():
            loss = partial(_value, copy.deepcopy(loss_func))
            return _reads_target(loss, output, target) and (
                _repeats_output(loss, output, target, shape) if rows_aligned else _ignores_order(loss, output, target))
    except Exception:  # a loss that refuses these shapes says so itself, in its own words
        return False


def _ignores_order(loss: Callable[..., Tensor], output: Tensor, target: Tensor) -> bool:
    rows = _stand_in(output)
    return all(_same(loss(rows, target), loss(moved, target)) for moved in (rows.roll(1, 0), rows.flip(0)))


def _repeats_output(loss: Callable[..., Tensor], output: Tensor, target: Tensor, shape: torch.Size) -> bool:
    rows = _stand_in(output)
    return _same(loss(rows, target), loss(rows.expand(shape).contiguous(), target))


def _reads_target(loss: Callable[..., Tensor], output: Tensor, target: Tensor) -> bool:
    one_value = target.flatten()[0].expand(target.shape).contiguous()
    return not _same(loss(_stand_in(output), target), loss(_stand_in(output), one_value))


def _stand_in(output: Tensor) -> Tensor:
    """Distinct, unevenly spaced values inside (0, 1): valid as logits, as probabilities and as numbers."""
    return torch.linspace(0.3, 0.95, output.numel(), device=output.device).pow(2).to(output.dtype).view(output.shape)


def _value(loss_func: Callable[..., Any], output: Tensor, target: Tensor) -> Tensor:
    return torch.as_tensor(loss_func(output, target)).float().sum()


def _same(a: Tensor, b: Tensor) -> bool:
    return bool(torch.allclose(a, b, rtol=1e-5, atol=1e-7))


def _broadcast_shape(output: Tensor, target: Tensor) -> Optional[torch.Size]:
    """The shape both would be broadcast to; None where they are equal, scalar, or do not fit."""
    if output.shape == target.shape or output.dim() == 0 or target.dim() == 0:
        return None
    try:
        one = torch.empty(1)
        return torch.broadcast_tensors(one.expand(output.shape), one.expand(target.shape))[0].shape
    except RuntimeError:
        return None
