"""A model tried on small batches before it is trained: what it reads besides the text. Imports torch and ``errors``.

No table of architectures says which head reads a fixed place, or counts end marks; the outputs do.
"""

from contextlib import contextmanager
from typing import Any, Callable, Iterator, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from fastai_hf_callback.data.batches.trial_batches import TrialBatches
from fastai_hf_callback.errors import InputError, describe_exception
from fastai_hf_callback.utils.rng import preserve_rng_state

from .output import tensors_in

__all__ = ["try_trial_batches"]

# Of the largest output: what rounding makes of another width, in float32 below 1e-5; half precision has 8 bits.
TOLERANCE, TOLERANCE_HALF = 1e-4, 5e-2
SMALLEST_OUTPUT = 0.1  # outputs near 0 have the rounding of the larger numbers that they are sums of


def try_trial_batches(call: Callable[..., Any], model: nn.Module, trial: TrialBatches, names: Sequence[str]) -> None:
    """Refuse a model whose predictions would depend on what else is in a batch, or that such a batch would stop.

    Parameters
    ----------
    call : callable
        Takes a batch's tensors, gives the model's output.
    model : nn.Module
        Whose outputs they are; in training again after this, if it was.
    trial : TrialBatches
        Empty, as for texts padded at their end, it costs nothing.
    names : sequence of str
        Of the tensors.

    Raises
    ------
    InputError
    """
    if trial.alone is None and trial.plain is None:
        return
    with torch.no_grad(), preserve_rng_state(), _in_eval_mode(model):
        if trial.alone is not None and trial.padded is not None:
            _try_padding_in_front(call, model, trial.alone, trial.padded, names)
        if trial.plain is not None and trial.marked is not None:
            _try_marked_rows(call, model, trial)


def _try_padding_in_front(
    call: Callable[..., Any],
    model: nn.Module,
    alone: Tuple[Tensor, ...],
    padded: Tuple[Tensor, ...],
    names: Sequence[str],
) -> None:
    batches = (alone, padded, _refill_padding(padded, names))
    text, behind, refilled = (_first_output(call, model, batch) for batch in batches)
    if text is None or behind is None or refilled is None:
        return  # the first batch will say why
    behind, refilled = _last_as_many(behind, text), _last_as_many(refilled, text)
    if behind.shape != text.shape or refilled.shape != text.shape:
        return
    largest = max(float(text.abs().max()), SMALLEST_OUTPUT)
    # What is masked counts for nothing, to the last bit, in any precision; where a text begins may cost a rounding.
    tolerance = TOLERANCE_HALF if torch.finfo(text.dtype).bits < 32 else TOLERANCE
    by_place = _distance(text, behind) > tolerance * largest
    by_content = _distance(behind, refilled) > TOLERANCE * largest
    if by_place or by_content:
        apart, tokens = (
            max(_distance(text, behind), _distance(behind, refilled)),
            padded[0].shape[1] - alone[0].shape[1],
        )
        raise InputError(
            f"{type(model).__name__} is given texts padded in front, and its output for a text changes by {apart:.2g} "
            f"with {tokens} padding tokens there: it reads a fixed place, or counts positions with the padding. Write "
            f"tokenizer.padding_side = 'right' before text_data.",
            "padded-in-front",
        )


def _try_marked_rows(call: Callable[..., Any], model: nn.Module, trial: TrialBatches) -> None:
    assert trial.plain is not None and trial.marked is not None, "asked for both"
    if _first_output(call, model, trial.plain) is None:
        return
    try:
        call(*_to_device(model, trial.marked))
    except Exception as error:
        raise InputError(
            f"{type(model).__name__} cannot take a text that holds a special token's string next to one without: "
            f"{trial.where} ({describe_exception(error)}). Take the string out of these texts, as the warning of "
            f"text_data says: .str.replace(..., ' ', regex=False).",
            "special-tokens-in-texts",
        ) from error


def _first_output(call: Callable[..., Any], model: nn.Module, batch: Tuple[Tensor, ...]) -> Optional[Tensor]:
    """Return the first tensor of floats that the model gives for a batch; None where it gives none, or raises."""
    try:
        output = call(*_to_device(model, batch))
    except Exception:  # whatever a model raises, the first batch of a fit raises as well, with its own message
        return None
    return next((one for one in tensors_in(output) if one.is_floating_point() and one.numel()), None)


def _to_device(model: nn.Module, batch: Tuple[Tensor, ...]) -> Tuple[Tensor, ...]:
    parameter = next(model.parameters(), None)
    return batch if parameter is None else tuple(one.to(parameter.device) for one in batch)


def _refill_padding(padded: Tuple[Tensor, ...], names: Sequence[str]) -> Tuple[Tensor, ...]:
    """Put a word of the text in the place of its padding; the mask stays."""
    named = dict(zip(names, padded))
    ids, mask = named["input_ids"], named["attention_mask"]
    real = ids[mask > 0]
    named["input_ids"] = torch.where(mask > 0, ids, real[len(real) // 2])
    return tuple(named[name] for name in names)


def _last_as_many(output: Tensor, text: Tensor) -> Tensor:
    """Return of outputs per token those of the text, which are the last; other outputs as they are."""
    return output if output.shape == text.shape or output.dim() < 2 else output[:, -text.shape[1] :]


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).abs().max())


@contextmanager
def _in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Set a model to evaluate, and each of its modules back to what it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
