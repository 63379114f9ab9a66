"""What a loss function expects, found with synthetic outputs. Imports torch."""

import math
from typing import Any, Callable, Iterator, List, Optional, Tuple

import torch
from torch import Tensor

from fastai_hf_callback.errors import OutputError
from fastai_hf_callback.model.metrics import compute_constant_output
from fastai_hf_callback.results.evidence import LossBehavior
from fastai_hf_callback.utils.rng import preserve_rng_state

from .batches import name_type
from .synthetic_outputs import (
    SyntheticOutputs,
    as_probabilities,
    build_synthetic_outputs,
    find_class_axis,
    fit_targets,
    repeat_row,
    roll_targets,
)

__all__ = ["find_loss_type", "measure_target_costs", "probe_all_targets", "probe_loss", "require_tensor_loss"]

LossFunc = Callable[..., Any]
TargetCost = Tuple[str, float, Optional[float]]
MAX_COLUMNS = 20
# A weight that somebody chose may be a hundredth, or a thousandth; below this the target has no weight.
NEGLIGIBLE_SHARE = 1e-5


def probe_loss(loss_func: LossFunc, logits: Tensor, target: Any, ahead: int = 0) -> LossBehavior:
    """Evaluate `loss_func` on outputs of the shape of `logits`, in ``no_grad``.

    Parameters
    ----------
    loss_func : callable
        Of ``(outputs, target)``; called about ten times.
    logits : Tensor
        The model's own outputs in eval mode.
    target : Tensor
    ahead : int
        With a target for each token: it is compared with the output so many positions before it.

    Returns
    -------
    LossBehavior
        Parts that cannot be evaluated are None.
    """
    with torch.no_grad():
        evidence = LossBehavior(first=compute_loss(loss_func, logits, target))
        if logits.dim() == 0:
            evidence.returns_output = _returns_output(loss_func, logits, target)
        synthetic = build_synthetic_outputs(logits.shape, roll_targets(target, ahead))
        if synthetic is None:
            return evidence
        evidence.constant = _constant_loss(loss_func, logits, target)
        ideal, worst = synthetic.ideal, synthetic.worst
        evidence.at_ideal, evidence.at_worst = (compute_loss(loss_func, o.to(logits), target) for o in (ideal, worst))
        if synthetic.kind == "labels":
            # A loss of probabilities raises for -10 or is higher than for 0; one of logits is lower.
            near = as_probabilities(synthetic.ideal)
            modest = compute_loss(loss_func, near.to(logits), target)
            evidence.takes_logits = _is_less(evidence.at_ideal, modest)
            if evidence.at_ideal is None:
                evidence.at_ideal = modest
                evidence.at_worst = compute_loss(loss_func, (1 - near).to(logits), target)
        if synthetic.kind == "classes":
            _probe_shifts(evidence, loss_func, logits, target)
        if find_class_axis(logits.shape, target) == 1:
            evidence.shift_invariant_by_place = _probe_shifts_by_place(loss_func, logits, target)
        _probe_targets(evidence, loss_func, logits, target)
        evidence.growth_with_rows = _probe_growth(loss_func, logits, target)
        return evidence


def probe_all_targets(evidence: LossBehavior, loss_func: LossFunc, logits: Tensor, target: Tensor) -> None:
    """Add ``constant_all_targets`` and ``ignored_targets``, from more targets than `logits` has rows."""
    outputs = logits[:1].expand(len(target), *logits.shape[1:]) if logits.dim() else logits
    with torch.no_grad():
        evidence.constant_all_targets = _constant_loss(loss_func, outputs, target)
    costs = measure_target_costs(loss_func, logits, target)
    evidence.ignored_targets = find_ignored_targets(costs)
    evidence.target_costs = [(name, share, cost) for name, share, cost in costs if cost is not None]


def find_ignored_targets(costs: List[TargetCost]) -> List[str]:
    """Name the targets whose wrong predictions do not change the loss, while others do.

    The loss has to grow, by row, by more than a hundred-thousandth of what it grows where that costs most.
    """
    most = max((cost for _, _, cost in costs if cost is not None), default=0.0)
    return [name for name, _, cost in costs if cost is not None and most > 0 and abs(cost) <= NEGLIGIBLE_SHARE * most]


