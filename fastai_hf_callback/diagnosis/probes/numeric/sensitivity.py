"""Sensitivity of the outputs to inputs that are numbers. Imports torch."""

from typing import Any, Callable, Optional

from torch import Tensor, nn

from fastai_hf_callback.diagnosis.probes.sensitivity import changed_weights, make_noise

__all__ = ["measure_answer", "measure_answer_if_scaled", "measure_answer_with_noise"]

# From a batch and a change of one tensor to the batch with that tensor changed.
ChangeFunc = Callable[[Any, Callable[[Tensor], Tensor]], Any]
OutputFunc = Callable[[Any], Tensor]
MIN_SPREAD = 1e-12


def measure_answer(compute: OutputFunc, batch: Any, change: ChangeFunc, before: Tensor) -> Optional[float]:
    """Measure the outputs' largest change where every row is given another row's numbers.

    Relative to their spread between rows, or to a hundredth of their size where that is more; None where their shape
    changes.
    """
    after = compute(change(batch, lambda t: t.roll(1, 0)))
    if after.shape != before.shape:
        return None
    one, other = before.detach().float(), after.detach().float()
    spread = float(one.std(0).max()) if one.dim() and len(one) > 1 else 0.0
    return float((one - other).abs().max()) / max(spread, 0.01 * float(one.abs().max()), MIN_SPREAD)


def measure_answer_with_noise(compute: OutputFunc, batch: Any, change: ChangeFunc, model: nn.Module) -> Optional[float]:
    """Measure the same with a little noise on every weight: a last layer may begin at zero."""
    with changed_weights(model, make_noise()):
        return measure_answer(compute, batch, change, compute(batch))


def measure_answer_if_scaled(compute: OutputFunc, batch: Any, change: ChangeFunc, before: Tensor) -> Optional[float]:
    """Divide the outputs' spread between rows by what it is with values of mean 0 and standard deviation 1."""
    after = compute(change(batch, _standardize))
    if after.shape != before.shape or not after.dim() or len(after) < 2:
        return None
    spread = float(after.detach().float().std(0).max())
    return float(before.detach().float().std(0).max()) / spread if spread > MIN_SPREAD else None


def _standardize(tensor: Tensor) -> Tensor:
    if tensor.dim() < 3:
        return (tensor - tensor.mean()) / (tensor.std() + 1e-12)
    axes = [0, *range(2, tensor.dim())]
    return (tensor - tensor.mean(axes, keepdim=True)) / (tensor.std(axes, keepdim=True) + 1e-12)
