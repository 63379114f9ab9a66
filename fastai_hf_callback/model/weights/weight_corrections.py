"""What ``HFCallback`` does to a learner's weights and gradients, whatever the fastai. Imports torch.

``WeightCorrections`` is held by a callback of each fastai (``fastai1/weight_corrections.py`` and its like), which calls
it at the loop's events. In ``compare`` the arms without an ``HFCallback`` get the same corrections.
"""

from typing import Any, Iterable, Mapping, Optional, Protocol, Tuple

from torch import nn

from .activation_casts import HALF_DTYPES, match_activations
from .frozen import FrozenWeights
from .precision import TrainingPrecision
from .starting_weights import StartingWeights

__all__ = ["WeightCorrections"]


class _Optimizer(Protocol):
    def zero_grad(self) -> None:
        """Clear the gradients, each optimizer in its own way: to zeros or to None."""


class WeightCorrections:
    """The corrections of a learner's weights around its steps.

    Frozen weights stand still to the bit, whatever gradients an earlier fit, ``lr_find`` or accumulation has left;
    and what is left of an accumulation at the end of a fit is no part of the next one. Half-precision weights are
    float32 while they train.

    Parameters
    ----------
    train_in_float32 : bool
        Whether trainable half-precision weights are made float32.

    Attributes
    ----------
    start : StartingWeights or None
        What the model's weights were when its first fit began, for ``diagnose``.
    """

    def __init__(self, train_in_float32: bool = True) -> None:
        self.frozen, self._is_new_fit = FrozenWeights(), True
        self.precision = TrainingPrecision(train_in_float32)
        self.start: Optional[StartingWeights] = None

    def begin_fit(self) -> None:
        """Notice that a fit begins; on fastai 2 a validation may as well."""
        self._is_new_fit = True

    def prepare_precision(self, model: nn.Module, optimizer: Any) -> None:
        """Make float32 what trains from now on: before a fit and before each epoch, since more may be unfrozen.

        Parameters
        ----------
        model : nn.Module
        optimizer : object
            fastai's or torch's; its averages follow their weights.
        """
        states = [getattr(one, "state", None) for one in (optimizer, getattr(optimizer, "opt", None))]
        self.precision.prepare(model, [state for state in states if isinstance(state, Mapping)])

    def match_precision(self, model: nn.Module) -> None:
        """Let activations be cast before a validation or a prediction, where a model holds half-precision weights."""
        if any(p.dtype in HALF_DTYPES for p in model.parameters()):
            match_activations(model)

    def begin_epoch(self, model: nn.Module, optimizer: _Optimizer, parameters: Iterable[nn.Parameter]) -> None:
        """Prepare an epoch's training, before its first backward.

        Parameters
        ----------
        model : nn.Module
        optimizer : object with ``zero_grad``
            fastai's.
        parameters : iterable of nn.Parameter
            The optimizer's.
        """
        if self._is_new_fit:
            self._is_new_fit = False
            optimizer.zero_grad()
            if self.start is None or not self.start.covers(model):
                self.start = StartingWeights(model)
        # The optimizer's own too: it steps an old model where `learn.model` was replaced; and the model's, since
        # gradients are clipped by the norm over all of these.
        self.frozen.watch([*parameters, *model.parameters()])

    def before_step(self) -> bool:
        """Take from the frozen weights what a step could use.

        Returns
        -------
        bool
            Whether weights were frozen or unfrozen since the last step.
        """
        return self.frozen.clear_gradients()

    def end_epoch(self) -> None:
        """Hold nothing of the learner any longer."""
        self.frozen.release()

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), (self.precision.in_float32,)  # pickled and copied without anything of a fit
