"""What one optimizer step did to the weights: the gradient's part, the decay's, and what rounding removed.

Imports torch. Works on a sample of the elements, so that a running fit can be monitored: cloning every
weight of a model of 22.7 million takes as long as a fifth of its training step.
"""

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor

__all__ = ["WeightSample", "WeightUpdate", "GroupHyperparameters"]

GroupHyperparameters = Tuple[float, float]  # learning rate and decoupled weight decay of a parameter's group


class WeightUpdate(NamedTuple):
    """One parameter's step: norms over its sampled elements."""

    weight: float
    gradient_part: float
    decay_part: float
    moved: bool
    rounded_away: Optional[float]
    is_matrix: bool


class WeightSample:
    """Elements of parameters, remembered before a step and compared after it.

    Parameters
    ----------
    parameters : sequence of Tensor
        Whose elements are sampled; only read.
    per_parameter : int
        At most this many elements of each, evenly spaced.
    """

    def __init__(self, parameters: Sequence[Tensor], per_parameter: int = 256):
        self.parameters = list(parameters)
        self.per_parameter = per_parameter
        self.before = [self._sample_elements(p.detach()) for p in self.parameters]
        self.gradients: List[Optional[Tensor]] = [None] * len(self.parameters)

    def record_gradients(self) -> None:
        """Remember the sampled gradients, before ``zero_grad`` clears them."""
        self.gradients = [None if p.grad is None else self._sample_elements(p.grad.detach()) for p in self.parameters]

    def weight_updates(self, hyper: Dict[int, GroupHyperparameters]) -> List[WeightUpdate]:
        """Compare the elements with the remembered ones.

        Parameters
        ----------
        hyper : dict of id(parameter) to (lr, decoupled wd)
            Parameters that are missing are taken as not decayed.
        """
        return [self._compute_update(i, *hyper.get(id(p), (0.0, 0.0))) for i, p in enumerate(self.parameters)]

    def _compute_update(self, i: int, lr: float, wd: float) -> WeightUpdate:
        parameter = self.parameters[i]
        before, after = self.before[i].float(), self._sample_elements(parameter.detach()).float()
        decayed = before * (1 - lr * wd)
        by_gradient = after - decayed
        # Two roundings in the parameter's own precision are not a movement.
        rounding = before.abs().max() * torch.finfo(parameter.dtype).eps * 2 if before.numel() else torch.zeros(())
        moved = bool((by_gradient.abs() > rounding + 1e-45).any())
        return WeightUpdate(
            float(before.norm()),
            float(by_gradient.norm()),
            float((decayed - before).norm()),
            moved,
            _rounded_away_share(before, after, self.gradients[i]),
            parameter.dim() > 1,
        )

    def _sample_elements(self, tensor: Tensor) -> Tensor:
        # Strided, not contiguous: a contiguous slice of an embedding would hold only a few words.
        flat = tensor.reshape(-1)
        step = max(1, -(-flat.numel() // self.per_parameter))
        return flat[::step][: self.per_parameter].clone()


def _rounded_away_share(before: Tensor, after: Tensor, gradient: Optional[Tensor]) -> Optional[float]:
    """Compute the share of elements with a gradient that did not change at all."""
    if gradient is None:
        return None
    pushed = gradient.float() != 0
    if not bool(pushed.any()):
        return None
    return float((before == after)[pushed].float().mean())
