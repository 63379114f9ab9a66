"""What an optimizer does to its parameters at a step, on either fastai. Imports torch."""

from collections.abc import Mapping as AnyMapping
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Protocol, Sequence, Set

from torch import Tensor

from fastai_hf_callback.utils.protocols import LearnerLike

from .weight_updates import GroupHyperparameters

__all__ = ["OptimizerReader", "ParameterGroup", "has_gradient", "has_state"]


class ParameterGroup(NamedTuple):
    """A group of parameters, and what a step does to them.

    Attributes
    ----------
    parameters : sequence of Tensor
    settings : mapping of str to any
        The optimizer's own, by name: ``lr``, ``eps``.
    decays : sequence of float
        The weight decay of each parameter.
    decoupled_lr : float or None
        Where decay is subtracted from the weights: the rate it is multiplied by. None where the gradient includes it.
    """

    parameters: Sequence[Tensor]
    settings: Mapping[str, Any]
    decays: Sequence[float]
    decoupled_lr: Optional[float] = None

    @property
    def lr(self) -> float:
        return float(self.settings["lr"])

    @property
    def epsilon(self) -> float:
        """What Adam and similar optimizers add to a gradient's size; Adadelta's epsilon means something else."""
        return 0.0 if "rho" in self.settings else float(self.settings.get("eps") or 0.0)

    def coupled_decays(self) -> Dict[int, float]:
        """Return the decay that is added to the gradient, by the parameter's id."""
        if self.decoupled_lr is not None:
            return {}
        return {id(p): decay for p, decay in zip(self.parameters, self.decays)}

    def decoupled_decays(self) -> Dict[int, GroupHyperparameters]:
        """Return rate and decay where decay is not added to the gradient, by the parameter's id."""
        if self.decoupled_lr is None:
            return {}
        return {id(p): (self.decoupled_lr, decay) for p, decay in zip(self.parameters, self.decays)}


class OptimizerReader(Protocol):
    """A reader of a live learner's optimizer; each fastai has its own."""

    learn: LearnerLike

    def read_groups(self) -> List[ParameterGroup]:
        """Return the optimizer's groups; none where there is no optimizer."""

    def read_layer_groups(self) -> Set[int]:
        """Return the ids of the parameters that a new optimizer would be given."""

    def read_master_weights(self) -> Dict[int, Tensor]:
        """Return id of a half parameter -> its full-precision copy, where mixed precision keeps one."""

    def read_loss_scale(self) -> Optional[float]:
        """Return the loss scale of mixed precision; None without."""

    def read_weight_decay(self) -> float:
        """Return the highest weight decay in force."""

    def count_frozen_in_vain(self) -> int:
        """Count the parameters of the optimizer's one group, if it was frozen by groups since the last step; else 0."""

    def set_learning_rate(self, lr: float) -> None:
        """Set the highest rate and keep the proportions of the groups."""

    def has_taken_steps(self) -> bool:
        """Return whether its state, or a gradient where it keeps no state, shows that steps were taken."""

    def count_batches(self) -> int:
        """Count the batches of an epoch."""


def has_state(state: Any, flags: Sequence[str] = ()) -> bool:
    """Return whether an optimizer's `state`, by parameter, holds anything but `flags`."""
    return any(set(values) - set(flags) for values in state.values() if isinstance(values, AnyMapping))


def has_gradient(parameters: Sequence[Tensor]) -> bool:
    """Return whether a parameter has a gradient, be it zero."""
    return any(p.grad is not None for p in parameters)
