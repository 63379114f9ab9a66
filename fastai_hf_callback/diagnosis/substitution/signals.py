"""Signals that any sound learner picks up, planted in copies of its own batches: by the kind of its targets.

A signal has two sides. Every row, or every place where the targets have a place, is given one by chance; inputs and
targets both tell it. What was learned is judged on new rows: whether the outputs prefer the planted targets to those
of the other side.
"""

from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor

from fastai_hf_callback.diagnosis.probes.batches import Batch, count_rows
from fastai_hf_callback.model.output import tensors_in, unwrap

from .layout import BatchLayout, Words, flatten, is_among, rebuild

__all__ = [
    "SHARE",
    "CannotPlantError",
    "Planted",
    "Signal",
    "clear_words",
    "draw_sides",
    "mark_rows",
    "mark_words",
    "read_logits",
]

SHARE = 0.4  # of a row's words that are replaced


class CannotPlantError(Exception):
    """A learner's inputs or targets are of no kind in which a signal can be planted; the message says which."""


class Planted(NamedTuple):
    """A batch with a signal, the same with the other side's targets, and the sides; None where there are only pairs.

    `places` are where the signal stands, for targets that have a place.
    """

    batch: Batch
    other: Batch
    sides: Optional[Tensor]
    places: Any = None


class Signal:
    """A signal for row-wise targets: words or pixels tell which of two targets a row has.

    Parameters
    ----------
    layout : BatchLayout
    pair : (Tensor, Tensor)
        The two sides' targets of a row.
    cost : callable
        Outputs and targets -> what each row's prediction costs.
    kind : str
        What the targets are, in words.
    """

    def __init__(self, layout: BatchLayout, pair: Tuple[Tensor, Tensor], cost: Callable[..., Tensor], kind: str):
        self.layout, self.pair, self.cost, self.kind = layout, pair, cost, kind

    @property
    def description(self) -> str:
        return f"{_describe_marks(self.layout)} tell which of two targets ({self.kind}) a row has"

    def plant(self, batch: Batch, generator: torch.Generator) -> Planted:
        """Plant the signal, with sides by chance, in a copy of a batch."""
        tensors = [t.clone() for t in flatten(batch)]
        sides = draw_sides(_count_target_rows(self.layout, tensors), generator)
        mark_rows(self.layout, tensors, sides, generator)
        return Planted(
            rebuild(batch, self._with_targets(tensors, sides)),
            rebuild(batch, self._with_targets(tensors, ~sides)),
            sides,
        )

    def costs(self, output: Any, planted: Planted, other: bool = False) -> Tensor:
        """Compute what each planted place costs: with the planted targets, or with those of the other side."""
        targets = flatten(planted.other if other else planted.batch)[self.layout.targets[0]]
        return self.cost(read_logits(output), targets)

    def compute_loss(self, output: Any, planted: Planted) -> Tensor:
        """Compute the known-good loss."""
        costs = self.costs(output, planted)
        return costs.sum() / max(1, costs.numel())

    def _with_targets(self, tensors: List[Tensor], sides: Tensor) -> List[Tensor]:
        made = list(tensors)
        for i in self.layout.targets:
            made[i] = self._fill(tensors[i], sides.to(tensors[i].device))
        return made

    def _fill(self, target: Tensor, sides: Tensor) -> Tensor:
        one, two = (side.to(target.device) for side in self.pair)
        chosen = torch.where(sides.reshape(-1, *[1] * one.dim()), two, one)
        return chosen.reshape(target.shape).to(target.dtype)


def draw_sides(rows: int, generator: torch.Generator) -> Tensor:
    """Draw a side for each row, both equally often."""
    sides = torch.arange(rows) % 2 == 0
    if rows % 2:
        sides = sides ^ (torch.rand((), generator=generator) < 0.5)
    return sides[torch.randperm(rows, generator=generator)]


def read_logits(output: Any) -> Tensor:
    """Read the logits, float32, out of whatever reached the loss."""
    if isinstance(output, Tensor):
        return output.float()
    found = unwrap(output)
    return (found if isinstance(found, Tensor) else next(tensors_in(found))).float()


def _count_target_rows(layout: BatchLayout, tensors: Sequence[Tensor]) -> int:
    return next((tensors[i].shape[0] for i in layout.targets if tensors[i].dim()), count_rows(list(tensors)))


# -- marks in inputs -----------------------------------------------------------------------------------------------


def mark_rows(layout: BatchLayout, tensors: List[Tensor], sides: Tensor, generator: torch.Generator) -> None:
    """Mark each row with its side, in place."""
    for words in layout.words:
        mark_words(words, tensors, sides, generator)
    for i in layout.pictures + layout.features:
        _brighten(tensors[i], sides.to(tensors[i].device))
    for i in layout.sounds:
        _sound(tensors[i], sides.to(tensors[i].device))


def mark_words(words: Words, tensors: List[Tensor], sides: Tensor, generator: torch.Generator) -> None:
    """Write one of two rare words at many places of each row; neither is anywhere else."""
    ids = clear_words(words, tensors[words.table], words.rare[:2])
    free = words.find_free(ids)
    chosen = free & (torch.rand(ids.shape, generator=generator).to(ids.device) < SHARE)
    chosen |= free & (free.cumsum(-1) == 1 + (free.sum(-1, keepdim=True) > 2))  # at least one
    shape = (-1, *[1] * (ids.dim() - 1))
    written = torch.tensor(words.rare[:2], device=ids.device)[sides.to(ids.device).long()].reshape(shape)
    tensors[words.table] = torch.where(chosen, written.to(ids.dtype).expand_as(ids), ids)


def clear_words(words: Words, ids: Tensor, planted: Sequence[int]) -> Tensor:
    """Replace the words that are to be planted by a frequent one."""
    filler = words.filler if words.filler not in planted else words.rare[-1]
    return torch.where(is_among(ids, planted), torch.full_like(ids, filler), ids)


def _brighten(tensor: Tensor, sides: Tensor) -> None:
    """Raise the first or the second half of the last dimension."""
    half, size = tensor.shape[-1] // 2, 2 * _spread(tensor)
    shape = (-1, *[1] * (tensor.dim() - 1))
    tensor[..., :half] += size * (~sides).to(tensor.dtype).reshape(shape)
    tensor[..., half:] += size * sides.to(tensor.dtype).reshape(shape)


def _sound(tensor: Tensor, sides: Tensor) -> None:
    """Put a low or a high tone in the place of most of the sound."""
    time = torch.arange(tensor.shape[-1], device=tensor.device, dtype=torch.float32)
    tones = torch.stack([torch.sin(time * 0.06), torch.sin(time * 1.7)]).to(tensor.dtype) * 2 * _spread(tensor)
    tensor *= 0.3
    tensor += tones[sides.long()].reshape(len(sides), *[1] * (tensor.dim() - 2), -1)


def _spread(tensor: Tensor) -> float:
    spread = float(tensor.float().std()) if tensor.numel() > 1 else 0.0
    return spread if spread == spread and 0 < spread < 1e6 else 1.0


def _describe_marks(layout: BatchLayout) -> str:
    if layout.words:
        return f"the words of ids {layout.words[0].rare[0]} and {layout.words[0].rare[1]}"
    if layout.sounds:
        return "a low and a high tone"
    return "a bright first or second half"
