"""Mistakes that only a Learner of fastai 1 can hold: ``callback_fns``, returned keys, ``to_fp16`` in place."""

import copy
from typing import Any, Callable, Dict, List

from fastai.basic_train import LearnerCallback
from fastai.callback import Callback
from fastai.callbacks import RNNTrainer
from fastai.train import Learner
from torch import Tensor

from fastai_hf_callback import HFCallback
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from tests.faults.catalogue.inputs import ARGUMENTS, as_it_is, bare_as_given, batches_of
from tests.faults.catalogue.registration import NOT, OnlyLogits, with_callbacks
from tests.faults.catalogue.state import new_model
from tests.faults.fault import OTHERS, SOME, THIRD, fault, where_half_runs
from tests.faults.tasks import ALL, learner

Build = Callable[[str], Learner]

# -- registration ------------------------------------------------------------------------------------------------


class Logits(LearnerCallback):
    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> Dict[str, Tensor]:
        return {"last_output": last_output[0]}


class WrongKey(Callback):
    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> Dict[str, Tensor]:
        return {"output": last_output[0]}


class ForgotToReturn(Callback):
    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> None:
        last_output = last_output[0]


def with_callback_fns(make: Callable[[], List[Any]], task: str = "classes") -> Build:
    return lambda architecture: learner(architecture, task, callbacks=[], callback_fns=make())


def fitted_before(architecture: str) -> Learner:
    """It has learnt through callback_fns; what is left to do is to validate."""
    learn = learner(architecture, "labels", callbacks=[], callback_fns=[Logits])
    with no_progress(learn):
        learn.fit(1, 1e-3)
    return learn


# -- optimizer and precision -------------------------------------------------------------------------------------


def swapped_and_optimizer_made(architecture: str) -> Learner:
    learn = learner(architecture, "labels")
    learn.model = copy.deepcopy(learn.model)
    learn.create_opt(1e-3)
    return learn


def left_in_half(task: str) -> Build:
    def build(architecture: str) -> Learner:
        net = new_model(architecture, task)
        first = learner(architecture, task, model=net).to_fp16()
        with no_progress(first):
            first.fit(1, 1e-3)
        return learner(architecture, task, model=net, callbacks=[HFCallback(train_in_float32=False)])

    return build


def scale_set_later(architecture: str) -> Learner:
    learn = learner(architecture, "labels").to_fp16(dynamic=False)
    learn.mp_cb.loss_scale = 2.0**-30
    return learn


FNS = NOT[::-1]
INSTANCE, CLASS = "callback-instance-in-callback-fns", "callback-class-not-instance"

FAULTS = [
    fault("unwrapped-in-callback-fns", FNS, with_callback_fns(lambda: [Logits]), ALL, loud=True, cure=True),
    fault(
        "unwrapped-in-callback-fns-by-fastai",
        FNS,
        with_callback_fns(lambda: [RNNTrainer], "number"),
        ("bert", "xlm"),
        loud=True,
        cure=True,
    ),
    fault("unwrapped-in-callback-fns-fitted", FNS, fitted_before, OTHERS, loud=True, cure=True),
    fault(
        "hfcallback-in-callback-fns",
        (FNS[0], INSTANCE, "registration"),
        with_callback_fns(lambda: [HFCallback]),
        SOME,
        loud=True,
        cure=True,
    ),
    fault(
        "unwrapped-and-not-returned",
        NOT,
        with_callbacks(lambda: [ForgotToReturn()], "number"),
        THIRD,
        loud=True,
        cure=True,
    ),
    fault("wrong-key-returned", ("wrong-key-returned", *NOT), with_callbacks(lambda: [WrongKey()]), SOME, loud=True),
    fault("instance-in-callback-fns", INSTANCE, with_callback_fns(lambda: [HFCallback()]), ALL, loud=True),
    fault("own-instance-in-callback-fns", INSTANCE, with_callback_fns(lambda: [OnlyLogits()]), OTHERS, loud=True),
    fault("class-in-callbacks", CLASS, with_callbacks(lambda: [HFCallback]), ALL, loud=True),
    fault("own-class-in-callbacks", CLASS, with_callbacks(lambda: [OnlyLogits], "labels"), THIRD, loud=True),
    fault("by-position", ARGUMENTS, batches_of("classes", as_it_is, bare_as_given), ("bert", "roberta", "xlnet")),
    fault(
        "model-copied-optimizer-made-anew",
        "optimizer-holds-another-model",
        swapped_and_optimizer_made,
        OTHERS,
        cure=True,
    ),
    fault(
        "model-left-in-half",
        ("half-weights-without-master", "non-finite-weights"),
        left_in_half("classes"),
        where_half_runs(ALL),
        cure=True,
    ),
    fault("scale-set-too-low", "loss-scale-collapsed", scale_set_later, where_half_runs(OTHERS)),
]
