"""Which output a loss compares with which target: found by changing either, and by its gradient. Imports torch."""

import math
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Sequence

import torch
from torch import Tensor

from fastai_hf_callback.diagnosis.probes.batches import map_tensors
from fastai_hf_callback.diagnosis.probes.synthetic_outputs import AHEAD, roll_targets
from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.results.pairing import Pairing

__all__ = ["TokenLoss", "probe_target_use", "probe_token_loss"]

LossFunc = Callable[..., Any]
MAX_ELEMENTS = 4_000_000  # of the outputs that are tried; a vocabulary may have 250,000 words
AGREEMENT = 0.9  # of the positions: a weight of 0 or label smoothing leaves the rest
MIN_POSITIONS = 8


class TokenLoss(NamedTuple):
    """What a loss of a target for each token does.

    Attributes
    ----------
    ahead : int
        The output at a position is compared with the target so many positions on.
    counts : Tensor
        Bool, of the shape of the targets that were tried: whether each has a part in the loss.
    targets : Tensor
        Int64, (rows, width): these targets.
    """

    ahead: int
    counts: Tensor
    targets: Tensor


# -- does it read the targets at all? ------------------------------------------------------------------------------


def probe_target_use(pairing: Pairing, loss_func: LossFunc, output: Any, targets: Sequence[Any]) -> None:
    """Find whether the loss reads its targets, and whether it reads the places of the outputs' rows instead.

    Parameters
    ----------
    pairing : Pairing
        Written to.
    loss_func : callable
    output : any
        As it reached the loss: a tensor, or a container of tensors.
    targets : sequence
        The batch's targets.
    """
    pairing.holds_loss = not isinstance(output, Tensor) and any(not t.dim() for t in tensors_in(output))
    with torch.no_grad():
        pairing.reads_targets = _reads(loss_func, output, targets)
        if pairing.reads_targets is False:  # outputs that are all alike cost the same whatever the targets
            varied = map_tensors(output, _add_noise) if isinstance(output, (Tensor, tuple, list)) else output
            pairing.reads_targets = _reads(loss_func, varied, targets)
            changes = _differs(_compute(loss_func, varied, targets), _compute(loss_func, _roll_rows(varied), targets))
            pairing.reads_rows = changes


def _reads(loss_func: LossFunc, output: Any, targets: Sequence[Any]) -> Optional[bool]:
    before = _compute(loss_func, output, targets)
    known = [_differs(before, _compute(loss_func, output, other)) for other in _other_targets(targets)]
    known = [one for one in known if one is not None]
    return any(known) if known else None


def _other_targets(targets: Sequence[Any]) -> Iterator[List[Any]]:
    yield [map_tensors(one, lambda t: t.flip(0) if t.dim() else t) for one in targets]
    for step in (1, -1):
        yield [map_tensors(one, lambda t, by=step: _step(t, by)) for one in targets]


def _step(target: Tensor, by: int) -> Tensor:
    """Change every target, those that are left out aside; a class becomes its neighbour."""
    if target.dtype == torch.bool:
        return ~target
    if target.is_floating_point():
        binary = bool(((target == 0) | (target == 1)).all())
        return 1 - target if binary else target + by
    return torch.where(target >= 0, (target + by).abs(), target)


def _add_noise(output: Tensor) -> Tensor:
    if not output.is_floating_point() or not output.dim():
        return output
    generator = torch.Generator().manual_seed(0)
    return output + torch.rand(output.shape, generator=generator).to(output)


def _roll_rows(output: Any) -> Any:
    """Move the rows of the first tensor that has any."""
    if isinstance(output, Tensor):
        return output.roll(1, 0) if output.dim() else output
    if isinstance(output, (list, tuple)) and output:
        return type(output)([_roll_rows(output[0]), *output[1:]]) if not hasattr(output, "_fields") else output
    return output


def _compute(loss_func: LossFunc, output: Any, targets: Sequence[Any]) -> Optional[float]:
    try:
        value = float(loss_func(output, *targets).detach().float().mean())
    except Exception:  # that it refuses these is a result
        return None
    return value if math.isfinite(value) else None


def _differs(one: Optional[float], other: Optional[float]) -> Optional[bool]:
    return None if one is None or other is None else abs(one - other) > 1e-6 * (1 + abs(one))


# -- with a target for each token ------------------------------------------------------------------------------------


def probe_token_loss(loss_func: LossFunc, logits: Tensor, target: Tensor) -> Optional[TokenLoss]:
    """Find how far a loss looks ahead, and which targets count, from its gradient by random outputs.

    Parameters
    ----------
    loss_func : callable
    logits : Tensor, (rows, width, classes)
        The model's own, for their shape, dtype and device.
    target : Tensor, int64 (rows, width)

    Returns
    -------
    TokenLoss or None
        None where it is no loss of classes by token, or where its targets are too few to tell.
    """
    if logits.dim() != 3 or target.dim() != 2 or target.is_floating_point() or logits.shape[:2] != target.shape:
        return None
    rows = max(1, min(len(logits), MAX_ELEMENTS // max(1, logits[0].numel())))
    target, known = target[:rows], target[target >= 0].unique()
    if len(known) < 2 or int(known.max()) >= logits.shape[-1]:
        return None
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(logits[:rows].shape, generator=generator).to(logits)
    drawn = known[torch.randint(len(known), target.shape, generator=generator).to(known.device)]
    drawn = torch.where(target >= 0, drawn, target)
    gradient = _gradient(loss_func, outputs, drawn)
    of_batch = _gradient(loss_func, outputs, target)
    if gradient is None or of_batch is None:
        return None
    ahead = _find_ahead(gradient, drawn)
    if ahead is None:
        return None
    counts = roll_targets((of_batch.abs().sum(-1) > 0).long(), -ahead) > 0
    return TokenLoss(ahead, counts, target)


def _gradient(loss_func: LossFunc, outputs: Tensor, target: Tensor) -> Optional[Tensor]:
    leaf = outputs.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            loss = loss_func(leaf, target)
            (found,) = torch.autograd.grad(loss.sum(), leaf)
    except Exception:  # no loss that can be trained with, or none of a tensor
        return None
    return found.float()


def _find_ahead(gradient: Tensor, target: Tensor) -> Optional[int]:
    """Find how far ahead the class stands whose output would have to grow (or to fall, where the sign is turned)."""
    counted = gradient.abs().sum(-1) > 0
    for wanted in (gradient.argmin(-1), gradient.argmax(-1)):
        for ahead in AHEAD:
            rolled = roll_targets(target, ahead)
            asked = counted & (rolled >= 0)
            if int(asked.sum()) >= MIN_POSITIONS and float((wanted == rolled)[asked].float().mean()) >= AGREEMENT:
                return ahead
    return None
