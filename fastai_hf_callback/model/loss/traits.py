"""What a loss of the user's own takes and predicts, measured on made-up outputs. Imports torch and ``broadcast``.

Two losses of one name may want different things (logits or probabilities, rows or words), two of different names the
same, and a lambda has no name at all. So nothing is read from names: the loss is called a few times, on a copy.
"""

import copy
import math
import warnings
from functools import partial
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn

from fastai_hf_callback.data.batches.padding import IGNORE_INDEX
from fastai_hf_callback.utils.rng import preserve_rng_state

from .broadcast import does_loss_broadcast

__all__ = ["ACTIVATIONS", "LossTraits", "find_class_task", "move_loss", "probe_loss_traits"]

LossFunc = Callable[..., Any]

CPU = torch.device("cpu")
ROWS = 8
WIDTH_BEYOND_CLASSES = 2  # words of a made-up row: another number than the classes, or either could be meant
PER_POSITION_TASKS = ("token-classification", "question-answering")
# What numbers the outputs stand for, by what turns an output into one and what turns one into an output.
LINKS: Dict[str, Tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "identity": (lambda outputs: outputs, lambda numbers: numbers),
    "sigmoid": (torch.sigmoid, lambda numbers: torch.log(numbers / (1 - numbers))),
    "exp": (torch.exp, torch.log),
}
ACTIVATIONS: Dict[str, Callable[[Tensor], Tensor]] = {
    **{name: activate for name, (activate, _) in LINKS.items()},
    "softmax": lambda outputs: outputs.softmax(-1),
}
SATURATED = 40.0  # a logit of which a sigmoid makes 0 or 1


class LossTraits(NamedTuple):
    """What a loss takes, and what its outputs stand for.

    Attributes
    ----------
    layout : str
        ``"given"``: outputs and targets as they come. ``"aligned"``: outputs in the shape of the targets.
        ``"positions"``: one row for each position that has a target, without those of ``IGNORE_INDEX``.
    link : str or None
        How outputs become predictions: a name of ``ACTIVATIONS``; None is the task's own way.
    """

    layout: str = "given"
    link: Optional[str] = None


