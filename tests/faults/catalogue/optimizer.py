"""The gradient arrives, and the optimizer does not make of it what was meant."""

import copy
from typing import Any, Callable, List

import torch
from torch import Tensor, nn

from fastai_hf_callback import HFCallback
from tests.faults.fault import BERTS, OTHERS, SOME, THIRD, fault, fitting, reader
from tests.faults.stacks import stack
from tests.faults.tasks import ALL, TASKS, bare_model, body_of, head_and_body, last_layer, learner, wrapped

Learner = stack.Learner
Build = Callable[[str], Learner]

# -- another model's parameters ----------------------------------------------------------------------------------


def swapped(architecture: str) -> Learner:
    learn = learner(architecture)
    stack.exchange_model(learn, wrapped(bare_model(architecture, 3), architecture))
    return learn


class FromTheStart(stack.KnowsLearner):
    """Means to begin each fit with the same weights."""

    def fit_begins(self, learn: Learner) -> None:
        learn.model = copy.deepcopy(learn.model)


def swapped_in_callback(architecture: str) -> Learner:
    return learner(architecture, "number", knowing=[FromTheStart])


def new_head_after_optimizer(architecture: str) -> Learner:
    learn = learner(architecture, model=reader(architecture, "classes"))
    stack.make_optimizer(learn)
    learn.model.score = nn.Linear(16, TASKS["classes"].n_outputs)
    return learn


def frozen_and_unfrozen_by_hand(architecture: str) -> Learner:
    learn = learner(architecture)
    body = body_of(learn.model.model)
    set_trainable(body, False)
    with stack.no_progress(learn):
        learn.fit(1, 1e-3)
    set_trainable(body, True)
    return learn


def optimizer_made_while_frozen(architecture: str) -> Learner:
    model = reader(architecture, "labels")
    for weight in model.body.parameters():
        weight.requires_grad = False
    learn = learner(architecture, "labels", model=model)
    stack.make_optimizer(learn)
    for weight in model.parameters():
        weight.requires_grad = True
    return learn


def set_trainable(module: nn.Module, trainable: bool) -> None:
    for weight in module.parameters():
        weight.requires_grad_(trainable)


def split_without_body(architecture: str) -> Learner:
    return stack.split(learner(architecture), lambda net: [[last_layer(net)]])


def split_without_head(architecture: str) -> Learner:
    return stack.split(learner(architecture, "labels"), lambda net: [halves(net)[0], halves(net)[1][:-2]])


def split_without_second_half(architecture: str) -> Learner:
    return stack.split(learner(architecture), lambda net: [halves(net)[0], [last_layer(net)]])


def split_as_in_the_tutorial(architecture: str) -> Learner:
    """Layers and classifier are listed, pooler and embeddings forgotten."""

    def groups(net: Any) -> List[List[nn.Module]]:
        return [*([layer] for layer in body_of(net.model).encoder.layer), [net.model.classifier]]

    return stack.split(learner(architecture, "labels"), groups)


