"""Faults seeded in fastai 2 learners, as a user would write them, with the causes that name them rightly."""
from typing import Any, Callable, NamedTuple, Tuple

import torch
from fastai.callback.core import (
    Callback,
    CancelBackwardException,
    CancelBatchException,
    CancelStepException,
)
from fastai.callback.training import GradientAccumulation, GradientClip
from fastai.torch_core import params
from torch import nn

from fastai_hf_callback import HFCallback, unwrap
from tests.fastai2.learners import two_groups
from tests.fastai2.patients import body, loaders, patient, rows, wrapped
from tests.faults.texts import PAD, SEP, UNK


class Seeded(NamedTuple):
    """A mistake in a learner, and the causes that name it rightly; the diagnosis must begin with one of them."""

    build: Callable[[], Any]
    causes: Tuple[str, ...]
    severity: str = "warning"


def on(event, act, **attributes):
    """A callback of one event, as somebody might write it."""
    class Mine(Callback):
        order = -500

    setattr(Mine, event, act)
    for name, value in attributes.items():
        setattr(Mine, name, value)
    return Mine()


def raising(exception):
    def act(self):
        if self.learn.training:
            raise exception
    return act


def detach(self):
    self.learn.pred = self.learn.pred.detach().requires_grad_()


def unwrap_on_itself(self):
    self.pred = unwrap(self.learn.pred)


def unwrap_rightly(self):
    self.learn.pred = unwrap(self.learn.pred)


def soften_on_itself(self):
    self.pred = self.learn.pred * 0.5


def weigh_what_is_shown(self):
    self.learn.loss = self.learn.loss * 3


def detach_the_loss(self):
    if self.learn.training:
        self.learn.loss_grad = self.learn.loss_grad.detach().requires_grad_()


def turn_the_loss(self):
    self.learn.loss_grad = -self.learn.loss_grad


def unchecked(*callbacks):
    return [HFCallback(check=False), *callbacks]


def frozen(**kwargs):
    learn = patient(**kwargs)
    for parameter in learn.model.parameters():
        parameter.requires_grad_(False)
    return learn


def other_model():
    learn = patient()
    learn.create_opt()
    learn.model = wrapped(body())
    return learn


def unfrozen_by_hand():
    model = wrapped(body())
    for parameter in list(model.parameters())[:-2]:
        parameter.requires_grad_(False)
    learn = patient(model=model)
    learn.fit(1, 1e-3)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return learn


def fitted(lr, **kwargs):
    learn = patient(**kwargs)
    learn.fit(1, lr)
    return learn


def head_alone(model):
    return [two_groups(model)[1]]


def half_of_it(model):
    return [params(model)[::2]]


def unmasked(**padding):
    """Ids alone, to a model that is not in HFModel."""
    return patient(model=body(), dls=loaders(rows(masked=False, **padding)))


def padded_with(pad):
    return patient(dls=loaders(rows(masked=False, pad=pad)), model=wrapped(body(), ("input_ids",)))


def of_unknown_words():
    parts = rows()
    for ids, *_ in parts:
        ids[ids > SEP] = UNK
    return patient(dls=loaders(parts))


def shuffled_labels():
    train, valid = rows()
    train[-1] = train[-1][torch.randperm(len(train[-1]))]
    return patient(dls=loaders([train, valid]))


def unshuffled():
    train, valid = rows()
    order = train[-1].argsort()
    made = loaders([[part[order] for part in train], valid], shuffle=False)
    made.train = made.train.new(shuffle=False)
    return patient(dls=made)


def broadcasting():
    parts = [[ids, mask, targets.squeeze(-1)] for ids, mask, targets in rows("number")]
    return patient(task="number", dls=loaders(parts), loss_func=nn.MSELoss(), cbs=unchecked())


def constant_metric(output, target):
    return 0.5


def with_nan():
    learn = patient()
    list(learn.model.parameters())[-1].data[0] = float("nan")
    return learn


def decaying():
    return fitted(1e-2, wd=30.0)