def measure_target_costs(loss_func: LossFunc, logits: Tensor, target: Tensor) -> List[TargetCost]:
    """Measure what wrong predictions of each target cost: right outputs are made wrong where it is the target.

    Parameters
    ----------
    loss_func : callable
        Of ``(outputs, target)``; called once for each class or label, and once for right outputs.
    logits : Tensor, (n, width)
        The model's own outputs, for their width, dtype and device.
    target : Tensor, (m,) of classes or (m, width) of 0 and 1
        Of all available rows; a target for each token is not supported.

    Returns
    -------
    list of (str, float, float or None)
        A class, or 0 or 1 in a label column; its share of the outputs; what the loss grows by, over that share.
    """
    shape = (len(target), *logits.shape[1:])
    synthetic = build_synthetic_outputs(shape, target) if target.dim() <= 2 and len(shape) <= 2 else None
    if synthetic is None or synthetic.kind == "number":
        return []
    with torch.no_grad():
        right = compute_loss(loss_func, synthetic.ideal.to(logits), target)
        if synthetic.kind == "labels":
            near = SyntheticOutputs(
                synthetic.kind, as_probabilities(synthetic.ideal), as_probabilities(synthetic.worst)
            )
            as_near = compute_loss(loss_func, near.ideal.to(logits), target)
            if right is None or as_near is not None and as_near < right:  # a loss of probabilities, or of distances
                synthetic, right = near, as_near
        if right is None:
            return []
        costs: List[TargetCost] = []
        for name, where in _target_masks(synthetic, target.detach().cpu()):
            wrong = compute_loss(loss_func, torch.where(where, synthetic.worst, synthetic.ideal).to(logits), target)
            share = float(where.float().mean())
            costs.append((name, share, None if wrong is None else (wrong - right) / share))
    return costs


def _target_masks(synthetic: SyntheticOutputs, target: Tensor) -> Iterator[Tuple[str, Tensor]]:
    """Yield names, and masks of the outputs' shape."""
    shape = synthetic.ideal.shape
    if synthetic.kind == "classes":
        for kind in target[target >= 0].unique()[:MAX_COLUMNS].tolist():
            yield f"class {kind}", (target == kind).reshape(-1, 1).expand(shape)
        return
    values = target.float().reshape(shape[0], -1)
    columns = values.shape[1]
    for at in range(min(columns, MAX_COLUMNS)):
        for value in values[:, at].unique().tolist():
            where = torch.zeros(values.shape, dtype=torch.bool)
            where[:, at] = values[:, at] == value
            yield f"{value:.0f}{f' in label column {at}' if columns > 1 else ''}", where.reshape(shape)


