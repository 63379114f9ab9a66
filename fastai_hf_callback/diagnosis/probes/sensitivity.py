"""Sensitivity of the outputs to changes of the weights, the words and the padding. Imports torch.

Each function takes one from a batch's inputs to the logits in eval mode, and calls it a few times.
"""

from contextlib import contextmanager
from functools import partial
from typing import Any, Callable, Iterator, List, Optional, Set, Tuple

import torch
from torch import Tensor, nn

from fastai_hf_callback.results.evidence import Outputs

from .batches import map_tensors, take_row
from .inputs import TokenView, contains_ids, is_table_of_ids

__all__ = [
    "changed_weights",
    "make_noise",
    "measure_batch_sensitivity",
    "measure_padding_sensitivity",
    "measure_spread_of_new_weights",
    "probe_output_bounds",
    "measure_word_sensitivity",
    "measure_word_sensitivity_with_noise",
    "shuffle_words",
    "take_unpadded_row",
]

LogitsFunc = Callable[[Any], Tensor]
MAX_BATCHES, SINGLE_ROWS = 2, 2
ROUNDING_TOLERANCE = 1e-4  # beyond 0 and 1: rounding in half precision


def probe_output_bounds(logits_func: LogitsFunc, batch: Any, out: Outputs, model: nn.Module) -> Tuple[bool, bool]:
    """Return whether the outputs stay between 0 and 1 for any weights, and whether rows then sum to 1.

    Tried with every weight at ten times and at minus a hundred times its value; the weights are restored afterwards.
    """
    if not out.finite or out.spread == 0 or out.lowest < -ROUNDING_TOLERANCE or out.highest > 1 + ROUNDING_TOLERANCE:
        return False, False
    sums = True
    for factor in (10.0, -100.0):
        with torch.no_grad(), changed_weights(model, partial(torch.mul, other=factor)):
            changed = logits_func(batch).float()
        if (
            not bool(torch.isfinite(changed).all())
            or float(changed.min()) < -ROUNDING_TOLERANCE
            or float(changed.max()) > 1 + ROUNDING_TOLERANCE
        ):
            return False, False
        sums &= bool(((changed.sum(-1) - 1).abs() < 1e-2).all())
    return True, sums and len(out.shape) > 1 and out.shape[-1] > 1


def measure_word_sensitivity(
    logits_func: LogitsFunc, batches: List[Any], views: List[TokenView], outputs: List[Tensor], out: Outputs
) -> Optional[float]:
    """Measure the largest change when words are shuffled over the whole batch; None where shapes change with it."""
    generator = torch.Generator().manual_seed(0)
    changes = []
    if not all(contains_ids(batch, view) for batch, view in zip(batches, views)):
        return None
    for batch, view, logits in list(zip(batches, views, outputs))[:MAX_BATCHES]:
        other = logits_func(shuffle_words(batch, view, generator))
        if other.shape != logits.shape:
            return None
        changes.append(_relative_change(logits, other, out))
    return max(changes)


def measure_batch_sensitivity(
    logits_func: LogitsFunc, batches: List[Any], outputs: List[Tensor], out: Outputs, rows: int = SINGLE_ROWS
) -> Optional[float]:
    """Measure the largest change of a row's logits when it is alone, padded as it was in its batch."""
    logits, changes = outputs[0], []
    if logits.dim() == 0 or logits.shape[0] != out.rows or out.rows < 2:
        return None
    for row in range(min(rows, out.rows)):
        alone = logits_func(take_row(batches[0], row))
        if alone.shape == logits[row : row + 1].shape:
            changes.append(_relative_change(logits[row : row + 1], alone, out))
    return max(changes, default=None)


def measure_padding_sensitivity(
    logits_func: LogitsFunc,
    batches: List[Any],
    views: List[TokenView],
    outputs: List[Tensor],
    out: Outputs,
    rows: int = SINGLE_ROWS,
) -> Optional[float]:
    """Measure the largest change of a row's logits when it is alone and unpadded; None where nothing is padded."""
    changes = []
    for batch, view, logits in list(zip(batches, views, outputs))[:MAX_BATCHES]:
        if view.pad_token_id is None or logits.dim() == 0 or logits.shape[0] != view.ids.shape[0]:
            continue
        most_padded = sorted(range(len(view.ids)), key=lambda i: -int(view.is_pad[i].sum()))
        for row in [i for i in most_padded if bool(view.is_pad[i].any())][:rows]:
            alone, before = logits_func(take_unpadded_row(batch, view, row)), logits_func(take_row(batch, row))
            if before.dim() == 3 and before.shape[1] == view.ids.shape[1]:
                before = before[:, ~view.is_pad[row]]
            if alone.shape == before.shape:
                changes.append(_relative_change(before, alone, out))
    return max(changes, default=None)


