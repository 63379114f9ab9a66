"""What an optimizer does to its parameters at a step, on either fastai. Imports torch."""

import copy
from collections import defaultdict
from collections.abc import Mapping as AnyMapping
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Protocol, Sequence, Set

import torch
from torch import Tensor, nn

from fastai_hf_callback.utils.protocols import LearnerLike

from .weight_updates import GroupHyperparameters

__all__ = [
    "OptimizerReader",
    "ParameterGroup",
    "StepRule",
    "copy_torch_optimizer",
    "count_non_finite",
    "has_gradient",
    "has_state",
    "measure_step_rule",
]


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

    def count_non_finite_state(self) -> int:
        """Count the parameters of whose gradients the optimizer keeps averages with NaN or infinity."""

    def measure_step_rule(self) -> Optional["StepRule"]:
        """Try on a parameter of its own how the optimizer in force steps; None where there is none, or it refuses."""


class StepRule(NamedTuple):
    """How an optimizer steps.

    Attributes
    ----------
    scales_with_gradient : bool
        Whether a gradient ten times as large makes a larger step: plain SGD's does, Adam's does not.
    momentum_gain : float
        A step after many of one gradient, over the first.
    """

    scales_with_gradient: bool
    momentum_gain: float


SIMULATED_STEPS = 100  # momentum of .9 has reached its limit, .99 two thirds of it


def measure_step_rule(build: Callable[[nn.Parameter], Any]) -> Optional[StepRule]:
    """Step a parameter with small and with large gradients, and many times with one.

    Parameters
    ----------
    build : callable
        Builds an optimizer like the one in force around the parameter, without anything of its past.
    """
    try:
        small, large = (_simulate_steps(build, gradient, 1)[0] for gradient in (1e-3, 1e-2))
        later = _simulate_steps(build, 1e-3, SIMULATED_STEPS)[-1]
    except Exception:  # an optimizer that wants more than a parameter: a closure, a model
        return None
    if not small > 0 or not large > 0:
        return None
    return StepRule(large > 3 * small, later / small)


def _simulate_steps(build: Callable[[nn.Parameter], Any], gradient: float, steps: int) -> List[float]:
    """Return by how much each of the steps with this gradient moves a parameter of zeros."""
    parameter = nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))
    optimizer, moves = build(parameter), []
    for _ in range(steps):
        with torch.no_grad():
            parameter.zero_()  # nothing for weight decay
        parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
        moves.append(float(parameter.detach().abs().max()))
    return moves


def copy_torch_optimizer(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> torch.optim.Optimizer:
    """Copy an optimizer of torch around another parameter, at a rate of 1 and without anything of its past."""
    made = copy.copy(optimizer)
    made.param_groups = [{**optimizer.param_groups[-1], "params": [parameter], "lr": 1.0}]
    made.state = defaultdict(dict)
    return made


def has_state(state: Any, flags: Sequence[str] = ()) -> bool:
    """Return whether an optimizer's `state`, by parameter, holds anything but `flags`."""
    return any(set(values) - set(flags) for values in state.values() if isinstance(values, AnyMapping))


def count_non_finite(state: Any) -> int:
    """Count the entries of an optimizer's `state`, by parameter, that hold NaN or infinity."""
    entries = [values.values() for values in state.values() if isinstance(values, AnyMapping)]
    return sum(
        any(
            isinstance(value, Tensor) and value.is_floating_point() and not torch.isfinite(value.float().sum())
            for value in values
        )
        for values in entries
    )


def has_gradient(parameters: Sequence[Tensor]) -> bool:
    """Return whether a parameter has a gradient, be it zero."""
    return any(p.grad is not None for p in parameters)
