"""Which signal suits a learner: by its inputs, its targets and the form of its outputs. Imports torch."""

from typing import Any, List, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastai_hf_callback.data.batches.padding import IGNORE_INDEX
from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.model.inputs.forward_signature import find_pretrained
from fastai_hf_callback.model.output import describe, tensors_in

from .layout import BatchLayout, flatten
from .placed_signals import (
    ChoiceSignal,
    MaskedTokenSignal,
    NextTokenSignal,
    PairSignal,
    SegmentationSignal,
    SequenceSignal,
    SpanSignal,
    TokenSignal,
)
from .signals import CannotPlantError, Signal, read_logits

__all__ = ["choose_signal"]


def choose_signal(layout: BatchLayout, batches: List[Batch], output: Any, model: nn.Module) -> Signal:
    """Choose a signal.

    Parameters
    ----------
    layout : BatchLayout
    batches : list of Batch
    output : any
        What reached the loss for the first batch; None where nothing did.
    model : nn.Module

    Raises
    ------
    CannotPlantError
    """
    if not layout.words and not layout.pictures and not layout.sounds and not layout.features:
        raise CannotPlantError("the inputs are neither token ids, nor pixels, nor sound, nor numbers")
    if not layout.targets:
        raise CannotPlantError("the batches hold no targets")
    for words in layout.words:
        if len(words.rare) < 4:
            raise CannotPlantError(f"the batches hold {len(words.rare)} different words, and four are needed")
    first = flatten(batches[0])
    targets = [[flatten(b)[i] for b in batches if len(flatten(b)) > i] for i in layout.targets]
    return _Chooser(layout, first, targets, output, model).choose()


class _Chooser:
    """What is known of one learner's batches and outputs."""

    def __init__(
        self, layout: BatchLayout, tensors: List[Tensor], targets: List[List[Tensor]], output: Any, model: nn.Module
    ):
        self.layout, self.tensors, self.targets, self.output, self.model = layout, tensors, targets, output, model
        self.target, self.width = targets[0][0], _read_width(output, model)
        self.ids = tensors[layout.words[0].table] if layout.words else None

    def choose(self) -> Signal:
        target, layout = self.target, self.layout
        if self.ids is not None:
            found = self._choose_for_texts(self.ids)
            if found is not None:
                return found
        if target.is_floating_point() or _are_many_labels(target, self.output, self.ids):
            return _choose_for_floats(layout, self.targets[0], self.output)
        if layout.pictures and target.dim() >= 3:
            return SegmentationSignal(
                layout, _pick_classes(self.targets[0], self.width), _classes_cost, "a class a pixel"
            )
        if target.dim() == 1 or target.dim() == 2 and target.shape[1] == 1:
            if self.width == 1:
                return _choose_for_floats(layout, [t.float() for t in self.targets[0]], self.output)
            return Signal(layout, _pick_classes(self.targets[0], self.width), _classes_cost, "classes")
        raise CannotPlantError(f"the targets are {describe(target)}")

    def _choose_for_texts(self, ids: Tensor) -> Optional[Signal]:
        target, layout = self.target, self.layout
        if self._are_spans():
            return SpanSignal(layout)
        if ids.dim() == 3 and target.dim() <= 2 and not target.is_floating_point():
            return ChoiceSignal(layout, ids.shape[1])
        if _are_apart(layout):
            return PairSignal(layout, _pick_pair(self.targets[0]))
        if target.dim() == 1 and target.numel() == ids.numel() > len(ids) and not target.is_floating_point():
            return _choose_for_tokens(layout, ids, [target.reshape(ids.shape)], self.width, self.model)
        is_table = target.dim() == 2 and target.shape[1] > 1 and not target.is_floating_point()
        if is_table and not _are_many_labels(target, self.output, ids):
            return _choose_for_tokens(layout, ids, self.targets[0], self.width, self.model)
        return None

    def _are_spans(self) -> bool:
        if any(t[0].is_floating_point() for t in self.targets):
            return False
        names = {self.layout.names.get(i, "") for i in self.layout.targets}
        apart = [t[0] for i, t in zip(self.layout.targets, self.targets) if i >= self.layout.input_count]
        if "start_positions" in names or len(apart) == 2 and all(t.dim() == 1 for t in apart):
            return True
        pair = isinstance(self.output, Tensor) and self.output.dim() == 3 and 2 in self.output.shape[1:]
        return self.target.dim() == 2 and self.target.shape[1] == 2 and (pair or not isinstance(self.output, Tensor))


# -- spans, pairs, tokens --------------------------------------------------------------------------------------------


def _are_apart(layout: BatchLayout) -> bool:
    names = [layout.names.get(words.table, "") for words in layout.words]
    return len([n for n in names if not n.startswith("decoder")]) > 1


def _choose_for_tokens(layout: BatchLayout, ids: Tensor, targets: List[Tensor], width: int, model: nn.Module) -> Signal:
    target = targets[0]
    is_decoded = bool(getattr(getattr(find_pretrained(model), "config", None), "is_encoder_decoder", False))
    if target.shape != ids.shape or is_decoded:
        words = _pick_classes([t[:, 1:-1] if t.shape[1] > 2 else t for t in targets], width)
        return SequenceSignal(layout, words, _classes_cost, "a text")
    agreeing = [_share_equal(target, ids, shift) for shift in (0, 1)]
    if agreeing[0] > 0.995 or agreeing[1] > 0.995:
        return NextTokenSignal(layout, 0 if agreeing[0] > 0.995 else 1)
    is_vocabulary = int(max(int(t.max()) for t in targets)) > 2 + max(8, len({int(v) for v in target.reshape(-1)}))
    asked = (target != IGNORE_INDEX) & (target != ids)
    if (agreeing[0] > 0.5 or is_vocabulary) and bool(asked.any()):
        same = ids[asked]
        if float((same == same.mode().values).float().mean()) > 0.5:
            return MaskedTokenSignal(layout, int(same.mode().values))
    return TokenSignal(layout, _pick_classes(targets, width), _classes_cost, "a label a token")


