"""``OwnLoss``: a loss of the user's own, with the task's way from outputs to predictions. Imports torch.

fastai reads from the loss how outputs become probabilities and classes. torch's losses, functions and modules of one's
own do not say it; the data of ``text_data`` do.
"""

import inspect
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn

from fastai_hf_callback.data.batches.padding import IGNORE_INDEX

from .traits import ACTIVATIONS, LossTraits, arrange, move_loss, probe_loss_traits

__all__ = ["OwnLoss", "describe_loss", "list_losses", "wrap_own_loss"]


class OwnLoss:
    """The given loss, which also says what its outputs stand for.

    It shows itself as the loss that was given: printed, asked for its class (``isinstance``), and for its attributes,
    which are read and set there.

    Parameters
    ----------
    given_loss : callable
        The user's; called as it is, with outputs and targets in the layout that it takes.
    task_loss : object
        The task's own loss, for its ``activation`` and ``decodes``.
    traits : LossTraits
        What `given_loss` takes, and what its outputs stand for.
    """

    _OWN = ("given_loss", "task_loss", "traits", "_reduction")

    def __init__(self, given_loss: Callable[..., Any], task_loss: Any, traits: LossTraits):
        self.given_loss, self.task_loss, self.traits = given_loss, task_loss, traits
        self._reduction = "mean"  # of a loss that has none of its own

    def __call__(self, outputs: Any, *targets: Any, **kwargs: Any) -> Any:
        """Compute the given loss; 0 for a batch of which no position has a target."""
        loss = self._on_device(outputs)
        if len(targets) != 1:
            return loss(outputs, *targets, **kwargs)
        if self.reduction != "none" and "reduction" not in kwargs:
            return self._compute(loss, outputs, targets[0], kwargs)
        if self._has_reduction():
            return self._compute_each(loss, outputs, targets[0], kwargs)
        return self._compute_rows(loss, outputs, targets[0], kwargs)

    # -- from outputs to predictions ---------------------------------------------------------------

    def activation(self, outputs: Any) -> Any:
        """Return probabilities, or the predicted numbers, in the form of `outputs`."""
        own = getattr(self.given_loss, "activation", None)
        if callable(own):
            return own(outputs)
        return (
            self.task_loss.activation(outputs) if self.traits.link is None else ACTIVATIONS[self.traits.link](outputs)
        )

    def decodes(self, predictions: Any) -> Any:
        """Return classes, labels or numbers, as the task's own loss does; of shared labels those next to the best."""
        if self.traits.link == "softmax":  # labels that share one probability: of two, none reaches a half
            return predictions > predictions.max(-1, keepdim=True)[0] / 2
        return self.task_loss.decodes(predictions)

    # -- the reduction, which fastai switches off for `with_loss=True` -----------------------------

    @property
    def reduction(self) -> str:
        """The given loss's ``reduction``."""
        return getattr(self.given_loss, "reduction", self._reduction)

    @reduction.setter
    def reduction(self, value: str) -> None:
        if hasattr(self.given_loss, "reduction"):
            self.given_loss.reduction = value
        else:
            self._reduction = value

    def _has_reduction(self) -> bool:
        return hasattr(self.given_loss, "reduction") or _takes_reduction(self.given_loss)

    def _compute(self, loss: Callable[..., Any], outputs: Any, targets: Any, kwargs: Dict[str, Any]) -> Any:
        arranged, wanted = arrange(self.traits.layout, outputs, targets)
        if self.traits.layout == "positions" and isinstance(wanted, Tensor) and not wanted.numel():
            return outputs.sum() * 0  # the mean of nothing is NaN, and would ruin the weights
        return loss(arranged, wanted, **kwargs)

    def _compute_each(self, loss: Callable[..., Any], outputs: Any, targets: Any, kwargs: Dict[str, Any]) -> Any:
        """Compute a value for each target: as many as `targets` has, 0 where there is nothing to predict."""
        if not hasattr(self.given_loss, "reduction"):
            kwargs = {"reduction": "none", **kwargs}
        arranged, wanted = arrange(self.traits.layout, outputs, targets)
        losses = loss(arranged, wanted, **kwargs)
        if arranged is outputs or self.traits.layout != "positions" or losses.shape != wanted.shape:
            return losses
        every = losses.new_zeros(targets.shape)
        every[targets != IGNORE_INDEX] = losses
        return every.reshape(-1)

    def _compute_rows(self, loss: Callable[..., Any], outputs: Any, targets: Any, kwargs: Dict[str, Any]) -> Tensor:
        """Compute the loss of each row by itself, where it cannot tell them apart."""
        kwargs = {name: value for name, value in kwargs.items() if name != "reduction"}
        rows = ((outputs[at : at + 1], targets[at : at + 1]) for at in range(len(targets)))
        return torch.stack([self._compute(loss, row, target, kwargs).reshape(()) for row, target in rows])

    def _on_device(self, outputs: Any) -> Callable[..., Any]:
        """Return the loss with its weights where the outputs are; fastai 1 leaves them where they were made."""
        return move_loss(self.given_loss, outputs.device) if isinstance(outputs, Tensor) else self.given_loss

    # -- shown as the given loss -------------------------------------------------------------------

    @property  # type: ignore[misc]  # so that isinstance(learn.loss_func, nn.CrossEntropyLoss) stays true
    def __class__(self) -> type:
        given = self.__dict__.get("given_loss")
        return type(given) if isinstance(given, nn.Module) else OwnLoss

    def __getattr__(self, name: str) -> Any:
        if name in self._OWN or name.startswith("__") and name != "__name__":
            return object.__getattribute__(self, name)  # raises, as it did before
        return getattr(self.given_loss, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._OWN and not isinstance(getattr(type(self), name, None), property):
            setattr(self.given_loss, name, value)
        else:
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return repr(self.given_loss)

    def __reduce__(self) -> Tuple[Any, ...]:
        return _make_again, (type(self), self.given_loss, self.task_loss, tuple(self.traits), self._reduction)


def _make_again(own_class: type, given_loss: Any, task_loss: Any, traits: Tuple[Any, ...], reduction: str) -> OwnLoss:
    made = own_class(given_loss, task_loss, LossTraits(*traits))
    object.__setattr__(made, "_reduction", reduction)
    return made


def wrap_own_loss(
    loss_func: Any,
    task_loss: Any,
    task: str,
    n_outputs: int,
    device: torch.device,
    own_class: type = OwnLoss,
) -> Optional[OwnLoss]:
    """Wrap a loss that does not say how its outputs become predictions; None for what is no loss to call.

    Parameters
    ----------
    loss_func : callable
    task_loss, task, n_outputs
        The task's own loss, its name, and how many classes, labels or numbers it has.
    device : torch.device
        Of the model.
    own_class : type
        ``OwnLoss``, or the fastai's own of it.
    """
    if isinstance(loss_func, type) or not callable(loss_func):
        return None
    return own_class(loss_func, task_loss, probe_loss_traits(loss_func, task, n_outputs, device))


def _takes_reduction(function: Any) -> bool:
    try:
        return "reduction" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def describe_loss(loss_func: Any) -> str:
    """Return the name by which a user knows the loss: its class's, or its own."""
    given = list_losses(loss_func)[-1]
    return getattr(given, "__name__", type(given).__name__)


def list_losses(loss_func: Any) -> List[Any]:
    """List a learner's loss, and the one that was given where it is an ``OwnLoss``: both hold what a run may change."""
    return [loss_func, loss_func.given_loss] if isinstance(loss_func, OwnLoss) else [loss_func]
