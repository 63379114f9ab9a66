"""What an optimizer does to its parameters at a step, on either fastai. Imports torch."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Protocol, Sequence, Set

from torch import Tensor

from fastai_hf_callback.utils.protocols import LearnerLike

from .weight_updates import GroupHyperparameters

__all__ = ["OptimizerReader", "ParameterGroup"]


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
        Where decay is taken from the weights: the rate it is multiplied by. None where it is added to the gradient.
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
        """What Adam and its like add to a gradient's size; Adadelta has an epsilon of another meaning."""
        return 0.0 if "rho" in self.settings else float(self.settings.get("eps") or 0.0)

    def coupled_decays(self) -> Dict[int, float]:
        """The decay that is added to the gradient, by the parameter's id."""
        if self.decoupled_lr is not None:
            return {}
        return {id(p): decay for p, decay in zip(self.parameters, self.decays)}

    def decoupled_decays(self) -> Dict[int, GroupHyperparameters]:
        """Rate and decay where decay is no part of the gradient, by the parameter's id."""
        if self.decoupled_lr is None:
            return {}
        return {id(p): (self.decoupled_lr, decay) for p, decay in zip(self.parameters, self.decays)}


class OptimizerReader(Protocol):
    """A live learner's optimizer; each fastai has its own reader."""

    learn: LearnerLike

    def read_groups(self) -> List[ParameterGroup]:
        """The groups it holds; none where there is no optimizer."""

    def read_layer_groups(self) -> Set[int]:
        """ids of the parameters that a new optimizer would be given."""

    def read_master_weights(self) -> Dict[int, Tensor]:
        """id of a half parameter -> its full-precision copy, where mixed precision keeps such."""

    def read_loss_scale(self) -> Optional[float]:
        """That of mixed precision; None without."""

    def read_weight_decay(self) -> float:
        """The highest in force."""

    def set_learning_rate(self, lr: float) -> None:
        """Set the highest rate, the groups in the proportions they have now."""

    def count_batches(self) -> int:
        """How long an epoch is."""