def _share_equal(target: Tensor, ids: Tensor, shift: int) -> float:
    """Return how much of what is to be predicted are the ids, `shift` places on."""
    read, shown = target[:, : target.shape[1] - shift], ids[:, shift:]
    asked = read != IGNORE_INDEX
    return float((read == shown)[asked].float().mean()) if bool(asked.any()) else 0.0


# -- classes, labels, numbers ----------------------------------------------------------------------------------------


def _are_many_labels(target: Tensor, output: Any, ids: Optional[Tensor]) -> bool:
    """Return whether integers of 0 and 1 are labels, one for each output."""
    if target.dim() != 2 or target.shape[1] < 2 or not isinstance(output, Tensor) or output.shape != target.shape:
        return False
    return (ids is None or ids.shape != target.shape) and bool(((target == 0) | (target == 1)).all())


def _choose_for_floats(layout: BatchLayout, targets: List[Tensor], output: Any) -> Signal:
    rows = torch.cat([t.reshape(t.shape[0], -1).float() for t in targets if t.dim()])
    width = rows.shape[1]
    if width > 1 and bool(((rows.sum(1) - 1).abs() < 1e-3).all()) and bool((rows >= 0).all()):
        pair = torch.eye(width)[0], torch.eye(width)[1]
        return Signal(layout, pair, _distribution_cost, "probabilities of classes")
    if bool(((rows == 0) | (rows == 1)).all()):
        one = (torch.arange(width) % 2).float()
        return Signal(layout, (one, 1 - one), _labels_cost, "labels")
    return Signal(layout, _pick_numbers(rows, output), _number_cost, "numbers")


def _pick_numbers(rows: Tensor, output: Any) -> Tuple[Tensor, Tensor]:
    """Pick two numbers near the outputs, of the range of the targets: far-off ones take long to learn."""
    try:
        middle = float(read_logits(output).mean())
    except Exception:
        middle = float(rows.mean())
    middle, one = middle if abs(middle) < 1e6 else float(rows.mean()), torch.ones(rows.shape[1])
    if bool(((rows >= 0) & (rows <= 1)).all()):
        return 0.25 * one, 0.75 * one
    low = max(middle, 0.0) + 0.5 if bool((rows >= 0).all()) else middle - 1.0
    return low * one, (low + 2.0) * one


def _pick_pair(targets: List[Tensor]) -> Optional[Tuple[Tensor, Tensor]]:
    """Pick the targets of pairs that are unlike and alike; None where the targets do not tell such pairs apart."""
    values = torch.cat([t.reshape(-1) for t in targets]).float()
    lowest, highest = float(values.min()), float(values.max())
    return (torch.tensor(lowest), torch.tensor(highest)) if lowest < highest and len(values.unique()) <= 64 else None


def _pick_classes(targets: List[Tensor], width: int) -> Tuple[Tensor, Tensor]:
    """Pick the two classes that are the most frequent; 0 and 1 where there are not two."""
    values = torch.cat([t.reshape(-1) for t in targets])
    values = values[values >= 0]
    found, counts = values.unique(return_counts=True)
    common = [int(v) for v in found[counts.argsort(descending=True)] if width < 2 or int(v) < width][:2]
    common += [c for c in (0, 1) if c not in common]
    one, two = sorted(common[:2])
    return torch.tensor(one), torch.tensor(two)


def _read_width(output: Any, model: nn.Module) -> int:
    """Return how many outputs there are for each row or place; 0 where that cannot be told."""
    try:
        logits = read_logits(output)
    except Exception:
        tensors = [t for t in tensors_in(output) if t.dim() > 1]
        if not tensors:
            return int(getattr(getattr(find_pretrained(model), "config", None), "num_labels", 0) or 0)
        logits = tensors[0]
    if logits.dim() == 0:  # a loss
        return int(getattr(getattr(find_pretrained(model), "config", None), "num_labels", 0) or 0)
    if logits.dim() < 2:
        return 1
    return int(logits.shape[1] if logits.dim() == 4 else logits.shape[-1])


def _rows_of(logits: Tensor, rows: int) -> Tensor:
    if logits.dim() == 0 or logits.shape[0] != rows:
        raise CannotPlantError(f"there are not {rows} rows of outputs but {describe(logits)}")
    return logits.reshape(rows, -1)


def _classes_cost(logits: Tensor, target: Tensor) -> Tensor:
    target = target.reshape(-1).long()
    return functional.cross_entropy(_rows_of(logits, len(target)), target, reduction="none")


def _labels_cost(logits: Tensor, target: Tensor) -> Tensor:
    target = target.reshape(len(target), -1).float()
    return functional.binary_cross_entropy_with_logits(_rows_of(logits, len(target)), target, reduction="none").mean(1)


def _distribution_cost(logits: Tensor, target: Tensor) -> Tensor:
    return -(functional.log_softmax(_rows_of(logits, len(target)), -1) * target.float()).sum(-1)


def _number_cost(logits: Tensor, target: Tensor) -> Tensor:
    target = target.reshape(len(target), -1).float()
    return (_rows_of(logits, len(target)) - target).pow(2).mean(1)