def halves(net: nn.Module) -> List[List[nn.Module]]:
    leaves = [leaf for leaf in stack.flatten_model(net) if list(leaf.parameters())]
    return [leaves[: len(leaves) // 2], leaves[len(leaves) // 2 :]]


# -- frozen ------------------------------------------------------------------------------------------------------


def all_frozen(architecture: str) -> Learner:
    learn = learner(architecture)
    set_trainable(learn.model, False)
    return learn


def all_groups_frozen(architecture: str) -> Learner:
    learn = stack.split(learner(architecture, "labels"), lambda net: list(head_and_body(net))[::-1])
    stack.freeze_all_groups(learn)
    return learn


class Grown(stack.ChangesOutput):
    """Silences torch, which finds that nothing requires a gradient."""

    def changed(self, output: Any) -> Tensor:
        return output[0].requires_grad_()


def all_frozen_and_silenced(architecture: str) -> Learner:
    learn = learner(architecture, "labels", callbacks=[Grown()])
    stack.make_optimizer_while_trainable(learn)
    set_trainable(learn.model, False)
    return learn


class WithTemperature(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output / self.temperature, target)


def all_frozen_but_the_loss(architecture: str) -> Learner:
    learn = learner(architecture, loss_func=WithTemperature(), callbacks=[HFCallback(check=False)])
    stack.make_optimizer_while_trainable(learn)
    set_trainable(learn.model, False)
    return learn


def random_body_frozen(architecture: str) -> Learner:
    net = wrapped(bare_model(architecture, 3, pretrained=False), architecture)
    learn = stack.split(learner(architecture, model=net), lambda m: list(head_and_body(m))[::-1])
    learn.freeze()
    return learn


def random_body_frozen_by_hand(architecture: str) -> Learner:
    net = bare_model(architecture, 6, pretrained=False)
    for weight in body_of(net).parameters():
        weight.requires_grad = False
    return learner(architecture, "labels", model=wrapped(net, architecture))


def groups_turned_round(architecture: str) -> Learner:
    learn = stack.split(learner(architecture), lambda net: list(head_and_body(net)))
    learn.freeze()
    return learn


def head_frozen_by_hand(architecture: str) -> Learner:
    learn = learner(architecture, "labels")
    set_trainable(last_layer(learn.model), False)
    return learn


# -- numbers -----------------------------------------------------------------------------------------------------


class WarmUp(stack.KnowsLearner):
    """Whole division: the rate is nought until the last of `steps`, which no fit here reaches."""

    def fit_begins(self, learn: Learner) -> None:
        self.seen, self.full = 0, 1e-3

    def batch_begins(self, learn: Learner, iteration: int) -> None:
        stack.set_rate(learn, self.full * (self.seen // 1000))
        self.seen += 1


class Decay(stack.KnowsLearner):
    """Means a percent an epoch, and is called once a batch with the exponent of an epoch."""

    def batch_begins(self, learn: Learner, iteration: int) -> None:
        stack.set_rate(learn, 1e-3 * 1e-6 ** (iteration + 1))


class Shrink(stack.KnowsLearner):
    def backward_ends(self, learn: Learner) -> None:
        for weight in learn.model.parameters():
            if weight.grad is not None:
                weight.grad.clamp_(-1e-13, 1e-13)


class Collect(stack.AccumulatesGradients):
    """Steps once in `every` batches, more than an epoch has; counts anew in each epoch."""

    def epoch_begins(self) -> None:
        self.count = 0


class Forgetful(Collect):
    def batch_begins(self) -> None:
        self.count = 0


class OffByOne(Collect):
    def waits(self, num_batch: int) -> bool:
        return (num_batch + 1) % self.every != self.every


def plain(task: str = "classes", **settings: Any) -> Build:
    return lambda architecture: learner(architecture, task, **settings)


def accumulating(make: Callable[[], Any], task: str = "classes") -> Build:
    return lambda architecture: learner(architecture, task, callbacks=[HFCallback(), make()])


def dropping_what_it_should_keep(architecture: str) -> Learner:
    """``keep_prob=.9`` of another library, given for the dropout."""
    learn = learner(architecture, "classes")
    for module in learn.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.9
    return learn


HELD_BY_ANOTHER = "optimizer-holds-another-model"
NOT_HELD = ("parameters-not-in-optimizer", "split-leaves-modules-out")
LEFT_OUT = NOT_HELD[::-1]
HIGH = ("learning-rate-too-high", "weights-diverged", "non-finite-weights")
SMALL_STEPS = "epsilon-outweighs-gradients"
BODY = ("untrained-body-frozen", "pretrained-weights-not-loaded")

FAULTS = [
    fault("model-swapped", HELD_BY_ANOTHER, swapped, ALL, cure=True),
    fault("model-copied-in-callback", HELD_BY_ANOTHER, swapped_in_callback, SOME),
    fault("head-renewed-after-optimizer", (NOT_HELD[0], HELD_BY_ANOTHER), new_head_after_optimizer, THIRD, cure=True),
    fault("body-unfrozen-by-hand-between-fits", NOT_HELD, frozen_and_unfrozen_by_hand, ALL, cure=True),
    fault("optimizer-made-while-frozen", NOT_HELD, optimizer_made_while_frozen, OTHERS, cure=True),
    fault("split-without-body", LEFT_OUT, split_without_body, ALL, cure=True),
    fault("split-without-head", LEFT_OUT, split_without_head, SOME, cure=True),
    fault("split-without-second-half", LEFT_OUT, split_without_second_half, THIRD, cure=True),
    fault("split-without-embeddings", LEFT_OUT, split_as_in_the_tutorial, BERTS, cure=True),
    fault("all-frozen", "everything-frozen", all_frozen, ALL, loud=True, cure=True),
    fault("all-groups-frozen", "everything-frozen", all_groups_frozen, SOME, loud=True, cure=True),
    fault(
        "all-frozen-and-silenced", ("everything-frozen", "output-detached"), all_frozen_and_silenced, OTHERS, cure=True
    ),
    fault("all-frozen-but-the-loss", "everything-frozen", all_frozen_but_the_loss, THIRD, cure=True),
    fault("random-body-frozen", BODY, random_body_frozen, ALL, cure=True),
    fault("random-body-frozen-by-hand", BODY, random_body_frozen_by_hand, OTHERS, cure=True),
    fault("groups-turned-round", "head-frozen", groups_turned_round, ALL, cure=True),
    fault("head-frozen-by-hand", "head-frozen", head_frozen_by_hand, SOME, cure=True),
    fault("rate-nought", "learning-rate-zero", plain(), ALL, fitting(2, 0.0), fitted=True),
    fault(
        "rate-nought-one-cycle",
        "learning-rate-zero",
        plain("labels"),
        THIRD,
        fitting(1, 0.0, one_cycle=True),
        fitted=True,
    ),
    fault("warm-up-never-warm", "learning-rate-zero", plain("labels", knowing=[WarmUp]), OTHERS),
    fault("rate-tiny", ("learning-rate-too-small", "learning-rate-zero"), plain(), ALL, fitting(2, 1e-9), fitted=True),
    fault(
        "rate-tiny-one-cycle",
        "learning-rate-too-small",
        plain("number"),
        SOME,
        fitting(2, 1e-8, one_cycle=True),
        fitted=True,
    ),
    fault(
        "rate-decays-at-once",
        ("learning-rate-too-small", "learning-rate-zero"),
        plain("labels", knowing=[Decay]),
        OTHERS,
    ),
    fault("rate-one", HIGH, plain(), ALL, fitting(2, 1.0), fitted=True),
    fault("rate-one-labels", HIGH, plain("labels"), SOME, fitting(1, 1.0, one_cycle=True), fitted=True),
    fault("rate-of-sgd", HIGH, plain("number"), OTHERS, fitting(2, 0.5), fitted=True),
    fault("decay-of-the-learner", "weight-decay-dominates", plain(wd=50), ALL),
    fault("decay-of-the-fit", "weight-decay-dominates", plain("labels"), OTHERS, fitting(2, 1e-3, wd=50), fitted=True),
    fault(
        "decay-in-the-gradient", "weight-decay-dominates", plain("labels", wd=50, **stack.decay_in_the_gradient), THIRD
    ),
    fault("clipped-by-fastai", "clipped-to-nothing", plain(knowing=[stack.clipping(1e-8)]), ALL),
    fault("clipped-by-value", "clipped-to-nothing", plain("labels", knowing=[Shrink]), SOME),
    fault("epsilon-of-one", SMALL_STEPS, plain(**stack.with_epsilon(1.0)), ALL, cure=True),
    fault(
        "epsilon-of-a-tenth-after-a-fit",
        SMALL_STEPS,
        plain("labels", **stack.with_epsilon(0.1)),
        OTHERS,
        fitted=True,
        cure=True,
    ),
    fault("dropout-for-keep-prob", "dropout-too-high", dropping_what_it_should_keep, BERTS),
    fault("accumulates-a-thousand", "accumulation-never-steps", accumulating(Collect), ALL),
    fault("accumulation-forgets", "accumulation-never-steps", accumulating(lambda: Forgetful(4), "labels"), OTHERS),
    fault("accumulation-off-by-one", "accumulation-never-steps", accumulating(lambda: OffByOne(4), "number"), THIRD),
]
