"""The optimizer and its schedule."""

from typing import Any, Callable

from torch import nn

from tests.faults.reported.events import lowers_rate, sgd
from tests.faults.reported.kind import LEARNS, Learner, fitting, kind
from tests.faults.stacks import stack
from tests.faults.tasks import learner

RATE = 3e-3


class Scheduled(stack.KnowsLearner):
    """The rate is what `share` says of the step, of `RATE`."""

    def share(self, step: int) -> float:
        raise NotImplementedError

    def fit_begins(self, learn: Learner) -> None:
        self.step = 0

    def batch_begins(self, learn: Learner, iteration: int) -> None:
        stack.set_rate(learn, RATE * self.share(self.step))
        self.step += 1


class Linear(Scheduled):
    """Down to nought in as many steps as are planned."""

    planned = 64

    def share(self, step: int) -> float:
        return max(0.0, 1 - step / self.planned)


class LinearOfOneEpoch(Linear):
    """The epochs were forgotten, and the batches accumulated that nobody accumulates."""

    planned = 4


class Warmed(Scheduled):
    over = 8

    def share(self, step: int) -> float:
        return min(1.0, step / self.over)


class WarmedForLong(Warmed):
    over = 10000


def watching(broken: Any, sound: Any) -> Callable[[str, bool], Learner]:
    return lambda architecture, is_broken: learner(architecture, knowing=[broken if is_broken else sound])


def plain(architecture: str, broken: bool) -> Learner:
    return learner(architecture)


def descending(architecture: str, broken: bool) -> Learner:
    return learner(architecture, **(sgd() if broken else {}))


def summed(architecture: str, broken: bool) -> Learner:
    loss = nn.CrossEntropyLoss(reduction="sum" if broken else "mean")
    return learner(architecture, loss_func=loss, **sgd())


KINDS = [
    kind(
        "rate-of-a-large-model",
        "optimizer",
        "ThilinaRajapakse/simpletransformers issue 234",
        "4e-5 is right for the pretrained body and far too small for what is new",
        plain,
        fit=fitting(4, 4e-5),
        sound_fit=LEARNS,
    ),
    kind(
        "gradient-descent-at-the-rate-of-adam",
        "optimizer",
        "rstrudel/segmenter issue 47",
        "Adam and SGD need rates that are far apart; with the other's nothing goes down",
        descending,
        fit=fitting(4, 1e-3),
        sound_fit=LEARNS,
    ),
    kind(
        "rate-at-nought-too-soon",
        "optimizer",
        "huggingface/transformers issue 671",
        "training goes on behind t_total, where the rate is nought",
        watching(LinearOfOneEpoch, Linear),
    ),
    kind(
        "warm-up-longer-than-the-run",
        "optimizer",
        "deepmodeling/deepmd-kit pull request 5134",
        "warm-up steps must be fewer than the steps there are, or the rate never gets up",
        watching(WarmedForLong, Warmed),
    ),
]
if stack.NAME == "fastai 2":  # fastai 1's counts otherwise, and its rate stays
    KINDS.append(
        kind(
            "plateau-of-an-accuracy",
            "optimizer",
            "md-mohaiminul/ViS4mer issue 4, facebookresearch/fairseq issue 2205",
            "ReduceLROnPlateau takes a rising accuracy for getting worse and lowers the rate as training goes on",
            watching(lowers_rate(False), lowers_rate(True)),
            ("bert", "distilbert"),
            fit=fitting(9, 4e-4),
        )
    )
SUMMED = kind(
    "summed-over-rows",
    "loss",
    "https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html (reduction)",
    "reduction='sum' makes the gradient as many times larger as there are rows in a batch",
    summed,
    fit=fitting(8, 0.3),
)
