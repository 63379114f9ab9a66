"""Checks of a fit's first training batch: if one fails, training would go on and the metrics never move.

``gradient_flow.py`` and ``broadcast.py`` measure; the callbacks of both fastais call these checks.
"""

import inspect
import warnings
from typing import Any, Callable, Optional

from torch import Tensor, nn

from fastai_hf_callback.errors import GradientError, InputError, OutputError

from .gradient_flow import find_reached_leaves
from .inputs.forward_signature import unwrap_model
from .loss.broadcast import does_loss_broadcast
from .output import describe, tensors_in
from .weights.adapters import has_adapters
from .wrapper import HFModel

__all__ = [
    "check_adapter_inside",
    "check_first_output",
    "check_gradient_flow",
    "check_no_broadcast",
    "check_no_mixup_of_ids",
]


def check_no_mixup_of_ids(batch: Any, remedy: str) -> None:
    """Refuse to average token ids, as mixup would.

    Parameters
    ----------
    batch : Tensor or sequence of Tensor
    remedy : str
        What the user should remove, for the message.

    Raises
    ------
    InputError
    """
    ids = next((t for t in tensors_in(batch) if not t.is_floating_point()), None)
    if ids is not None:
        raise InputError(
            f"mixup was asked for and the input is {describe(ids)}: token ids cannot be averaged. "
            f"Expected inputs of floats. Take {remedy}.",
            "mixup-of-token-ids",
        )


def check_adapter_inside(model: nn.Module) -> None:
    """Warn about an adapter around an ``HFModel``, and refuse one that would name its batches otherwise.

    Adapters' libraries look up weights by their modules' names, and an ``HFModel`` has the names of the bare model.

    Raises
    ------
    InputError
        When the wrapper's ``forward`` takes its inputs in another order than the ``HFModel`` was given.
    """
    inner = next((m for m in model.modules() if isinstance(m, HFModel)), None)
    outer = unwrap_model(model)
    if inner is None or outer is inner or inner is model or not has_adapters(model):
        return
    right_order = f"HFModel(get_peft_model(model, config), inputs={inner.input_names})"
    takes = [p.name for p in inspect.signature(outer.forward).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = () if inner.input_names is None else inner.input_names
    if takes and tuple(takes[: len(named)]) != named:
        raise InputError(
            f"{type(outer).__name__} around an HFModel was given, and calls the batch's tensors "
            f"{takes[: len(named)]}, not {list(named)}; expected HFModel around it. Write {right_order}.",
            "adapter-outside",
        )
    warnings.warn(
        f"{type(outer).__name__} around an HFModel trains, but its save_pretrained finds none of the adapter's weights "
        f"to write. Write {right_order}.",
        stacklevel=2,
    )


def check_first_output(
    logits: Any, target: Any, loss_func: Optional[Callable[..., Any]], patch: Optional[str], registered_in: str
) -> bool:
    """Warn about a patched loop, refuse a loss that broadcasts, and return whether this batch could tell.

    Parameters
    ----------
    logits, target : Tensor, or sequence of Tensor
        As the loss takes them.
    loss_func : callable or None
    patch : str or None
        The code that is in the place of fastai's loop; None where the loop is fastai's own.
    registered_in : str
        The ``Learner``'s argument that holds ``HFCallback``.

    Raises
    ------
    OutputError
        When the loss pairs every row with every target.
    """
    if patch is not None:
        warnings.warn(
            f"fastai's loop is patched ({patch}), so HFCallback has nothing to unwrap. Use one of the "
            f"two: take the patch away, or HFCallback out of {registered_in}.",
            stacklevel=2,
        )
    return check_no_broadcast(loss_func, logits, target)


def check_no_broadcast(loss_func: Optional[Callable[..., Any]], logits: Any, target: Any) -> bool:
    """Return whether this batch could tell that the loss pairs each row with its own target.

    Raises
    ------
    OutputError
        When it pairs every row with every target.
    """
    verdict = does_loss_broadcast(loss_func, logits, target)
    if verdict:
        raise OutputError(
            f"The output is {describe(logits)} and the target {describe(target)}: the loss broadcasts one against "
            f"the other and compares every row with every target. Expected equal shapes. Give the target the "
            f"output's shape, or write element=lambda output: output[0].squeeze(-1).",
            "loss-broadcasts",
        )
    return verdict is not None


def check_gradient_flow(loss: Tensor, logits: Any) -> None:
    """Refuse a loss that reaches none of the model's parameters.

    Raises
    ------
    GradientError
        Its ``cause`` says where the graph was cut.
    """
    found = find_reached_leaves(loss)
    if found.may_train:
        return
    cause = "no-gradient-in-model"
    if not found.has_graph and any(t.requires_grad for t in tensors_in(logits)):
        cause, explanation = "loss-detached", "the output has a graph and the loss none: loss_func or a callback cut it"
    elif not found.has_graph:
        explanation = "the loss has no graph at all: every parameter is frozen, or the model ran under no_grad"
    elif found.foreign:
        cause = "output-detached"
        explanation = (
            f"its graph ends at {len(found.foreign)} tensor(s) that are no nn.Parameter "
            f"({describe(found.foreign[0])}), as after .detach().requires_grad_()"
        )
    else:
        explanation = "its graph ends before the model"
    raise GradientError(
        f"The loss reaches none of the model's parameters: {explanation}. The output was {describe(logits)}. Training "
        f"would go on and the metrics never move. Hand on the model's own tensor (no .detach(), .data, "
        f"torch.tensor(...) or no_grad between model and loss), or unfreeze: learn.unfreeze().",
        cause,
    )
