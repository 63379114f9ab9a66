"""``TraceWriter``: writes a ``Trace``; each fastai's recorder is a callback that only tells it what happened."""

import math
from typing import Any, Callable, Optional, Sequence

from torch import Tensor, nn

from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.results.trace import Epoch, Step, Trace, digest

from .baseline import compute_grad_norm

__all__ = ["TraceWriter", "build_epoch"]


class TraceWriter:
    """A writer of every step and epoch into `trace`; it reads the learner and never changes it.

    Parameters
    ----------
    trace : Trace
        Written to.
    on_step : callable, optional
        Called with the steps done and the steps expected in this fit.
    """

    def __init__(self, trace: Trace, on_step: Optional[Callable[[int, int], None]] = None):
        self.trace, self.on_step = trace, on_step
        self._fit_index, self._loss, self._steps_done, self._steps_expected = -1, math.nan, 0, 0

    def begin_fit(self, steps_expected: int) -> None:
        """Count a call of ``fit``."""
        self._fit_index, self._steps_done, self._steps_expected = self._fit_index + 1, 0, steps_expected

    def write_batch(self, epoch: int, inputs: Any, targets: Any) -> None:
        """Record the first training batch, and how many targets the first epoch has."""
        if not self.trace.first_batch:
            self.trace.first_batch = digest(list(tensors_in((inputs, targets))))
        if self._fit_index == 0 and epoch == 0:
            self.trace.n_train_targets += sum(t.numel() for t in tensors_in(targets))

    def read_loss(self, loss: Tensor) -> None:
        """Read the loss of the next step, before any callback scales it."""
        self._loss = float(loss.detach().double().mean())

    def write_step(self, epoch: int, step: int, model: nn.Module, optimizer_groups: Sequence[Any]) -> None:
        """Record a step, with the gradients as they left ``backward``."""
        self._steps_done += 1
        lrs = tuple(float(group["lr"]) for group in optimizer_groups)
        self.trace.steps.append(Step(self._fit_index, epoch, step, self._loss, compute_grad_norm(model), lrs))
        if self.on_step is not None:
            self.on_step(self._steps_done, self._steps_expected)

    def write_epoch(self, epoch: int, names: Sequence[str], figures: Sequence[Any]) -> None:
        """Record the validation at an epoch's end."""
        self.trace.epochs.append(build_epoch(self._fit_index, epoch, names, figures))


def build_epoch(fit: int, epoch: int, names: Sequence[str], figures: Sequence[Any]) -> Epoch:
    """Build an evaluation from fastai's figures: the loss, then a value for each name; None where there is none."""
    loss, *values = figures
    metrics = {name: float(value) for name, value in zip(names, values) if value is not None}
    return Epoch(fit, epoch, None if loss is None else float(loss), metrics)
