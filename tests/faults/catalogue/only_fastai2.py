"""Mistakes that only a Learner of fastai 2 can hold: set on the callback, ``run_valid``, cancelled, ``splitter``."""

import copy
from typing import Any, Callable, Dict, List, Optional

import torch
from fastai.callback.core import (
    Callback,
    CancelBackwardException,
    CancelBatchException,
    CancelStepException,
    CancelTrainException,
    CancelValidException,
)
from fastai.callback.training import GradientAccumulation
from fastai.learner import Learner
from torch import Tensor, nn

from fastai_hf_callback import HFCallback, layer_groups, unwrap
from tests.faults.catalogue.inputs import ARGUMENTS, WRONG, bare_as_given, batches_of
from tests.faults.catalogue.registration import with_callbacks
from tests.faults.fault import BERTS, OTHERS, SOME, THIRD, fault
from tests.faults.stacks import stack
from tests.faults.tasks import ALL, TASKS, bare_model, head_and_body, learner, wrapped

Build = Callable[[str], Learner]


def on(event: str, act: Callable[[Any], Any], name: str = "Mine", **attributes: Any) -> Callable[[], Callback]:
    """A callback of one event, as somebody might write it."""
    return type(name, (Callback,), {event: act, **attributes})


def beside_hfcallback(*kinds: Callable[[], Callback], task: str = "classes", **settings: Any) -> Build:
    return lambda architecture: learner(
        architecture, task, callbacks=[HFCallback(), *(kind() for kind in kinds)], **settings
    )


def alone(*kinds: Callable[[], Callback], task: str = "classes") -> Build:
    return with_callbacks(lambda: [kind() for kind in kinds], task)


# -- set on the callback, not on the learner ---------------------------------------------------------------------


def unwrap_on_itself(self: Any) -> None:
    self.pred = unwrap(self.pred)


def first_on_itself(self: Any) -> None:
    self.pred = self.learn.pred[0]


def soften_on_itself(self: Any) -> None:
    self.pred = self.pred / 3


def swap_inputs_on_itself(self: Any) -> None:
    """Means to keep the first eight tokens."""
    self.xb = tuple(x[:, :8] for x in self.xb)


def smooth_targets_on_itself(self: Any) -> None:
    self.yb = (self.yb[0] * 0.9 + 0.05,)


def penalise_on_itself(self: Any) -> None:
    self.loss_grad = self.loss_grad + 0.01 * sum(p.pow(2).sum() for p in self.model.parameters())


def weigh_what_is_shown(self: Any) -> None:
    self.learn.loss = self.learn.loss * 3


def penalise_what_is_shown(self: Any) -> None:
    if self.training:
        self.learn.loss = self.learn.loss + 0.05 * sum(p.pow(2).sum() for p in self.model.parameters())


def detach_what_is_propagated(self: Any) -> None:
    """Means to log the loss without its graph."""
    self.learn.loss_grad = self.learn.loss_grad.detach().requires_grad_()


# -- only in training, or by names that fastai 2 does not call ---------------------------------------------------


def unwrap_rightly(self: Any) -> None:
    self.learn.pred = unwrap(self.pred)


def unwrap_in_training(self: Any) -> None:
    if self.training:
        self.learn.pred = self.pred[0]


def returned(self: Any, *args: Any, **kwargs: Any) -> Dict[str, Any]:
    """As on fastai 1."""
    return {"last_output": self.learn.pred[0]}


def fitted_before(architecture: str) -> Learner:
    """It has learnt with a callback that leaves validation out; what is left to do is to validate."""
    learn = learner(architecture, "labels", callbacks=[on("after_pred", unwrap_rightly, run_valid=False)()])
    stack.fit_with(learn, 1, 1e-3, [on("before_validate", raising(CancelValidException, always), "NoValidation")()])
    return learn


# -- cancelled ---------------------------------------------------------------------------------------------------


def raising(error: Any, when: Optional[Callable[[Any], bool]] = None) -> Callable[[Any], None]:
    def act(self: Any) -> None:
        if self.training if when is None else when(self):
            raise error()

    return act


