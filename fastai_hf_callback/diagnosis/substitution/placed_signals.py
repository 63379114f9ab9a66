"""Signals whose targets have a place: tokens, spans, choices, pixels, texts, pairs of texts. Imports torch."""

from typing import Any, List, Optional, Tuple

import torch
from torch import Tensor
from torch.nn import functional

from fastai_hf_callback.data.batches.padding import IGNORE_INDEX
from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.model.output import tensors_in

from .layout import BatchLayout, Words, flatten, rebuild
from .signals import SHARE, CannotPlantError, Planted, Signal, clear_words, draw_sides, mark_words, read_logits

__all__ = [
    "ChoiceSignal",
    "MaskedTokenSignal",
    "NextTokenSignal",
    "PairSignal",
    "SegmentationSignal",
    "SequenceSignal",
    "SpanSignal",
    "TokenSignal",
]


def as_table(target: Tensor, like: Tensor) -> Tensor:
    """Return targets as a table again, where they were flattened."""
    return target.reshape(like.shape) if target.numel() == like.numel() else target


def read_places(output: Any, places: Tensor) -> Tensor:
    """Read the logits of each place, (rows, places, outputs), also where they were flattened."""
    logits = read_logits(output)
    if logits.dim() == 2 and logits.shape[0] == places.numel():
        return logits.reshape(*places.shape, -1)
    return logits[:, -places.shape[1] :]  # behind the places of a prompt


class TokenSignal(Signal):
    """A label for each token: two rare words have two labels."""

    @property
    def description(self) -> str:
        return f"the words of ids {self.words.rare[0]} and {self.words.rare[1]} have two labels"

    @property
    def words(self) -> Words:
        return self.layout.words[0]

    def plant(self, batch: Batch, generator: torch.Generator) -> Planted:
        tensors = [t.clone() for t in flatten(batch)]
        ids = clear_words(self.words, tensors[self.words.table], self.words.rare[:2])
        target = as_table(tensors[self.layout.targets[0]], ids)
        free = self.words.find_free(ids) & (target != IGNORE_INDEX)
        places = free & (torch.rand(ids.shape, generator=generator).to(ids.device) < SHARE)
        sides = (torch.rand(ids.shape, generator=generator) < 0.5).to(ids.device)
        written = torch.tensor(self.words.rare[:2], device=ids.device)[sides.long()].to(ids.dtype)
        tensors[self.words.table] = torch.where(places, written, ids)
        return Planted(
            rebuild(batch, self._label(tensors, places, sides)),
            rebuild(batch, self._label(tensors, places, ~sides)),
            sides[places],
            places,
        )

    def _label(self, tensors: List[Tensor], places: Tensor, sides: Tensor) -> List[Tensor]:
        made, pair = list(tensors), torch.stack(self.pair)
        for i in self.layout.targets:
            old = as_table(tensors[i], places)
            new = torch.where(places, pair.to(old.device)[sides.long()].to(old.dtype), old)
            made[i] = new.reshape(tensors[i].shape)
        return made

    def costs(self, output: Any, planted: Planted, other: bool = False) -> Tensor:
        target = as_table(flatten(planted.other if other else planted.batch)[self.layout.targets[0]], planted.places)
        logits = read_places(output, planted.places)
        return functional.cross_entropy(logits[planted.places], target[planted.places].long(), reduction="none")


