"""``Trace``: what a run did, step by step; each fastai records it, the core compares. Imports numpy and torch.

Numbers are kept as exact Python floats, tensors as digests: two runs are the same exactly when their
traces are.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Step", "Epoch", "Trace", "Observation", "digest"]


@dataclass(frozen=True)
class Step:
    """One optimizer step.

    Attributes
    ----------
    fit, epoch, step : int
        Which call of ``fit``, its epoch, and the batch within the epoch; all from 0.
    loss : float
        The batch's loss, before any callback scaled it.
    grad_norm : float
        2-norm over all parameters' gradients, as they left ``backward``, summed in float64.
    lrs : tuple of float
        Learning rate of each parameter group at the step.
    """

    fit: int
    epoch: int
    step: int
    loss: float
    grad_norm: float
    lrs: Tuple[float, ...]


@dataclass(frozen=True)
class Epoch:
    """One evaluation: `valid_loss` is None without a validation set; `metrics` by unique name."""

    fit: int
    epoch: int
    valid_loss: Optional[float]
    metrics: Dict[str, float]


class Observation(NamedTuple):
    """One number or digest of a run, with its place: -1 stands for before or after the steps."""

    fit: int
    epoch: int
    step: int
    quantity: str
    value: Any


@dataclass
class Trace:
    """What one arm did.

    Attributes
    ----------
    arm : str
        ``callback``, ``patched`` or ``broken``.
    initial_weights, final_weights : dict of str to str
        Digest of each entry of ``state_dict``.
    first_batch, predictions : str
        Digests of the first training batch (inputs and targets) and of the final validation outputs.
    returned : str
        Digest of what the fit returned: tensors, numbers, text, and lists and dicts of them.
    before : Epoch or None
        The evaluation before the first step.
    steps, epochs : list
        In the order in which they happened.
    n_train_targets, n_valid_targets : int
        Numbers of target values seen in the first epoch and in the validation set.
    base_rates : dict of str to float
        What the best constant predictor scores on the validation set.
    constant_prediction_scores : dict of str to list of float
        By metric, the scores there of models that give every text the same answer: each class, all labels on, all off.
    """

    arm: str
    initial_weights: Dict[str, str] = field(default_factory=dict)
    first_batch: str = ""
    before: Optional[Epoch] = None
    steps: List[Step] = field(default_factory=list)
    epochs: List[Epoch] = field(default_factory=list)
    final_weights: Dict[str, str] = field(default_factory=dict)
    predictions: str = ""
    returned: str = ""
    n_train_targets: int = 0
    n_valid_targets: int = 0
    base_rates: Dict[str, float] = field(default_factory=dict)
    constant_prediction_scores: Dict[str, List[float]] = field(default_factory=dict)

    def observations(self) -> Iterator[Observation]:
        """Yield everything that must agree between two arms, in the order of time."""
        if self.before is not None:
            yield from _observe_epoch(self.before)
        steps, epochs = list(self.steps), list(self.epochs)
        while steps or epochs:
            if steps and (not epochs or _get_fit_and_epoch(steps[0]) <= _get_fit_and_epoch(epochs[0])):
                yield from _observe_step(steps.pop(0))
            else:
                yield from _observe_epoch(epochs.pop(0))
        for name, value in self.final_weights.items():
            yield Observation(-1, -1, -1, f"weight {name}", value)
        yield Observation(-1, -1, -1, "predictions", self.predictions)
        yield Observation(-1, -1, -1, "what fit returned", self.returned)

    def to_dict(self) -> Dict[str, Any]:
        """Return plain dicts, lists and numbers."""
        return asdict(self)


def digest(value: Any) -> str:
    """Compute the SHA-256 of nested values, 16 hexadecimal digits.

    Parameters
    ----------
    value : any
        Tensors on any device and numpy arrays count with dtype, shape and bytes; numbers and text with
        their value; lists, tuples and dicts with what they hold; anything else with its type's name.
    """
    return hashlib.sha256(b"".join(_iter_bytes(value))).hexdigest()[:16]


def _iter_bytes(value: Any) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        exact = value.float() if value.dtype == torch.bfloat16 else value  # numpy has no bfloat16
        yield exact.numpy().tobytes()
    elif isinstance(value, np.ndarray) and value.dtype == object:
        yield from _iter_bytes(value.tolist())
    elif isinstance(value, (np.ndarray, np.generic)):
        yield f"{value.dtype}{value.shape}".encode() + value.tobytes()
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):  # fastai 2's L is one, but not a list
        yield f"{len(value)} of (".encode()
        for part in value:
            yield from _iter_bytes(part)
            yield b","
    elif hasattr(value, "items"):
        for name, part in value.items():
            yield f"{name!r}:".encode()
            yield from _iter_bytes(part)
            yield b","
    else:
        yield (
            repr(value).encode()
            if isinstance(value, (str, bytes, int, float, type(None)))
            else type(value).__name__.encode()
        )


def _get_fit_and_epoch(record: Any) -> Tuple[int, int]:
    return record.fit, record.epoch


def _observe_step(step: Step) -> Iterator[Observation]:
    at = (step.fit, step.epoch, step.step)
    yield Observation(*at, "loss", step.loss)
    yield Observation(*at, "gradient norm", step.grad_norm)
    for group, lr in enumerate(step.lrs):
        yield Observation(*at, f"learning rate of group {group}", lr)


def _observe_epoch(epoch: Epoch) -> Iterator[Observation]:
    at = (epoch.fit, epoch.epoch, -1)
    yield Observation(*at, "valid_loss", epoch.valid_loss)
    for name, value in epoch.metrics.items():
        yield Observation(*at, name, value)