def probe_loss_traits(loss_func: LossFunc, task: str, n_outputs: int, device: torch.device = CPU) -> LossTraits:
    """Measure how a loss takes its task's outputs and targets.

    Parameters
    ----------
    loss_func : callable
        Called on a copy of itself in ``no_grad``; neither it nor the random states are changed.
    task : str
        One of ``targets.TASKS``.
    n_outputs : int
        Classes, labels, or numbers.
    device : torch.device
        Of the model: asked where the loss holds tensors that cannot be moved to the CPU.

    Returns
    -------
    LossTraits
        The plain one where the loss cannot be called this way at all.
    """
    with torch.no_grad(), preserve_rng_state(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own of shapes that are tried here
        loss = _copy_loss(loss_func, CPU)
        layout = _find_layout(loss, task, n_outputs, CPU)
        if loss is not None and layout is not None:
            return LossTraits(layout, _find_link(loss, task, n_outputs, layout))
        if device == CPU:
            return LossTraits()
        # Not its link: on a GPU an output outside a loss's range is an assertion, after which nothing runs any more.
        return LossTraits(_find_layout(_copy_loss(loss_func, device), task, n_outputs, device) or "given")


def find_class_task(loss_func: LossFunc, n_outputs: int, device: torch.device = CPU) -> Optional[str]:
    """Return the task of a loss that is learned from classes or labels; None for numbers, and where it cannot be told.

    Parameters
    ----------
    loss_func, device
        As in ``probe_loss_traits``.
    n_outputs : int
        At least 2: with one, a class is a number.
    """
    if n_outputs < 2 or not callable(loss_func):
        return None
    with torch.no_grad(), preserve_rng_state(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = _copy_loss(loss_func, device)
        outputs, targets = _make_batch("single_label_classification", n_outputs, device)
        rows = ROWS - (n_outputs == ROWS)  # as many rows as outputs, and a loss of numbers would compare them
        if loss is None:
            return None
        if _compute(loss, "given", outputs[:rows], targets[:rows]) is not None:
            return "single_label_classification"
        by_logits = device == CPU and _find_link(loss, "regression", n_outputs, "given") == "sigmoid"
        return "multi_label_classification" if by_logits else None


def move_loss(loss_func: LossFunc, device: torch.device) -> LossFunc:
    """Return the loss with its own tensors on `device`: a module is moved itself, a partial is made again.

    Tensors that a function closes over stay where they are.
    """
    if isinstance(loss_func, nn.Module):
        if any(t.device != device for t in _tensors_of(loss_func)):
            loss_func.to(device)
    elif isinstance(loss_func, partial):
        held = [*loss_func.args, *loss_func.keywords.values()]
        if any(isinstance(value, Tensor) and value.device != device for value in held):
            arguments = [_move(value, device) for value in loss_func.args]
            named = {name: _move(value, device) for name, value in loss_func.keywords.items()}
            return partial(loss_func.func, *arguments, **named)
    return loss_func


def arrange(layout: str, outputs: Any, targets: Any) -> Tuple[Any, Any]:
    """Return outputs and targets in a layout of ``LossTraits``; what does not fit it stays as it is."""
    if not (isinstance(outputs, Tensor) and isinstance(targets, Tensor)):
        return outputs, targets
    if layout == "aligned" and outputs.shape != targets.shape and outputs.numel() == targets.numel():
        return outputs.reshape(targets.shape), targets
    if layout == "positions" and outputs.shape[:-1] == targets.shape:
        labelled = targets != IGNORE_INDEX
        return outputs[labelled], targets[labelled]
    return outputs, targets


# -- the layout ------------------------------------------------------------------------------------------------------


def _find_layout(loss_func: Optional[LossFunc], task: str, n_outputs: int, device: torch.device) -> Optional[str]:
    """Return the first layout in which the loss can be computed, and pairs each row with its own target."""
    if loss_func is None:
        return None
    outputs, targets = _make_batch(task, n_outputs, device)
    if _compute(loss_func, "given", outputs, targets) is not None:
        broadcasts = task == "regression" and does_loss_broadcast(loss_func, outputs, targets)
        return "aligned" if broadcasts else "given"
    other = "positions" if task in PER_POSITION_TASKS else "aligned"
    return other if _compute(loss_func, other, outputs, targets) is not None else None


def _make_batch(task: str, n_outputs: int, device: torch.device) -> Tuple[Tensor, Tensor]:
    """Make outputs that may be logits as well as probabilities, and targets of the shapes of `task`."""
    if task == "question-answering":
        outputs, targets = _irregular((ROWS, 2, 5), device), torch.arange(ROWS * 2, device=device).view(ROWS, 2) % 5
    elif task == "token-classification":
        width = n_outputs + WIDTH_BEYOND_CLASSES
        outputs = _irregular((ROWS, width, n_outputs), device)
        targets = torch.arange(ROWS * width, device=device).view(ROWS, width) % n_outputs
    elif task == "single_label_classification":
        outputs, targets = _irregular((ROWS, n_outputs), device), torch.arange(ROWS, device=device) % n_outputs
    elif task == "multi_label_classification":
        outputs = _irregular((ROWS, n_outputs), device)
        return outputs, (_irregular((ROWS, n_outputs), device, 0.754877) > 0.5).to(outputs.dtype)
    else:
        outputs = _irregular((ROWS, n_outputs), device)
        return outputs, _irregular((ROWS,) if n_outputs == 1 else (ROWS, n_outputs), device, 0.754877)
    if task in PER_POSITION_TASKS and device.type == "cpu":  # on a GPU a class that a loss does not know is, too
        targets[:, 0] = IGNORE_INDEX
    return outputs / outputs.sum(-1, keepdim=True), targets


def _irregular(shape: Tuple[int, ...], device: torch.device, ratio: float = 0.618034) -> Tensor:
    """Make distinct numbers from 0.1 to 0.9, float32."""
    count = torch.arange(1.0, math.prod(shape) + 1, device=device)
    return (0.1 + 0.8 * (count * ratio % 1)).view(shape)


# -- what the outputs stand for --------------------------------------------------------------------------------------


def _find_link(loss_func: LossFunc, task: str, n_outputs: int, layout: str) -> Optional[str]:
    outputs, targets = _make_batch(task, n_outputs, CPU)
    if task != "regression" and _takes_probabilities(loss_func, layout, outputs, targets):
        return "identity"
    if task == "multi_label_classification":
        return _find_link_of_labels(loss_func, layout, outputs, targets)
    if task != "regression":
        by_class = task != "question-answering" and _takes_class_logits(loss_func, layout, outputs, targets)
        return "sigmoid" if by_class else None
    # Where the numbers are what the loss wants: not the outputs, if it takes their logits or logarithms.
    best = (name for name, (_, invert) in LINKS.items() if _is_least(loss_func, layout, invert(targets), targets))
    found = next(best, "identity")
    return None if found == "identity" else found


def _find_link_of_labels(loss_func: LossFunc, layout: str, outputs: Tensor, targets: Tensor) -> Optional[str]:
    if _compares_classes(loss_func, layout, outputs, targets):
        return "softmax"
    parts = 0.1 + 0.8 * targets * outputs / outputs.max()  # no 0 or 1, from which a sigmoid's logit is far
    return "identity" if _is_least(loss_func, layout, parts, parts) else None


def _compares_classes(loss_func: LossFunc, layout: str, outputs: Tensor, targets: Tensor) -> bool:
    """Return whether the loss sees only by how much a row's outputs differ, as after a softmax."""
    of_each_row = torch.arange(float(ROWS)).view(-1, *[1] * (outputs.dim() - 1))
    tried = outputs, outputs + of_each_row, 3 * outputs
    value, shifted, spread = (_compute(loss_func, layout, rows, targets) for rows in tried)
    if value is None or shifted is None or spread is None:
        return False
    return math.isclose(value, shifted, rel_tol=1e-4) and not math.isclose(value, spread, rel_tol=1e-4)


def _takes_class_logits(loss_func: LossFunc, layout: str, outputs: Tensor, targets: Tensor) -> bool:
    """Return whether the loss wants a sigmoid of each class: content where each is far on its side, however far."""
    if _compares_classes(loss_func, layout, outputs, targets):
        return False
    sides = 2 * nn.functional.one_hot(targets.clamp(min=0), outputs.shape[-1]).to(outputs.dtype) - 1
    tried = [factor * SATURATED * sides for factor in (1, 2, -1, -2)]
    right, farther, wrong, worse = (_compute(loss_func, layout, rows, targets) for rows in tried)
    if right is None or farther is None or wrong is None or worse is None:
        return False
    return abs(right - farther) < 1e-4 * abs(wrong - worse)


def _takes_probabilities(loss_func: LossFunc, layout: str, outputs: Tensor, targets: Tensor) -> bool:
    """Return whether the loss knows no outputs below 0: it raises, is not finite, or cuts them off."""
    if _compute(loss_func, layout, outputs, targets) is None:
        return False
    near, far = (_compute(loss_func, layout, -size * (1 + outputs), targets) for size in (1.0, 2.0))
    return near == far  # logits that lie twice as far apart make another loss


def _is_least(loss_func: LossFunc, layout: str, outputs: Tensor, targets: Tensor) -> bool:
    """Return whether the loss rises from `outputs` on each way: up, down, and farther from or closer to their mean."""
    outputs = outputs.reshape(ROWS, -1)
    middle = outputs.mean(0, keepdim=True)
    moved = [outputs + 0.2, outputs - 0.2, middle + 1.3 * (outputs - middle), middle + 0.7 * (outputs - middle)]
    least, *others = (_compute(loss_func, layout, rows, targets) for rows in (outputs, *moved))
    return least is not None and all(other is None or other > least + 1e-6 * (1 + abs(least)) for other in others)


def _compute(loss_func: LossFunc, layout: str, outputs: Tensor, targets: Tensor) -> Optional[float]:
    """Compute the loss as a float, or None where it raises or is not finite."""
    try:
        value = float(torch.as_tensor(loss_func(*arrange(layout, outputs, targets))).float().mean())
    except Exception:  # that the loss refuses these outputs is a result
        return None
    return value if math.isfinite(value) else None


# -- a copy of the loss ----------------------------------------------------------------------------------------------


def _copy_loss(loss_func: LossFunc, device: torch.device) -> Optional[LossFunc]:
    try:
        return move_loss(copy.deepcopy(loss_func), device)
    except Exception:  # a lock, a file: it cannot be asked without being changed
        return None


def _tensors_of(module: nn.Module) -> Any:
    yield from module.parameters()
    yield from module.buffers()


def _move(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value
