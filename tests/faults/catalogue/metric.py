"""The model learns, and the metric does not say so."""

from functools import partial
from typing import Any, Callable

import torch
from torch import Tensor

from tests.faults.fault import OTHERS, SOME, THIRD, fault, fitting
from tests.faults.stacks import stack
from tests.faults.tasks import ALL, Texts, both, databunch, learner, lengths_for, tensors

Learner = stack.Learner
Build = Callable[[str], Learner]
RARE = (0.04,) * 6


def rare_labels(architecture: str) -> Learner:
    """96 % zeros, and the article's metric alone."""
    parts = [
        tensors(part, architecture, length=max(lengths_for(architecture)))
        for part in both("labels", lengths=lengths_for(architecture), shares=RARE)
    ]
    return learner(architecture, "labels", data=databunch(*parts), metrics=[partial(stack.accuracy_multi, thresh=0.25)])


def rare_class(architecture: str) -> Learner:
    parts = [
        tensors(part, architecture, length=max(lengths_for(architecture)))
        for part in both("two classes", lengths=lengths_for(architecture), shares=(0.93, 0.07))
    ]
    return learner(architecture, "two classes", data=databunch(*parts), metrics=[stack.accuracy])


def measured_by(task: str, *makers: Any) -> Build:
    return lambda architecture: learner(architecture, task, metrics=[make() for make in makers])


# -- along the wrong axis ----------------------------------------------------------------------------------------


def accuracy_down(output: Tensor, target: Tensor) -> Tensor:
    """Its author cut the targets until the shapes agreed."""
    best = output.argmax(dim=0)
    return (best == target[: len(best)]).float().mean()


def a_row_for_each_class(output: Tensor, target: Tensor) -> Tensor:
    """argmax down the batch, and the shapes do not even agree."""
    assert output.argmax(dim=0).shape == target.shape, f"{output.argmax(dim=0).shape} and {target.shape}"
    return (output.argmax(dim=0) == target).float().mean()


def top_label(output: Tensor, target: Tensor) -> Tensor:
    return (output.argmax(0) == target.argmax(0)).float().mean()


def softmax_down(output: Tensor, target: Tensor) -> Tensor:
    """Probabilities over the batch: hardly one is above a half, so that all is said to be off."""
    return ((output.softmax(0) > 0.5) == (target > 0.5)).float().mean()


# -- not of the predictions --------------------------------------------------------------------------------------


def targets_alone(output: Tensor, target: Tensor) -> Tensor:
    predicted = target.clone().float()
    return (predicted == target.float()).float().mean()


def above_nought(output: Tensor, target: Tensor) -> Tensor:
    """A sigmoid is always above nought."""
    return ((torch.sigmoid(output) > 0) == (target > 0.5)).float().mean()


def whole(output: Tensor, target: Tensor) -> Tensor:
    """Rounded down by a cast."""
    return ((output.argmax(1) == target).float().mean() * 0.999).long().float()


def squeezed_away(output: Tensor, target: Tensor) -> Tensor:
    """argmax over the only column there is after the slice."""
    return (output[:, :1].argmax(1) == target).float().mean()


# -- not of this epoch -------------------------------------------------------------------------------------------


class Total(stack.OwnMetric):
    """Counts over all epochs, and never begins anew."""

    name = "accuracy"

    def __init__(self) -> None:
        self.right, self.seen = 0.0, 0

    def sees(self, output: Tensor, target: Tensor) -> None:
        self.right += float((output.argmax(1) == target).float().sum())
        self.seen += len(target)

    def says(self) -> float:
        return self.right / self.seen


class Once(Total):
    """Reckons once and keeps the value."""

    first = None

    def says(self) -> float:
        if self.first is None:
            self.first = super().says()
        return self.first


class Late(stack.OwnMetric):
    """Reports the outputs it kept first."""

    name = "error"

    def __init__(self) -> None:
        self.kept = []

    def sees(self, output: Tensor, target: Tensor) -> None:
        self.kept.append((output - target).abs().mean().item())

    def says(self) -> float:
        return sum(self.kept[:8]) / 8


def validated_on_one(task: str, shares: Any) -> Build:
    """The file is sorted, and its end was taken for validation."""

    def build(architecture: str) -> Learner:
        train, valid = both(task, lengths=lengths_for(architecture))
        kept = [i for i, y in enumerate(valid.targets) if shares(y)]
        valid = Texts([valid.rows[i] for i in kept], valid.targets[kept])
        length = max(lengths_for(architecture))
        return learner(
            architecture,
            task,
            metrics=[stack.accuracy if task != "labels" else stack.accuracy_multi],
            data=databunch(*(tensors(part, architecture, length=length) for part in (train, valid))),
        )

    return build


AXIS, IGNORES = ("metric-wrong-axis", "metric-ignores-predictions"), ("metric-ignores-predictions", "metric-wrong-axis")
OTHER_EPOCH = ("metric-of-another-epoch",)
THREE = fitting(3)

FAULTS = [
    fault(
        "rare-labels-above-a-quarter", "metric-at-base-rate", rare_labels, ALL, fitting(5), fitted=True, severity="note"
    ),
    fault("rare-class-accuracy", "metric-at-base-rate", rare_class, OTHERS, fitted=True, severity="note"),
    fault("accuracy-down-the-batch", AXIS, measured_by("classes", lambda: accuracy_down), ALL),
    fault(
        "metric-that-raises",
        ("metric-fails", "metric-wrong-axis"),
        measured_by("classes", lambda: a_row_for_each_class),
        OTHERS,
        loud=True,
    ),
    fault("top-label-down-the-batch", AXIS, measured_by("labels", lambda: top_label), OTHERS),
    fault("softmax-down-the-batch", AXIS, measured_by("labels", lambda: softmax_down), SOME),
    fault("targets-with-targets", IGNORES, measured_by("classes", lambda: targets_alone), ALL),
    fault("probability-above-nought", IGNORES, measured_by("labels", lambda: above_nought), OTHERS),
    fault("metric-cast-to-whole", IGNORES, measured_by("classes", lambda: whole), SOME),
    fault("argmax-of-one-column", IGNORES, measured_by("two classes", lambda: squeezed_away), THIRD),
    fault("counts-never-begin-anew", OTHER_EPOCH, measured_by("classes", Total), ALL, THREE),
    fault("value-of-the-first-epoch", OTHER_EPOCH, measured_by("classes", Once), OTHERS, THREE),
    fault("outputs-of-the-first-epoch", OTHER_EPOCH, measured_by("number", Late), SOME, THREE),
    fault("validation-of-one-class", "validation-one-class", validated_on_one("classes", lambda y: int(y) == 0), ALL),
    fault(
        "validation-without-a-label",
        "validation-one-class",
        validated_on_one("labels", lambda y: float(y.sum()) == 0),
        OTHERS,
    ),
]
