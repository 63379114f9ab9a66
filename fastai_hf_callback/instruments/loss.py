"""What a loss function expects, asked with stand-in outputs. Torch, and the core's stand-ins."""
import math
from typing import Any, Callable, Optional

import torch
from torch import Tensor

from ..evidence import LossShape
from ..metrics import constant_outputs
from .standins import stand_ins

__all__ = ["loss_shape"]

LossFunc = Callable[..., Any]


def loss_shape(loss_func: LossFunc, logits: Tensor, target: Any) -> LossShape:
    """Ask `loss_func` about outputs of the shape of `logits`, in ``no_grad``.

    Parameters
    ----------
    loss_func : callable
        Of ``(outputs, target)``; called about ten times.
    logits : Tensor
        The model's own outputs in eval mode.
    target : Tensor

    Returns
    -------
    LossShape
        Parts that cannot be asked are None.
    """
    with torch.no_grad():
        seen = LossShape(first=value_of(loss_func, logits, target))
        standing = stand_ins(logits.shape, target)
        if standing is None:
            return seen
        seen.constant = _constant(loss_func, logits, target)
        ideal, worst = standing.ideal, standing.worst
        seen.at_ideal, seen.at_worst = (value_of(loss_func, o.to(logits), target) for o in (ideal, worst))
        if standing.kind == "labels":
            # A loss of probabilities refuses -10 or calls it worse than 0; one of logits likes it better.
            near = (standing.ideal > 0).float() * 0.98 + 0.01
            modest = value_of(loss_func, near.to(logits), target)
            seen.takes_logits = _less(seen.at_ideal, modest)
            if seen.at_ideal is None:
                seen.at_ideal = modest
                seen.at_worst = value_of(loss_func, (1 - near).to(logits), target)
        if standing.kind == "classes":
            _ask_about_shifts(seen, loss_func, logits, target)
        _ask_about_targets(seen, loss_func, logits, target)
        return seen


def _ask_about_shifts(seen: LossShape, loss_func: LossFunc, logits: Tensor, target: Tensor) -> None:
    """What a number added to all outputs does: nothing under a softmax; a loss of log-probabilities falls with it."""
    noise = torch.linspace(-1, 1, logits.numel()).reshape(logits.shape).to(logits)
    one, other, third = (value_of(loss_func, noise + shift, target) for shift in (0.0, 3.0, 6.0))
    seen.shift_invariant = one is not None and other is not None and abs(one - other) < 1e-3 * (1 + abs(one))
    if one is not None and other is not None and third is not None:
        fall = one - other
        seen.falls_with_shift = fall > 1.0 and abs(other - third - fall) < 1e-3 * fall


def _ask_about_targets(seen: LossShape, loss_func: LossFunc, logits: Tensor, target: Tensor) -> None:
    """Whether the loss of fixed outputs changes when targets change places, and when they change at all."""
    turned = target.flip(0)
    if bool((turned == target).all()):
        return
    noise = _unrelated_outputs(logits, target)
    before = value_of(loss_func, noise, target)
    after, other = value_of(loss_func, noise, turned), value_of(loss_func, noise, _first_row_everywhere(target))
    if before is not None and after is not None and other is not None:
        seen.answers_to_order = abs(after - before) > 1e-6 * (1 + abs(before))
        seen.answers_to_targets = seen.answers_to_order or abs(other - before) > 1e-6 * (1 + abs(before))


def _unrelated_outputs(logits: Tensor, target: Tensor) -> Tensor:
    """Outputs at random: between 0 and 1, for losses of probabilities; of numbers as the targets lie, so that errors
    of both signs occur (an absolute error to one side sums up the same in any order)."""
    draw = torch.Generator().manual_seed(0)
    noise = 0.1 + 0.8 * torch.rand(logits.shape, generator=draw)
    if target.is_floating_point() and not bool(((target == 0) | (target == 1)).all()):
        values = target.detach().float().cpu()
        noise = values.mean() + 2 * values.std() * torch.randn(logits.shape, generator=draw)
    return noise.to(logits)


def _first_row_everywhere(target: Tensor) -> Tensor:
    return target[:1].expand_as(target).contiguous()


def value_of(loss_func: LossFunc, outputs: Tensor, target: Any) -> Optional[float]:
    """The loss as a float, or None where it raises or is not finite."""
    try:
        value = float(loss_func(outputs, target).detach().float().mean())
    except Exception:  # a loss that refuses these outputs has answered
        return None
    return value if math.isfinite(value) else None


def _constant(loss_func: LossFunc, logits: Tensor, target: Tensor) -> Optional[float]:
    width = logits.shape[-1] if logits.dim() > 1 else 1
    try:
        row = constant_outputs(target.detach().cpu(), width, lambda o, t: loss_func(o.to(logits), t.to(target.device)))
    except Exception:
        return None
    outputs = row.expand(logits.shape) if logits.dim() > 1 else row[0].expand(logits.shape)
    return value_of(loss_func, outputs.to(logits).contiguous(), target)


def _less(one: Optional[float], other: Optional[float]) -> Optional[bool]:
    if one is None:
        return False
    return None if other is None else one < other
