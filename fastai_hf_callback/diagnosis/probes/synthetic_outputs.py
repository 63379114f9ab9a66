"""Synthetic outputs: those of a perfect, a contrary and a constant predictor. Imports torch."""

import math
from typing import Any, NamedTuple, Optional, Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "AHEAD",
    "SyntheticOutputs",
    "as_probabilities",
    "build_synthetic_outputs",
    "find_class_axis",
    "fit_targets",
    "infer_target_kind",
    "repeat_row",
    "roll_targets",
]

AHEAD = (0, 1, -1, 2)  # how many positions on a target may stand, the usual ones first


class SyntheticOutputs(NamedTuple):
    """Outputs of one shape, float32: ``ideal`` predicts the targets, ``worst`` the contrary."""

    kind: str
    ideal: Tensor
    worst: Tensor


def infer_target_kind(shape: Sequence[int], target: Any) -> Optional[str]:
    """Infer ``classes``, ``labels`` (0 or 1, one per output) or ``number``; None where the two do not fit together.

    Parameters
    ----------
    shape : sequence of int
        The outputs' shape.
    target : Tensor
        A class per row of outputs, or a value per output.
    """
    if not isinstance(target, Tensor) or not shape or target.numel() == 0:
        return None
    size = math.prod(shape)
    if find_class_axis(shape, target) == 1:
        return "classes"
    if not target.is_floating_point() and shape[-1] > 1 and target.numel() * shape[-1] == size:
        return "classes" if int(target.max()) < shape[-1] else None
    if target.numel() != size:
        return None
    values = target.float()
    return "labels" if bool(((values == 0) | (values == 1)).all()) else "number"


def build_synthetic_outputs(shape: Sequence[int], target: Any, size: float = 10.0) -> Optional[SyntheticOutputs]:
    """Build both, or return None where outputs and targets do not fit together.

    Parameters
    ----------
    shape : sequence of int
    target : Tensor
        Negative classes (ignored by the losses) get a row of zeros.
    size : float
        How far logits lie from zero; a number's worst output is this many standard deviations off.
    """
    kind = infer_target_kind(shape, target)
    if kind is None:
        return None
    target = target.detach().cpu()
    if kind == "classes" and find_class_axis(shape, target) == 1:
        last = (shape[0], *shape[2:], shape[1])
        places = fit_targets(target, shape)
        ideal, worst = (_one_hot(last, places, off) * size for off in (0, 1))
        return SyntheticOutputs(kind, _second_axis(ideal), _second_axis(worst))
    if kind == "classes":
        return SyntheticOutputs(kind, _one_hot(shape, target, 0) * size, _one_hot(shape, target, 1) * size)
    values = target.float().reshape(tuple(shape))
    if kind == "labels":
        return SyntheticOutputs(kind, (2 * values - 1) * size, (1 - 2 * values) * size)
    spread = float(values.std()) if values.numel() > 1 else 0.0
    return SyntheticOutputs(kind, values, values + size * (spread or 1.0))


def as_probabilities(outputs: Tensor) -> Tensor:
    """Convert the same predictions to probabilities."""
    return (outputs > 0).to(outputs) * 0.98 + 0.01


def _one_hot(shape: Sequence[int], target: Tensor, off: int) -> Tensor:
    width = shape[-1]
    flat = target.reshape(-1)
    rows = torch.nn.functional.one_hot((flat.clamp(min=0) + off).long() % width, width).float()
    return (rows * (flat >= 0).float()[:, None]).reshape(tuple(shape))


def roll_targets(target: Tensor, ahead: int, left_out: int = -100) -> Tensor:
    """Return for each position the target `ahead` positions on, and `left_out` where there is none."""
    if not ahead:
        return target
    rolled, edge = target.roll(-ahead, 1), torch.full_like(target[:, : abs(ahead)], left_out)
    width = target.shape[1]
    if ahead > 0:
        return torch.cat([rolled[:, : max(0, width - ahead)], edge], 1)[:, :width]
    return torch.cat([edge, rolled[:, -ahead:]], 1)[:, :width]


def _second_axis(outputs: Tensor) -> Tensor:
    """Move the classes from the last axis to the second."""
    return outputs.permute(0, outputs.dim() - 1, *range(1, outputs.dim() - 1)).contiguous()


def repeat_row(row: Tensor, like: Tensor, axis: int = -1) -> Tensor:
    """Repeat `row`, (width,), for every text, in the form of the outputs `like`; `axis` counts the classes."""
    if like.dim() < 2:
        return row[0].expand(like.shape).to(like).contiguous()
    sizes = [1] * like.dim()
    sizes[axis] = -1
    return row.reshape(sizes).expand(like.shape).to(like).contiguous()


# -- which axis counts the classes: the last, or, as of pictures, the second ---------------------------------------


def find_class_axis(shape: Sequence[int], target: Any) -> int:
    """Find the axis of the classes, for outputs of `shape`: 1 or -1.

    It is 1 where what is left without that axis is the targets' shape, as of (rows, classes, height, width) and
    (rows, height, width); height and width of the outputs may be smaller. Where both axes fit, it is the last.
    """
    if not isinstance(target, Tensor) or target.is_floating_point() or len(shape) < 3:
        return -1
    rows, sides = tuple(target.shape[:1]), tuple(target.shape[1:])
    if tuple(shape[:-1]) == tuple(target.shape) or target.dim() != len(shape) - 1 or tuple(shape[:1]) != rows:
        return -1
    others = tuple(shape[2:])
    is_smaller = len(others) == 2 and all(a <= b for a, b in zip(others, sides))
    return 1 if shape[1] > 1 and (others == sides or is_smaller) else -1


def fit_targets(target: Tensor, shape: Sequence[int]) -> Tensor:
    """Return targets for outputs whose second axis counts the classes, one for each place of the outputs.

    The targets are made as small as the outputs; classes that there are not, as 255 for "void", become -1.
    """
    target = target.detach().cpu().long()
    if target.shape[1:] != torch.Size(shape[2:]):
        target = functional.interpolate(target[:, None].float(), size=tuple(shape[2:]), mode="nearest")[:, 0].long()
    return torch.where(target < shape[1], target, torch.full_like(target, -1))