class NextTokenSignal(Signal):
    """A language model: after one rare word follows always the same, after the other another."""

    def __init__(self, layout: BatchLayout, shift: int):
        self.layout, self.shift, self.kind = layout, shift, "the next token"
        self.words = layout.words[0]

    @property
    def description(self) -> str:
        a, b, c, d = self.words.rare[:4]
        return f"token {c} follows token {a}, and {d} follows {b}"

    def plant(self, batch: Batch, generator: torch.Generator) -> Planted:
        tensors = [t.clone() for t in flatten(batch)]
        a, b, c, d = self.words.rare[:4]
        ids = clear_words(self.words, tensors[self.words.table], (a, b, c, d))
        places = self._choose_places(ids, generator)
        sides = (torch.rand(ids.shape, generator=generator) < 0.5).to(ids.device)
        after = torch.zeros_like(places)
        after[:, 1:] = places[:, :-1]
        next_sides = torch.zeros_like(sides)
        next_sides[:, 1:] = sides[:, :-1]
        first = torch.tensor([a, b], device=ids.device)[sides.long()].to(ids.dtype)
        second = torch.tensor([c, d], device=ids.device)[next_sides.long()].to(ids.dtype)
        written = torch.where(after, second, torch.where(places, first, ids))
        swapped = torch.where(after, second.new_tensor([d, c])[next_sides.long()], written)
        old = tensors[self.words.table]
        tensors[self.words.table] = written
        return Planted(
            rebuild(batch, self._label(tensors, old, written)),
            rebuild(batch, self._label(tensors, old, swapped)),
            sides[places],
            places,
        )

    def _choose_places(self, ids: Tensor, generator: torch.Generator) -> Tensor:
        """Choose places so that the next one is free, too, and no two are neighbours."""
        free = self.words.find_free(ids)
        places = torch.zeros_like(free)
        places[:, :-1] = (
            free[:, :-1] & free[:, 1:] & (torch.rand(ids.shape, generator=generator).to(ids.device) < SHARE)[:, :-1]
        )
        for column in range(1, places.shape[1]):
            places[:, column] &= ~places[:, column - 1]
        return places

    def _label(self, tensors: List[Tensor], old: Tensor, ids: Tensor) -> List[Tensor]:
        made = list(tensors)
        for i in self.layout.targets:
            target = as_table(tensors[i], ids).clone()
            reads = target[:, : target.shape[1] - self.shift]
            shown, was = ids[:, self.shift :].to(target.dtype), old[:, self.shift :].to(target.dtype)
            reads[:] = torch.where(reads == was, shown, reads)
            made[i] = target.reshape(tensors[i].shape)
        return made

    def costs(self, output: Any, planted: Planted, other: bool = False) -> Tensor:
        logits, a = read_places(output, planted.places), self.words.rare
        ids = flatten(planted.batch)[self.words.table]
        sides = (ids == a[1])[planted.places]
        target = torch.tensor([a[2], a[3]], device=ids.device)[(sides ^ other).long()]
        return functional.cross_entropy(logits[planted.places], target, reduction="none")


class MaskedTokenSignal(NextTokenSignal):
    """A masked language model: two rare words tell which of two the masked words of a row were."""

    def __init__(self, layout: BatchLayout, mask: int):
        super().__init__(layout, 0)
        self.mask, self.kind = mask, "masked tokens"

    @property
    def description(self) -> str:
        a, b, c, d = self.words.rare[:4]
        return f"where token {a} stands the masked tokens are {c}, and {d} where {b} stands"

    def plant(self, batch: Batch, generator: torch.Generator) -> Planted:
        tensors = [t.clone() for t in flatten(batch)]
        a, b, c, d = self.words.rare[:4]
        target = as_table(tensors[self.layout.targets[0]], tensors[self.words.table])
        shown = torch.where(target == IGNORE_INDEX, tensors[self.words.table], target.to(tensors[self.words.table]))
        ids = clear_words(self.words, shown, (a, b, c, d))
        before = self._choose_places(ids, generator)
        # One side a row: where a word stands relative to another takes a new model long to learn.
        told = sides = draw_sides(ids.shape[0], generator).to(ids.device)[:, None].expand_as(ids)
        places = torch.zeros_like(before)
        places[:, 1:] = before[:, :-1]
        first = torch.tensor([a, b], device=ids.device)[told.long()].to(ids.dtype)
        written = torch.where(places, torch.full_like(ids, self.mask), torch.where(before, first, ids))
        tensors[self.words.table] = written
        made, swapped = list(tensors), list(tensors)
        pair = torch.tensor([c, d], device=ids.device, dtype=target.dtype)
        for i in self.layout.targets:
            nothing = torch.full_like(target, IGNORE_INDEX)
            made[i] = torch.where(places, pair[sides.long()], nothing).reshape(tensors[i].shape)
            swapped[i] = torch.where(places, pair[(~sides).long()], nothing).reshape(tensors[i].shape)
        return Planted(rebuild(batch, made), rebuild(batch, swapped), sides[places], places)

    def costs(self, output: Any, planted: Planted, other: bool = False) -> Tensor:
        target = as_table(flatten(planted.other if other else planted.batch)[self.layout.targets[0]], planted.places)
        logits = read_places(output, planted.places)[planted.places]
        return functional.cross_entropy(logits, target[planted.places].long(), reduction="none")


class SequenceSignal(Signal):
    """A text for each text: two rare words tell which of two words the whole answer is made of."""

    def _fill(self, target: Tensor, sides: Tensor) -> Tensor:
        one, two = (int(side) for side in self.pair)
        words = torch.where(sides, torch.full_like(sides, 0).long() + two, torch.full_like(sides, 0).long() + one)
        real = (target != IGNORE_INDEX) & (target > 0)
        real[:, 0] = True
        return torch.where(real, words.to(target.dtype)[:, None].expand_as(target), target)

    def costs(self, output: Any, planted: Planted, other: bool = False) -> Tensor:
        """Compute the first token's costs: the model may be told the later ones, as it is taught."""
        target = flatten(planted.other if other else planted.batch)[self.layout.targets[0]]
        return functional.cross_entropy(read_logits(output)[:, 0], target[:, 0].long(), reduction="none")

    def compute_loss(self, output: Any, planted: Planted) -> Tensor:
        target, logits = flatten(planted.batch)[self.layout.targets[0]].long(), read_logits(output)
        return functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), target.reshape(-1), ignore_index=IGNORE_INDEX
        )