def _relative_change(one: Tensor, other: Tensor, out: Outputs) -> float:
    scale = max(out.spread, 0.01 * out.size, 1e-12)
    return float((one.float() - other.float()).abs().max()) / scale


def measure_word_sensitivity_with_noise(
    logits_func: LogitsFunc, batch: Any, view: TokenView, model: nn.Module, out: Outputs
) -> Optional[float]:
    """Measure the same with a little noise on every weight, so that a last layer that begins at zero responds."""
    with changed_weights(model, make_noise()):
        return measure_word_sensitivity(logits_func, [batch], [view], [logits_func(batch)], out)


def make_noise(size: float = 0.05) -> Callable[[Tensor], Tensor]:
    """Make a function that adds the same normal noise each time to weights, as a new tensor."""
    generator = torch.Generator().manual_seed(1)
    return lambda weights: weights + size * torch.randn(weights.shape, generator=generator).to(weights)


def measure_spread_of_new_weights(
    logits_func: LogitsFunc, batch: Any, model: nn.Module, out: Outputs
) -> Optional[float]:
    """Measure the spread over rows, relative to the outputs' size, with new weights, where these have one output."""
    if not out.uniform:
        return None
    generator, scales = torch.Generator().manual_seed(2), _list_scales(model)
    with changed_weights(model, lambda weights: _draw_weights(weights, weights.data_ptr() in scales, generator)):
        outputs = logits_func(batch).float()
    if outputs.dim() < 1 or len(outputs) < 2 or not bool(torch.isfinite(outputs).all()):
        return None
    return float((outputs - outputs.mean(0)).abs().max()) / max(float(outputs.abs().max()), 1e-12)


def _list_scales(model: nn.Module) -> Set[int]:
    """List where the vectors lie that multiply: layer norms' weights."""
    return {p.data_ptr() for name, p in model.named_parameters() if p.dim() == 1 and name.endswith("weight")}


def _draw_weights(weights: Tensor, is_scale: bool, generator: torch.Generator) -> Tensor:
    """Draw matrices that keep the size of what passes through; scales are 1 then, and biases 0."""
    if weights.dim() < 2:
        return torch.ones_like(weights) if is_scale else torch.zeros_like(weights)
    return (torch.randn(weights.shape, generator=generator) / weights[0].numel() ** 0.5).to(weights)


@contextmanager
def changed_weights(model: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Change every weight, and restore it on leaving."""
    original = [(p, p.data) for p in model.parameters()]
    try:
        for p, weights in original:
            p.data = change(weights)
        yield
    finally:
        for p, weights in original:
            p.data = weights


# -- changed copies of a batch ------------------------------------------------------------------------------------


def take_unpadded_row(batch: Any, view: TokenView, row: int) -> Any:
    """Take one row alone, and drop the columns of its padding from every table of the ids' shape."""
    keep = ~view.is_pad[row]
    return map_tensors(
        batch,
        lambda t: (
            t[row : row + 1][:, keep.to(t.device)]
            if t.shape[:2] == view.ids.shape
            else t[row : row + 1]
            if t.dim() and t.shape[0] == view.ids.shape[0]
            else t
        ),
    )


def shuffle_words(batch: Any, view: TokenView, generator: torch.Generator) -> Any:
    """Shuffle the words over the whole batch; padding, mask and what each row holds alike stay where they were.

    A head that reads nothing but a special token, the first of every row, would answer to words in that token's place.
    """
    spots = ~view.is_pad & ~_is_alike_in_rows(view)
    if len(view.ids[spots].unique()) < 2:
        spots = ~view.is_pad
    words = view.ids[spots]
    changed = view.ids.clone()
    changed[spots] = words[torch.randperm(len(words), generator=generator).to(words.device)]
    return map_tensors(batch, lambda t: changed.reshape(t.shape).to(t) if is_table_of_ids(t, view.ids) else t)


def _is_alike_in_rows(view: TokenView) -> Tensor:
    """Return where the ids are that every row holds equally often, as special tokens are."""
    words = view.ids.masked_fill(view.is_pad, -1)
    alike = torch.zeros_like(view.is_pad)
    for token in words[0].unique() if len(words) > 1 else ():
        counts = (words == token).sum(1)
        if int(token) >= 0 and bool((counts == counts[0]).all()):
            alike |= words == token
    return alike