def always(self: Any) -> bool:
    return True


def short_epoch(self: Any) -> None:
    """Means to stop after a part of an epoch, and no epoch has as many batches as it divides by."""
    if self.training and self.iter >= self.n_iter // 1000:
        raise CancelTrainException()


def rows_mistaken_for_batches(architecture: str) -> Learner:
    """``GradientAccumulation`` counts rows; whoever thinks of batches asks for more than there are."""
    return learner(architecture, callbacks=[HFCallback(), GradientAccumulation(n_acc=100_000)])


# -- splitter and optimizer --------------------------------------------------------------------------------------


def copied_after_a_fit(architecture: str) -> Learner:
    learn = learner(architecture, "labels")
    with stack.no_progress(learn):
        learn.fit(1, 1e-3)
    learn.model = copy.deepcopy(learn.model)
    return learn


def turned_round_by_layer_groups(architecture: str) -> Learner:
    """The head first; ``freeze`` leaves the last group alone."""
    learn = learner(architecture, "labels", splitter=lambda net: layer_groups(net)[::-1])
    learn.freeze()
    return learn


def every_other(model: nn.Module) -> List[List[Tensor]]:
    return [list(model.parameters())[::2]]


def head_alone(model: nn.Module) -> List[List[Tensor]]:
    return [layer_groups(model)[-1]]


def all_groups_frozen_but_norms(architecture: str) -> Learner:
    """One group more than there are; fastai goes on training the norms."""
    learn = stack.split(learner(architecture, "labels"), lambda net: list(head_and_body(net))[::-1])
    learn.create_opt()
    learn.freeze_to(2)
    return learn


def types_then_mask(ids: Tensor, mask: Tensor) -> List[Tensor]:
    """The order in which tokenizers name them; models take the mask second."""
    return [ids, torch.zeros_like(mask), mask]


class InSingle(stack.ChangesOutput):
    """So that the loss accepts what a halved model gives."""

    def changed(self, output: Any) -> Tensor:
        return output[0].float()


def loaded_in_half(architecture: str) -> Learner:
    net = wrapped(bare_model(architecture, TASKS["classes"].n_outputs), architecture)
    return learner(architecture, model=net.half(), callbacks=[InSingle()])


KEPT, SHOWN, TRAINING = "set-on-callback", "loss-only-shown", "unwrapping-in-training-only"
NOT = "output-not-unwrapped"
NO_BACKWARD, NO_STEP, NEVER = "backward-skipped", "step-skipped", "accumulation-never-steps"