FAULTS = {
    "nothing unwraps": Seeded(lambda: patient(cbs=[]), ("output-not-unwrapped",), "error"),
    "output detached": Seeded(lambda: patient(cbs=unchecked(on("after_pred", detach))), ("output-detached",),
                              "error"),
    "loss detached": Seeded(lambda: patient(cbs=unchecked(on("after_loss", detach_the_loss))), ("loss-detached",),
                            "error"),
    "sign of the loss": Seeded(lambda: patient(cbs=unchecked(on("after_loss", turn_the_loss, run_valid=False))),
                               ("loss-sign-flipped",), "error"),
    "everything frozen": Seeded(frozen, ("everything-frozen",), "error"),
    "everything frozen, own splitter": Seeded(lambda: frozen(splitter=two_groups), ("everything-frozen",), "error"),
    "optimizer of another model": Seeded(other_model, ("optimizer-holds-another-model",), "error"),
    "unfrozen by hand": Seeded(unfrozen_by_hand, ("parameters-not-in-optimizer",), "error"),
    "splitter of the head alone": Seeded(lambda: patient(splitter=head_alone), ("split-leaves-modules-out",), "error"),
    "splitter of half": Seeded(lambda: patient(splitter=half_of_it), ("split-leaves-modules-out",), "warning"),
    "rate of zero": Seeded(lambda: fitted(0.0), ("learning-rate-zero",), "error"),
    "rate of nothing": Seeded(lambda: fitted(1e-12), ("learning-rate-too-small",), "error"),
    "absurd rate": Seeded(lambda: fitted(10.0), ("learning-rate-too-high", "weights-diverged", "non-finite-weights"),
                          "error"),
    "weight decay": Seeded(decaying, ("weight-decay-dominates", "weights-diverged"), "error"),
    "clipped to nothing": Seeded(lambda: patient(cbs=[HFCallback(), GradientClip(1e-9)]), ("clipped-to-nothing",),
                                 "error"),
    "accumulated for ever": Seeded(lambda: patient(cbs=[HFCallback(), GradientAccumulation(100_000)]),
                                   ("accumulation-never-steps",), "error"),
    "no mask": Seeded(unmasked, ("attention-mask-missing",)),
    "padded in front": Seeded(lambda: unmasked(front=True), ("padding-in-front", "attention-mask-missing")),
    "another pad id": Seeded(lambda: padded_with(SEP), ("wrong-padding-id", "attention-mask-missing")),
    "mask inverted": Seeded(lambda: patient(dls=loaders([[i, 1 - m, t] for i, m, t in rows()])),
                            ("attention-mask-wrong",)),
    "unknown words": Seeded(of_unknown_words, ("unknown-tokens",), "error"),
    "labels shuffled": Seeded(shuffled_labels, ("labels-unrelated-to-texts", "train-and-valid-disagree")),
    "labels in order": Seeded(unshuffled, ("labels-in-order",)),
    "loss broadcasts": Seeded(broadcasting, ("loss-broadcasts",), "error"),
    "metric of a constant": Seeded(lambda: patient(metrics=[constant_metric]), ("metric-ignores-predictions",)),
    "weights with a NaN": Seeded(with_nan, ("non-finite-weights",), "error"),
    # -- what only fastai 2 has
    "self.pred, nothing unwraps": Seeded(lambda: patient(cbs=[on("after_pred", unwrap_on_itself)]),
                                         ("set-on-callback",), "error"),
    "self.pred, in vain": Seeded(lambda: patient(cbs=[HFCallback(), on("after_pred", soften_on_itself)]),
                                 ("set-on-callback",)),
    "learn.loss": Seeded(lambda: patient(cbs=[HFCallback(), on("after_loss", weigh_what_is_shown)]),
                         ("loss-only-shown",)),
    "run_valid=False": Seeded(lambda: patient(cbs=[on("after_pred", unwrap_rightly, run_valid=False)]),
                              ("unwrapping-in-training-only",), "error"),
    "step cancelled": Seeded(lambda: patient(cbs=[HFCallback(), on("before_step", raising(CancelStepException))]),
                             ("step-skipped",), "error"),
    "batch cancelled before the step": Seeded(
        lambda: patient(cbs=[HFCallback(), on("before_step", raising(CancelBatchException))]),
        ("accumulation-never-steps",), "error"),
    "batch cancelled": Seeded(lambda: patient(cbs=[HFCallback(), on("before_batch", raising(CancelBatchException))]),
                              ("backward-skipped",), "error"),
    "backward cancelled": Seeded(
        lambda: patient(cbs=[HFCallback(), on("before_backward", raising(CancelBackwardException))]),
        ("backward-skipped",), "error"),
    "frozen head": Seeded(lambda: patient(model=_head_frozen()), ("head-frozen",)),
}


def _head_frozen():
    model = wrapped(body())
    for parameter in list(model.parameters())[-2:]:
        parameter.requires_grad_(False)
    return model


assert PAD == 0  # bare models take it for padding