def _probe_shifts_by_place(loss_func: LossFunc, logits: Tensor, target: Tensor) -> Optional[bool]:
    """Add another number at each pixel, the same to all its classes: a softmax over the classes does not notice."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(logits.shape, generator=generator)
    shifts = 3 * torch.randn((len(outputs), 1, *logits.shape[2:]), generator=generator)
    one, other = (compute_loss(loss_func, o.to(logits), target) for o in (outputs, outputs + shifts))
    return None if one is None or other is None else abs(one - other) < 1e-3 * (1 + abs(one))


def _probe_shifts(evidence: LossBehavior, loss_func: LossFunc, logits: Tensor, target: Tensor) -> None:
    """Add a number to all outputs: a softmax does not notice; a loss of log-probabilities falls with it."""
    noise = torch.linspace(-1, 1, logits.numel()).reshape(logits.shape).to(logits)
    one, other, third = (compute_loss(loss_func, noise + shift, target) for shift in (0.0, 3.0, 6.0))
    evidence.shift_invariant = one is not None and other is not None and abs(one - other) < 1e-3 * (1 + abs(one))
    if one is not None and other is not None and third is not None:
        fall = one - other
        evidence.falls_with_shift = fall > 1.0 and abs(other - third - fall) < 1e-3 * fall


def _probe_targets(evidence: LossBehavior, loss_func: LossFunc, logits: Tensor, target: Tensor) -> None:
    """Probe whether the loss of fixed outputs changes when targets are permuted, and when they change at all."""
    turned = target.flip(0)
    if bool((turned == target).all()):
        return
    noise = _random_outputs(logits, target)
    before = compute_loss(loss_func, noise, target)
    after, other = compute_loss(loss_func, noise, turned), compute_loss(loss_func, noise, _repeat_first_row(target))
    if before is not None and after is not None and other is not None:
        evidence.depends_on_order = abs(after - before) > 1e-6 * (1 + abs(before))
        evidence.depends_on_targets = evidence.depends_on_order or abs(other - before) > 1e-6 * (1 + abs(before))


def _probe_growth(loss_func: LossFunc, logits: Tensor, target: Tensor) -> Optional[float]:
    """Compute the loss of the same rows twice over that of them once."""
    if not logits.dim() or len(logits) != len(target):
        return None
    noise = _random_outputs(logits, target)
    once = compute_loss(loss_func, noise, target)
    twice = compute_loss(loss_func, torch.cat([noise, noise]), torch.cat([target, target]))
    return None if not once or twice is None else twice / once


def _random_outputs(logits: Tensor, target: Tensor) -> Tensor:
    """Draw random outputs: between 0 and 1, for losses of probabilities; for numbers, distributed as the targets.

    Errors of both signs then occur (absolute errors of one sign have the same sum in any order).
    """
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 + 0.8 * torch.rand(logits.shape, generator=generator)
    if target.is_floating_point() and not bool(((target == 0) | (target == 1)).all()):
        values = target.detach().float().cpu()
        noise = values.mean() + 2 * values.std() * torch.randn(logits.shape, generator=generator)
    return noise.to(logits)


def _repeat_first_row(target: Tensor) -> Tensor:
    return target[:1].expand_as(target).contiguous()


def find_loss_type(loss_func: LossFunc, outputs: Tensor, target: Any) -> Optional[str]:
    """Name the type of what the loss function returns, and the types inside; None for a tensor, or where it raises."""
    try:
        with torch.no_grad():
            loss = loss_func(outputs, target)
    except Exception:  # the loop raises it, too
        return None
    return None if isinstance(loss, Tensor) else name_type(loss)


def require_tensor_loss(loss_func: LossFunc, logits: Tensor, target: Any) -> None:
    """Raise where the loss function returns anything but a tensor; fastai's own error names the output."""
    with preserve_rng_state():
        given = find_loss_type(loss_func, logits, target)
    if given is not None:
        raise OutputError(
            f"loss_func returned {given}; expected one tensor, to call backward() on. Write "
            f"loss_func=lambda output, target: parts(output, target)['loss'], or whatever names the tensor",
            "loss-not-a-tensor",
        )


def compute_loss(loss_func: LossFunc, outputs: Tensor, target: Any) -> Optional[float]:
    """Compute the loss as a float, or None where it raises or is not finite."""
    try:
        value = float(loss_func(outputs, target).detach().float().mean())
    except Exception:  # that the loss refuses these outputs is a result
        return None
    return value if math.isfinite(value) else None


def _constant_loss(loss_func: LossFunc, logits: Tensor, target: Tensor) -> Optional[float]:
    if find_class_axis(logits.shape, target) == 1:
        return compute_loss(loss_func, _constant_picture(logits, target), target)
    width = logits.shape[-1] if logits.dim() > 1 else 1
    try:
        row = compute_constant_output(
            target.detach().cpu(), width, lambda o, t: loss_func(o.to(logits), t.to(target.device))
        )
    except Exception:
        return None
    return compute_loss(loss_func, repeat_row(row, logits), target)


def _constant_picture(logits: Tensor, target: Tensor) -> Tensor:
    row = compute_constant_output(fit_targets(target, logits.shape), logits.shape[1])
    return repeat_row(row, logits, 1)


def _returns_output(loss_func: LossFunc, loss: Tensor, target: Any) -> bool:
    """Return whether `loss_func` hands on the loss that it is given, whatever the targets."""
    losses = [loss, loss + 1, -loss - 2]
    others = (
        target.flip(0) + 1 if isinstance(target, Tensor) and target.dim() and target.dtype != torch.bool else target
    )
    given = [compute_loss(loss_func, one, t) for one in losses for t in (target, others)]
    wanted = [float(one) for one in losses for _ in range(2)]
    return all(a is not None and abs(a - b) <= 1e-5 * (1 + abs(b)) for a, b in zip(given, wanted))


def _is_less(one: Optional[float], other: Optional[float]) -> Optional[bool]:
    if one is None:
        return False
    return None if other is None else one < other