FAULTS = [
    fault("unwrapped-on-itself", (KEPT, NOT), alone(on("after_pred", unwrap_on_itself)), ALL, loud=True),
    fault(
        "first-element-on-itself",
        (KEPT, NOT),
        alone(on("after_pred", first_on_itself), task="labels"),
        OTHERS,
        loud=True,
    ),
    fault("softened-on-itself", KEPT, beside_hfcallback(on("after_pred", soften_on_itself)), ALL),
    fault("inputs-on-itself", KEPT, beside_hfcallback(on("before_batch", swap_inputs_on_itself)), OTHERS),
    fault(
        "targets-on-itself", KEPT, beside_hfcallback(on("before_batch", smooth_targets_on_itself), task="labels"), SOME
    ),
    fault("penalty-on-itself", KEPT, beside_hfcallback(on("after_loss", penalise_on_itself)), THIRD),
    fault("shown-loss-weighed", SHOWN, beside_hfcallback(on("after_loss", weigh_what_is_shown)), ALL),
    fault(
        "shown-loss-penalised",
        SHOWN,
        beside_hfcallback(on("after_loss", penalise_what_is_shown), task="labels"),
        OTHERS,
    ),
    fault(
        "propagated-loss-detached",
        "loss-detached",
        alone(on("after_pred", unwrap_rightly), on("after_loss", detach_what_is_propagated, "Logs", order=1)),
        ALL,
    ),
    fault(
        "unwrapped-in-training-only",
        (TRAINING, NOT),
        alone(on("after_pred", unwrap_rightly, run_valid=False)),
        ALL,
        loud=True,
        cure=True,
    ),
    fault("unwrapped-in-training-only-fitted", (TRAINING, NOT), fitted_before, OTHERS, loud=True, cure=True),
    fault("unwrapped-if-training", (TRAINING, NOT), alone(on("after_pred", unwrap_in_training)), SOME, loud=True),
    fault("event-of-fastai-1", NOT, alone(on("on_loss_begin", returned)), THIRD, loud=True, cure=True),
    fault("returned-as-on-fastai-1", NOT, alone(on("after_pred", returned)), OTHERS, loud=True, cure=True),
    fault(
        "step-cancelled", NO_STEP, beside_hfcallback(on("before_step", raising(CancelStepException))), ALL, cure=True
    ),
    fault(
        "batch-cancelled-before-step",
        (NEVER, NO_STEP),
        beside_hfcallback(on("before_step", raising(CancelBatchException)), task="labels"),
        OTHERS,
        cure=True,
    ),
    fault(
        "batch-cancelled-after-backward",
        (NEVER, NO_STEP),
        beside_hfcallback(on("after_backward", raising(CancelBatchException)), task="number"),
        SOME,
        cure=True,
    ),
    fault(
        "batch-cancelled-at-its-begin",
        NO_BACKWARD,
        beside_hfcallback(on("before_batch", raising(CancelBatchException))),
        ALL,
        cure=True,
    ),
    fault(
        "batch-cancelled-after-loss",
        NO_BACKWARD,
        beside_hfcallback(on("after_loss", raising(CancelBatchException)), task="labels"),
        THIRD,
        cure=True,
    ),
    fault(
        "backward-cancelled",
        NO_BACKWARD,
        beside_hfcallback(on("before_backward", raising(CancelBackwardException)), task="number"),
        OTHERS,
        cure=True,
    ),
    fault(
        "training-cancelled",
        (NO_BACKWARD, NO_STEP),
        beside_hfcallback(on("before_train", raising(CancelTrainException, always))),
        SOME,
        cure=True,
    ),
    fault(
        "epoch-cut-to-nothing",
        (NO_BACKWARD, NO_STEP),
        beside_hfcallback(on("before_batch", short_epoch)),
        OTHERS,
        cure=True,
    ),
    fault("rows-taken-for-batches", NEVER, rows_mistaken_for_batches, THIRD, cure=True),
    fault("model-copied-after-a-fit", "optimizer-holds-another-model", copied_after_a_fit, OTHERS, cure=True),
    fault("layer-groups-turned-round", "head-frozen", turned_round_by_layer_groups, ALL, cure=True),
    fault(
        "splitter-of-every-other",
        "split-leaves-modules-out",
        lambda architecture: learner(architecture, splitter=every_other),
        SOME,
        cure=True,
    ),
    fault(
        "splitter-of-the-head",
        "split-leaves-modules-out",
        lambda architecture: learner(architecture, "labels", splitter=head_alone),
        THIRD,
        cure=True,
    ),
    fault(
        "all-groups-frozen-but-norms",
        ("head-frozen", "everything-frozen"),
        all_groups_frozen_but_norms,
        BERTS,
        cure=True,
    ),
    fault(
        "types-before-mask",
        (*ARGUMENTS, *WRONG),
        batches_of("classes", types_then_mask, bare_as_given),
        ("bert", "roberta"),
    ),
    fault("model-loaded-in-half", "half-weights-without-master", loaded_in_half, ALL, cure=True),
    fault(
        "wd-of-the-fit-kept",
        "weight-decay-dominates",
        lambda architecture: _decay_kept(architecture),
        OTHERS,
        cure=True,
    ),
]


def _decay_kept(architecture: str) -> Learner:
    """fit(wd=...) stays in the optimizer for the fits after it."""
    learn = learner(architecture, "labels")
    with stack.no_progress(learn):
        learn.fit(1, 1e-3, wd=50.0)
    return learn
