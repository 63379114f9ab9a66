"""Whether a loss pairs every row with its own target, or silently broadcasts. Imports torch only.

``(batch, 1)`` against ``(batch,)`` under a mean squared error compares every output with every
target; the loss still falls, to that of the mean, and the metric stands still.
"""
import copy
from typing import Any, Callable, Optional

import torch
from torch import Tensor

__all__ = ["broadcasts"]


def broadcasts(loss_func: Callable[..., Any], output: Any, target: Any) -> Optional[bool]:
    """Tell whether `loss_func` would broadcast `output` against `target`.

    Not read from the shapes, which are legitimate under a loss that flattens, but measured: a loss
    broadcasts if spelling the broadcast out does not change its value, and other targets do.

    Parameters
    ----------
    loss_func : callable
        Called three times on a copy of itself and on stand-in outputs, under ``no_grad``.
    output : Tensor
        The unwrapped output; only its shape and dtype are used.
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
    if shape is None or _rows_stay_paired(output, target, shape):
        return False
    if output.shape[0] == 1 or bool((target == target.flatten()[0]).all()):
        return None
    # Distinct values inside (0, 1): valid as logits, as probabilities and as numbers.
    stand_in = torch.linspace(0.1, 0.9, output.numel(), device=output.device).to(output.dtype).view_as(output)
    try:
        with torch.no_grad():
            loss_func = copy.deepcopy(loss_func)
            as_given = loss_func(stand_in, target)
            spelled_out = loss_func(stand_in.expand(shape).contiguous(), target.expand(shape).contiguous())
            without_target = loss_func(stand_in, target.flatten()[0].expand(target.shape).contiguous())
        return _same(as_given, spelled_out) and not _same(as_given, without_target)
    except Exception:  # a loss that refuses these shapes says so itself, in its own words
        return False


def _broadcast_shape(output: Tensor, target: Tensor):
    if output.shape == target.shape or output.dim() == 0 or target.dim() == 0:
        return None
    try:
        one = torch.empty(1)
        return torch.broadcast_tensors(one.expand(output.shape), one.expand(target.shape))[0].shape
    except RuntimeError:
        return None


def _rows_stay_paired(output: Tensor, target: Tensor, shape) -> bool:
    return output.dim() == target.dim() and shape == output.shape


def _same(a: Any, b: Any) -> bool:
    a, b = torch.as_tensor(a).float(), torch.as_tensor(b).float()
    return a.shape == b.shape and bool(torch.allclose(a, b, rtol=1e-5, atol=1e-7))
