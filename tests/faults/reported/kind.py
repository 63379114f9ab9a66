"""What a reported kind of fault is: where it was reported, how it is planted, and how its harm is measured."""

from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Tuple

import torch
from torch import Tensor

from fastai_hf_callback.utils.rng import seed_everything
from tests.faults.stacks import stack

Learner = stack.Learner
Fit = Callable[[Learner], None]
PARTS = ("model", "weights", "optimizer", "callbacks", "loss", "inputs", "targets", "metric", "loaders")
TWO = ("bert", "roberta")
NOT_TARGETS = -100


@dataclass(frozen=True)
class Kind:
    """A fault somebody met.

    Attributes
    ----------
    part : str
        Of the learner, one of ``PARTS``: where its user has to look.
    source : str
        Where it was reported, or the documentation that warns of it.
    saw : str
        What was seen there.
    build : callable
        ``build(architecture, broken)``: with ``broken=False`` the same learner without the fault.
    score : callable
        What the learner is worth after the fit: more is better, 1 is perfect.
    is_printed : bool
        The learner learns, and the metric says something else.
    """

    name: str
    part: str
    source: str
    saw: str
    build: Callable[[str, bool], Learner]
    fit: Fit
    sound_fit: Fit
    architectures: Tuple[str, ...]
    score: Callable[[Learner], float]
    is_printed: bool = False

    def make(self, architecture: str, broken: bool = True, seed: int = 0) -> Learner:
        """The learner before its fit, the same at each call."""
        seed_everything(seed)
        return self.build(architecture, broken)

    def fitted(self, architecture: str, broken: bool = True) -> Learner:
        """The learner when its user asks: after the fit."""
        learn = self.make(architecture, broken)
        with stack.no_progress(learn):
            (self.fit if broken else self.sound_fit)(learn)
        return learn


def fitting(epochs: int = 4, lr: float = 3e-3) -> Fit:
    return lambda learn: learn.fit(epochs, lr)


LEARNS = fitting()


def kind(
    name: str,
    part: str,
    source: str,
    saw: str,
    build: Callable[[str, bool], Learner],
    architectures: Tuple[str, ...] = TWO,
    fit: Fit = LEARNS,
    sound_fit: Optional[Fit] = None,
    score: Optional[Callable[[Learner], float]] = None,
    **kwargs: Any,
) -> Kind:
    assert part in PARTS, part
    there = tuple(filter(stack.available, map(stack.named, architectures)))
    return Kind(name, part, source, saw, build, fit, sound_fit or fit, there, score or worth, **kwargs)


# -- what a learner is worth -------------------------------------------------------------------------------------


def outputs_and_targets(learn: Learner) -> Tuple[Tensor, Tensor]:
    """Of the whole validation set, as the learner predicts it."""
    seen = stack.evaluate(learn)
    return torch.cat(list(seen.outputs)).float(), torch.cat(list(seen.targets))


def worth(learn: Learner) -> float:
    """Accuracy of classes, explained variance of numbers."""
    outputs, targets = outputs_and_targets(learn)
    if targets.is_floating_point():
        return explained_variance(outputs, targets)
    right = (outputs.argmax(-1) == targets)[targets != NOT_TARGETS]
    return float(right.float().mean())


def explained_variance(outputs: Tensor, targets: Tensor) -> float:
    return float(1 - (outputs - targets).pow(2).mean() / targets.var())


def recall_of_both(learn: Learner) -> float:
    """The mean of both classes' recall; a single logit says yes above nought."""
    outputs, targets = outputs_and_targets(learn)
    said = outputs.argmax(-1) if outputs.size(-1) == 2 else (outputs.flatten() > 0).long()
    targets = targets.flatten().long()
    return sum(float((said == k)[targets == k].float().mean()) for k in (0, 1)) / 2


def last_printed(learn: Learner) -> float:
    """The first metric of the fit's last epoch, as fastai printed it."""
    return float(printed_metrics(learn)[0])


def printed_metrics(learn: Learner) -> List[Any]:
    recorder = learn.recorder
    return recorder.metrics[-1] if stack.NAME == "fastai 1" else recorder.values[-1][2:]