class SpanSignal(Signal):
    """An answer's place: where one rare word stands, and not where the other does."""

    def __init__(self, layout: BatchLayout):
        self.layout, self.kind, self.words = layout, "spans", layout.words[0]

    @property
    def description(self) -> str:
        return f"the answer is the word of id {self.words.rare[0]}, not that of id {self.words.rare[1]}"

    def plant(self, batch: Batch, generator: torch.Generator) -> Planted:
        tensors = [t.clone() for t in flatten(batch)]
        ids = clear_words(self.words, tensors[self.words.table], self.words.rare[:2])
        chance = torch.rand(ids.shape, generator=generator).to(ids.device) * self.words.find_free(ids).float()
        places = chance.topk(2, dim=-1).indices
        for k in range(2):
            ids = ids.scatter(1, places[:, k : k + 1], self.words.rare[k])
        tensors[self.words.table] = ids
        return Planted(
            rebuild(batch, self._answer(tensors, places[:, 0])),
            rebuild(batch, self._answer(tensors, places[:, 1])),
            None,
            places,
        )

    def _answer(self, tensors: List[Tensor], places: Tensor) -> List[Tensor]:
        made = list(tensors)
        for i in self.layout.targets:
            target = tensors[i]
            made[i] = places.reshape(-1, *[1] * (target.dim() - 1)).expand_as(target).to(target.dtype).contiguous()
        return made

    def costs(self, output: Any, planted: Planted, other: bool = False) -> Tensor:
        places = planted.places[:, int(other)]
        begin, end = (functional.cross_entropy(logits, places, reduction="none") for logits in _read_pair(output))
        return begin + end


def _read_pair(output: Any) -> List[Tensor]:
    """Read the logits of begin and end."""
    if isinstance(output, Tensor):
        return (
            [output[:, 0].float(), output[:, 1].float()] if output.shape[1] == 2 else [output[..., 0], output[..., 1]]
        )
    found = [t for t in tensors_in(output) if t.dim() == 2 and t.is_floating_point()]
    if len(found) < 2:
        raise CannotPlantError("the output holds no logits of begin and end")
    return [t.float() for t in found[:2]]


class ChoiceSignal(Signal):
    """One of several texts is right: the one that holds a rare word; the others hold another."""

    def __init__(self, layout: BatchLayout, choices: int):
        self.layout, self.choices, self.kind = layout, choices, "choices"

    @property
    def description(self) -> str:
        words = self.layout.words[0]
        return f"the right choice holds the word of id {words.rare[1]}, the others that of id {words.rare[0]}"

    def plant(self, batch: Batch, generator: torch.Generator) -> Planted:
        tensors = [t.clone() for t in flatten(batch)]
        rows = tensors[self.layout.targets[0]].shape[0]
        right = torch.randint(self.choices, (rows,), generator=generator)
        marks = (torch.arange(self.choices)[None] == right[:, None]).reshape(-1)
        for words in self.layout.words:
            shape = tensors[words.table].shape
            tensors[words.table] = tensors[words.table].reshape(-1, shape[-1])
            mark_words(words, tensors, marks, generator)
            tensors[words.table] = tensors[words.table].reshape(shape)
        wrong = (right + 1) % self.choices
        return Planted(
            rebuild(batch, self._answer(tensors, right)), rebuild(batch, self._answer(tensors, wrong)), None, right
        )

    def _answer(self, tensors: List[Tensor], right: Tensor) -> List[Tensor]:
        made = list(tensors)
        for i in self.layout.targets:
            made[i] = right.to(tensors[i].device).reshape(tensors[i].shape).to(tensors[i].dtype)
        return made

    def costs(self, output: Any, planted: Planted, other: bool = False) -> Tensor:
        target = flatten(planted.other if other else planted.batch)[self.layout.targets[0]]
        return functional.cross_entropy(read_logits(output), target.reshape(-1).long(), reduction="none")


