"""Callbacks that undo what a step has done, or end the fit too soon."""

import copy
from typing import Any, Callable

import torch

from tests.faults.reported.events import AroundValidation, in_a_folder, saves_best, stops_early
from tests.faults.reported.kind import Learner, fitting, kind
from tests.faults.stacks import stack
from tests.faults.tasks import learner


class Averaged(AroundValidation):
    """Validates moving averages of the weights, and forgets to put the weights back."""

    decay, average = 0.999, None

    def steps(self, learn: Learner) -> None:
        weights = learn.model.state_dict()
        self.average = self.average or copy.deepcopy(self.start)
        for name, weight in weights.items():
            if weight.is_floating_point():
                self.average[name].lerp_(weight, 1 - self.decay)

    def validation_begins(self, learn: Learner) -> None:
        if self.average is not None:
            learn.model.load_state_dict(self.average)


def averaged(architecture: str, broken: bool) -> Learner:
    learn = learner(architecture, knowing=[Averaged] if broken else ())
    Averaged.start = copy.deepcopy(learn.model.state_dict())
    return learn


class Noisy(stack.KnowsLearner):
    """Noise in proportion to a bound that was set high, so that nothing is clipped."""

    bound, rows = 1000.0, 16

    def backward_ends(self, learn: Learner) -> None:
        for weight in learn.model.parameters():
            if weight.grad is not None:
                weight.grad.add_(torch.randn_like(weight) * self.bound / self.rows)


class Clamping(stack.KnowsLearner):
    """Of a critic, and left in."""

    def batch_begins(self, learn: Learner, iteration: int) -> None:
        for weight in learn.model.parameters():
            weight.data.clamp_(-0.01, 0.01)


class ZeroesTooSoon(stack.KnowsLearner):
    def backward_ends(self, learn: Learner) -> None:
        learn.opt.zero_grad()


def with_one(broken: Any, sound: Any = None, folder: bool = False) -> Callable[[str, bool], Learner]:
    def build(architecture: str, is_broken: bool) -> Learner:
        made = broken if is_broken else sound
        learn = learner(architecture, knowing=[] if made is None else [made])
        return in_a_folder(learn) if folder else learn

    return build


KINDS = [
    kind(
        "averages-left-in-place",
        "callbacks",
        "PKU-YuanGroup/Open-Sora-Plan issue 186",
        "the moving average is copied to the model for validation and the weights are not restored",
        averaged,
    ),
    kind(
        "noise-of-a-high-bound",
        "callbacks",
        "meta-pytorch/opacus issue 306",
        "max_grad_norm=1000, so as not to clip: the noise grows with it and accuracy is at chance",
        with_one(Noisy),
    ),
    kind(
        "weights-clamped",
        "callbacks",
        "https://docs.fast.ai/vision.gan.html (GANLearner.wgan, clip=0.01)",
        "the weight clipping of a critic around any other model leaves it nothing to learn with",
        with_one(Clamping),
    ),
    kind(
        "gradients-zeroed-before-the-step",
        "callbacks",
        "sacmehta/EdgeNets issue 14",
        "zero_grad between backward and step",
        with_one(ZeroesTooSoon),
    ),
    kind(
        "worst-model-loaded",
        "callbacks",
        "fastai/fastai pull request 2469",
        "SaveModelCallback keeps the worst model where its sense of better is the wrong one",
        with_one(saves_best(False), saves_best(True), folder=True),
        fit=fitting(6, 1e-3),
    ),
    kind(
        "stopped-as-it-learns",
        "callbacks",
        "fastai/fastai issue 2442",
        "EarlyStoppingCallback takes a change for the better for one for the worse",
        with_one(stops_early(False, 1), stops_early(True, 3)),
        fit=fitting(10, 4e-4),
    ),
]
