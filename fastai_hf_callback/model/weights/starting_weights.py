"""``StartingWeights``: a sample of the weights that a model had when its first fit began. Imports torch."""

import weakref
from statistics import median
from typing import Any, Dict, NamedTuple, Optional, Tuple

from torch import Tensor, nn

__all__ = ["StartingWeights", "sample_elements"]

SAMPLED_ELEMENTS = 256


class _Sample(NamedTuple):
    parameter: Any  # a weak reference
    elements: Tensor
    is_matrix: bool


class StartingWeights:
    """A sample of a model's weights, to compare later ones with. It is neither pickled nor copied along.

    Parameters
    ----------
    model : nn.Module
        Only read.
    """

    def __init__(self, model: Optional[nn.Module] = None):
        parameters = [] if model is None else list(model.parameters())
        self._samples: Dict[int, _Sample] = {
            id(p): _Sample(weakref.ref(p), sample_elements(p), p.dim() > 1) for p in parameters
        }

    def covers(self, model: nn.Module) -> bool:
        """Return whether these are the weights of this very model, parameter by parameter."""
        parameters = list(model.parameters())
        return bool(parameters) and all(self.read(p) is not None for p in parameters)

    def is_unchanged(self) -> bool:
        """Return whether the weights are what they were, as far as they were sampled."""
        return all(_is_same(sample) for sample in self._samples.values())

    def read(self, parameter: nn.Parameter) -> Optional[Tensor]:
        """Return the elements that a parameter began with; None for one that was not there."""
        sample = self._samples.get(id(parameter))
        return sample.elements if sample is not None and sample.parameter() is parameter else None

    def measure_distance(self) -> Optional[float]:
        """Return how far the trained matrices are from there, relative to their size then: the median; None if none."""
        pairs = [_measure_sample(sample) for sample in self._samples.values() if sample.is_matrix]
        moved = [moved / size for moved, size in pairs if moved > 0 and size > 0]
        return median(moved) if moved else None

    def measure_size(self) -> Optional[float]:
        """Return the root mean square of the elements of the median matrix."""
        sizes = [float(one.elements.pow(2).mean().sqrt()) for one in self._samples.values() if one.is_matrix]
        return median(sizes) if sizes else None

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), ()


def sample_elements(parameter: Tensor) -> Tensor:
    """Return some elements, evenly spaced, in float32."""
    flat = parameter.detach().reshape(-1)
    step = max(1, -(-flat.numel() // SAMPLED_ELEMENTS))
    return flat[::step][:SAMPLED_ELEMENTS].clone().float()


def _is_same(sample: _Sample) -> bool:
    """Return whether a parameter is there and has the numbers that it had; NaN is the same as NaN."""
    parameter = sample.parameter()
    if parameter is None:
        return False
    before, now = sample.elements, sample_elements(parameter).to(sample.elements.device)
    return before.shape == now.shape and bool(((before == now) | (before != before) & (now != now)).all())


def _measure_sample(sample: _Sample) -> Tuple[float, float]:
    parameter = sample.parameter()
    if parameter is None or not sample.elements.numel():
        return 0.0, 0.0
    return float((sample_elements(parameter) - sample.elements).norm()), float(sample.elements.norm())
