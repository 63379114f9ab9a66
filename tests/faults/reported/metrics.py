"""The learner learns, and the figure that is printed says something else."""

from typing import Any, Callable

import torch
from torch import Tensor, nn

from fastai_hf_callback import unwrap
from tests.faults.reported.events import validation_batches
from tests.faults.reported.kind import Learner, explained_variance, fitting, kind, outputs_and_targets
from tests.faults.reported.targets import tagged
from tests.faults.stacks import stack
from tests.faults.tasks import (
    FIRST_WORD,
    bare_model,
    both,
    databunch,
    learner,
    lengths_for,
    task_tensors,
    tensors,
    wrapped,
)

RARE, BATCHES_OF = (0.88, 0.12), 8


def score_of_rare(output: Tensor, target: Tensor) -> Tensor:
    """The harmonic mean of precision and recall of the second class."""
    said, is_so = output.argmax(-1) == 1, target == 1
    both_say, either = (said & is_so).sum().float(), (said.sum() + is_so.sum()).float()
    return 2 * both_say / either.clamp(min=1)


def of_rare(learn: Learner) -> float:
    return float(score_of_rare(*outputs_and_targets(learn)))


def averaged_over_batches(architecture: str, broken: bool) -> Learner:
    """fastai averages what a plain function says of each batch."""
    lengths = lengths_for(architecture)
    parts = [
        tensors(part, architecture, length=max(lengths)) for part in both("two classes", lengths=lengths, shares=RARE)
    ]
    metric = score_of_rare if broken else OfAllRows()
    return learner(architecture, "two classes", data=databunch(*parts, bs=BATCHES_OF), metrics=[metric])


class OfAllRows(stack.OwnMetric):
    def __init__(self) -> None:
        self.kept = []

    def epoch_begins(self) -> None:
        self.kept = []

    def sees(self, output: Tensor, target: Tensor) -> None:
        self.kept.append((output.detach(), target.detach()))

    def says(self) -> float:
        return float(score_of_rare(*(torch.cat(column) for column in zip(*self.kept))))


def variance_explained(output: Tensor, target: Tensor) -> Tensor:
    return 1 - (output - target).pow(2).mean() / target.var()


def variance_explained_swapped(output: Tensor, target: Tensor) -> Tensor:
    """Of a function that takes what is true first."""
    return variance_explained(target, output)


def swapped(architecture: str, broken: bool) -> Learner:
    parts = task_tensors(architecture, "number")
    metric = variance_explained_swapped if broken else variance_explained
    return learner(architecture, "number", data=databunch(*parts, bs=64), metrics=[metric])


class Probabilities(nn.Module):
    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, *tensors: Tensor) -> Tensor:
        return torch.sigmoid(unwrap(self.net(*tensors)))


def accuracy_of_yes(output: Tensor, target: Tensor, is_logit: bool = True) -> Tensor:
    """As ``accuracy_multi``, which takes the sigmoid of what it is given unless told otherwise."""
    return stack.accuracy_multi(output, target, thresh=0.5, sigmoid=is_logit)


def accuracy_of_chances(output: Tensor, target: Tensor) -> Tensor:
    return accuracy_of_yes(output, target, is_logit=False)


def sigmoid_again(architecture: str, broken: bool) -> Learner:
    lengths = lengths_for(architecture)
    parts = [tensors(part, architecture, length=max(lengths)) for part in both("two classes", lengths=lengths)]
    data = databunch(*([*inputs, target.float()[:, None]] for *inputs, target in parts))
    model = Probabilities(wrapped(bare_model(architecture, 1), architecture))
    metric = accuracy_of_yes if broken else accuracy_of_chances
    return learner(architecture, "number", data=data, model=model, loss_func=nn.BCELoss(), metrics=[metric])


def rightly_said(learn: Learner) -> float:
    outputs, targets = outputs_and_targets(learn)
    return float(((outputs > 0.5) == (targets > 0.5)).float().mean())


def of_words(learn: Learner) -> float:
    """The accuracy of words alone."""
    ids = torch.cat([batch[0] for batch in validation_batches(learn)])
    outputs, targets = outputs_and_targets(learn)
    return float((outputs.argmax(-1) == targets)[ids >= FIRST_WORD].float().mean())


def explained(learn: Learner) -> float:
    return explained_variance(*outputs_and_targets(learn))


def printed(name: str, source: str, saw: str, build: Callable[[str, bool], Learner], **kwargs: Any) -> Any:
    return kind(name, "metric", source, saw, build, is_printed=True, **kwargs)


KINDS = [
    printed(
        "padding-counted",
        "jsbaan/transformer-from-scratch issue 7, DaoyuanLi2816/Molecule-Generator pull request 21",
        "the accuracy counts padding, of which there is most, and which is no part of the loss",
        tagged(pad_to=30, noise=0.3, counts_padding=True),
        score=of_words,
    ),
    printed(
        "averaged-over-batches",
        "emadeldeen24/AttnSleep issue 13, apache/mxnet issue 9830",
        "F1 is averaged over batches: another figure for each batch size",
        averaged_over_batches,
        score=of_rare,
    ),
    printed(
        "true-and-predicted-swapped",
        "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.r2_score.html",
        "r2_score(y_true, y_pred) is not symmetric: with its arguments swapped it is far lower",
        swapped,
        fit=fitting(3, 3e-3),
        score=explained,
    ),
    printed(
        "sigmoid-again-in-the-metric",
        "https://docs.fast.ai/metrics.html (accuracy_multi, sigmoid=True)",
        "the metric takes the sigmoid of probabilities: all above a half, everything is said to be on",
        sigmoid_again,
        score=rightly_said,
    ),
]
