"""The classes that a learner's own data have, in its model's config. Imports torch.

``text_data`` names them to ``HFModel`` at once; those of fastai's own blocks, or own batches, when a fit begins.
"""

from numbers import Number
from typing import Any, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import nn

from .class_names import name_outputs
from .inputs.forward_signature import unwrap_model
from .inputs.padding_id import find_text_config
from .loss.traits import find_class_task
from .wrapper import HFModel

__all__ = ["TargetClasses", "name_trained_outputs", "read_names"]


class TargetClasses(NamedTuple):
    """The classes of a data set's targets.

    Attributes
    ----------
    names : tuple of str
        In the order of their numbers.
    task : str or None
        As ``text_data`` has it; None where the data do not say it.
    write : str
        How a user gives the classes in another order, with braces in the place of that list.
    """

    names: Tuple[str, ...]
    task: Optional[str]
    write: str


def read_names(classes: Any) -> Tuple[str, ...]:
    """Return a list of classes as names; of several lists the last, since fastai puts words before classes."""
    given = classes.tolist() if hasattr(classes, "tolist") else classes
    given = list(given) if isinstance(given, Sequence) and not isinstance(given, (str, bytes)) else []
    if given and all(isinstance(one, Sequence) and not isinstance(one, str) for one in given):
        return read_names(given[-1])
    is_scalar = (isinstance(one, (str, Number)) or hasattr(one, "item") for one in given)  # numpy's, too
    return tuple(str(one) for one in given) if all(is_scalar) else ()


def name_trained_outputs(model: nn.Module, targets: TargetClasses, loss_func: Any) -> None:
    """Write the names of the classes to the config of a learner's model, where they are what its outputs stand for.

    Parameters
    ----------
    model : nn.Module
        A Hugging Face model, bare, wrapped or in an ``HFModel``; with another number of outputs it stays as it is.
    targets : TargetClasses
    loss_func : callable
        Tells the task where `targets` do not: one of numbers names nothing.

    Raises
    ------
    InputError
        As ``name_outputs``.
    """
    inner = unwrap_model(model)
    inner = unwrap_model(inner.model) if isinstance(inner, HFModel) else inner
    config, n_outputs = getattr(inner, "config", None), len(targets.names)
    if getattr(config, "num_labels", None) != n_outputs or _count_tokens(config) == n_outputs:
        return
    weight = next(inner.parameters(), None)
    device = torch.device("cpu") if weight is None else weight.device
    task = targets.task or find_class_task(loss_func, n_outputs, device)
    if task is not None:
        name_outputs(inner, targets.names, task, targets.write)


def _count_tokens(config: Any) -> Optional[int]:
    return getattr(find_text_config(config), "vocab_size", None)
