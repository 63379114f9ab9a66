"""What one optimizer step did to the weights: the gradient's part, the decay's, and what rounding swallowed.

Torch alone. Works on a sample of the elements, so that a running fit can be watched: cloning every
weight of a model of 22.7 million takes as long as a fifth of its training step.
"""
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

__all__ = ["Sample", "Move", "GroupHyper"]

GroupHyper = Tuple[float, float]  # learning rate and decoupled weight decay of a parameter's group


class Move(NamedTuple):
    """One parameter's step: norms over its sampled elements."""

    weight: float
    gradient_part: float
    decay_part: float
    moved: bool
    swallowed: Optional[float]
    is_matrix: bool


class Sample:
    """Elements of parameters, remembered before a step and compared after it.

    Parameters
    ----------
    parameters : sequence of nn.Parameter
        Whose elements are watched; read only.
    per_parameter : int
        At most this many elements of each, evenly spaced.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], per_parameter: int = 256):
        self.parameters = list(parameters)
        self.per_parameter = per_parameter
        self.before = [self._taken(p.detach()) for p in self.parameters]
        self.gradients: List[Optional[Tensor]] = [None] * len(self.parameters)

    def note_gradients(self) -> None:
        """Remember the sampled gradients, before ``zero_grad`` takes them away."""
        self.gradients = [None if p.grad is None else self._taken(p.grad.detach()) for p in self.parameters]

    def moves(self, hyper: Dict[int, GroupHyper]) -> List[Move]:
        """Compare with what was remembered.

        Parameters
        ----------
        hyper : dict of id(parameter) to (lr, decoupled wd)
            Parameters that are missing are taken as not decayed.
        """
        return [self._move(i, *hyper.get(id(p), (0.0, 0.0))) for i, p in enumerate(self.parameters)]

    def _move(self, i: int, lr: float, wd: float) -> Move:
        parameter = self.parameters[i]
        before, after = self.before[i].float(), self._taken(parameter.detach()).float()
        decayed = before * (1 - lr * wd)
        by_gradient = after - decayed
        # Two roundings of the parameter's own precision are no movement.
        grain = before.abs().max() * torch.finfo(parameter.dtype).eps * 2 if before.numel() else torch.zeros(())
        moved = bool((by_gradient.abs() > grain + 1e-45).any())
        return Move(float(before.norm()), float(by_gradient.norm()), float((decayed - before).norm()), moved,
                    _swallowed(before, after, self.gradients[i]), parameter.dim() > 1)

    def _taken(self, tensor: Tensor) -> Tensor:
        # Strided, not contiguous: a slice of an embedding would hold a few words only.
        flat = tensor.reshape(-1)
        step = max(1, -(-flat.numel() // self.per_parameter))
        return flat[::step][:self.per_parameter].clone()


def _swallowed(before: Tensor, after: Tensor, gradient: Optional[Tensor]) -> Optional[float]:
    """The share of elements with a gradient that did not change at all."""
    if gradient is None:
        return None
    pushed = gradient.float() != 0
    if not bool(pushed.any()):
        return None
    return float((before == after)[pushed].float().mean())