class SegmentationSignal(Signal):
    """A class for each pixel: one in the half that is bright, another in the other half."""

    @property
    def description(self) -> str:
        return "the bright half of a picture is one class, the dark half another"

    def _fill(self, target: Tensor, sides: Tensor) -> Tensor:
        one, two = (int(side) for side in self.pair)
        made, half = target.clone(), target.shape[-1] // 2
        shape = (-1, *[1] * (target.dim() - 1))
        first = torch.where(sides, torch.full_like(sides, 0).long() + one, torch.full_like(sides, 0).long() + two)
        second = one + two - first
        made[..., :half] = first.to(target.dtype).reshape(shape)
        made[..., half:] = second.to(target.dtype).reshape(shape)
        return made

    def costs(self, output: Any, planted: Planted, other: bool = False) -> Tensor:
        target = flatten(planted.other if other else planted.batch)[self.layout.targets[0]].long()
        logits = read_logits(output)
        target = target.reshape(target.shape[0], *target.shape[-2:])
        if logits.shape[-2:] != target.shape[-2:]:
            logits = functional.interpolate(logits, size=target.shape[-2:], mode="nearest")
        return functional.cross_entropy(logits, target, reduction="none").mean((1, 2))


class PairSignal(Signal):
    """Pairs of texts, each encoded alone: those of a pair hold the same word; or, where targets say so, not the same.

    Parameters
    ----------
    layout : BatchLayout
    pair : (Tensor, Tensor) or None
        The targets of pairs that are unlike and alike; None where each row is to be found by its other half.
    """

    def __init__(self, layout: BatchLayout, pair: Optional[Tuple[Tensor, Tensor]]):
        self.layout, self.kind, self.judged = layout, "pairs of texts", pair

    @property
    def description(self) -> str:
        return "texts of a pair hold the same rare word" + ("" if self.judged is None else ", or two different ones")

    def plant(self, batch: Batch, generator: torch.Generator) -> Planted:
        tensors = [t.clone() for t in flatten(batch)]
        rows = tensors[self.layout.words[0].table].shape[0]
        known = min(len(words.rare) for words in self.layout.words)
        marks = torch.arange(rows)[torch.randperm(rows, generator=generator)] % min(rows, known)
        sides = draw_sides(rows, generator)
        for number, words in enumerate(self.layout.words[:2]):
            shift = number if self.judged is None else number * (~sides).long()
            chosen = marks if self.judged is None else (marks + shift) % 2
            self._mark(words, tensors, chosen, generator)
        if self.judged is None:
            made = rebuild(batch, tensors)
            return Planted(made, made, None, marks)
        return Planted(
            rebuild(batch, self._with_pair(tensors, sides)), rebuild(batch, self._with_pair(tensors, ~sides)), sides
        )

    def _mark(self, words: Words, tensors: List[Tensor], marks: Tensor, generator: torch.Generator) -> None:
        ids = tensors[words.table]
        free = words.find_free(ids) & (torch.rand(ids.shape, generator=generator).to(ids.device) < 2 * SHARE)
        written = torch.tensor(self.layout.words[0].rare, device=ids.device)[marks.to(ids.device)][:, None]
        tensors[words.table] = torch.where(free, written.to(ids.dtype).expand_as(ids), ids)

    def _with_pair(self, tensors: List[Tensor], sides: Tensor) -> List[Tensor]:
        assert self.judged is not None
        made, pair = list(tensors), torch.stack(self.judged)
        for i in self.layout.targets:
            made[i] = pair[sides.long()].reshape(tensors[i].shape).to(tensors[i])
        return made

    def costs(self, output: Any, planted: Planted, other: bool = False) -> Tensor:
        alike = _read_likeness(output)
        if self.judged is not None:
            assert planted.sides is not None
            rows = alike.diagonal() if alike.dim() == 2 and alike.shape[0] == alike.shape[1] else alike.reshape(-1)
            return functional.binary_cross_entropy_with_logits(rows, (planted.sides ^ other).float(), reduction="none")
        same = torch.arange(len(alike), device=alike.device)
        return functional.cross_entropy(alike, same.roll(1) if other else same, reduction="none")


def _read_likeness(output: Any) -> Tensor:
    """Read how alike the texts of all pairs are: rows and columns are first and second texts."""
    if isinstance(output, Tensor) and (output.dim() == 1 or output.shape[0] == output.shape[1] or output.shape[1] == 1):
        return output.float()
    states = [t for t in tensors_in(output) if t.dim() == 2 and t.is_floating_point()]
    if isinstance(output, Tensor):
        states = [output[:, 0], output[:, 1]] if output.dim() == 3 and output.shape[1] == 2 else []
    if len(states) < 2:
        raise CannotPlantError("the output holds no two states for each pair")
    one, two = (functional.normalize(state.float(), dim=-1) for state in states[:2])
    return 10 * one @ two.t()
