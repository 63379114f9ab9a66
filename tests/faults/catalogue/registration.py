"""What should unwrap the output is not where all of fastai's paths find it."""
from typing import Any, Callable, Dict, List

from fastai.basic_train import LearnerCallback
from fastai.callback import Callback
from fastai.callbacks import RNNTrainer
from fastai.train import Learner
from torch import Tensor

from fastai_hf_callback import HFCallback
from fastai_hf_callback.fastai1.quiet import quiet
from tests.faults.fault import OTHERS, SOME, THIRD, fault
from tests.faults.tasks import ALL, learner

Build = Callable[[str], Learner]


class Logits(LearnerCallback):
    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> Dict[str, Tensor]:
        return {"last_output": last_output[0]}


class OnlyLogits(Callback):
    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> Dict[str, Tensor]:
        return {"last_output": last_output[0]}


class WrongKey(Callback):
    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> Dict[str, Tensor]:
        return {"output": last_output[0]}


class OnBatchBegin(Callback):
    """An event too early."""

    def on_batch_begin(self, last_input: Any, **kwargs: Any) -> None:
        self.seen = last_input


class ForgotToReturn(Callback):
    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> None:
        last_output = last_output[0]


def with_callbacks(make: Callable[[], List[Any]], task: str = "classes") -> Build:
    return lambda architecture: learner(architecture, task, callbacks=make())


def with_callback_fns(make: Callable[[], List[Any]], task: str = "classes") -> Build:
    return lambda architecture: learner(architecture, task, callbacks=[], callback_fns=make())


def fit_with_its_own(learn: Learner) -> None:
    learn.fit(2, 1e-3, callbacks=[OnlyLogits()])


def fitted_before(architecture: str) -> Learner:
    """It has learnt through callback_fns; what is left to do is to validate."""
    learn = learner(architecture, "labels", callbacks=[], callback_fns=[Logits])
    with quiet(learn):
        learn.fit(1, 1e-3)
    return learn


FNS = ("unwrapping-in-callback-fns", "output-not-unwrapped")
NOT = ("output-not-unwrapped", "unwrapping-in-callback-fns")
INSTANCE, CLASS = "callback-instance-in-callback-fns", "callback-class-not-instance"

FAULTS = [
    fault("unwrapped-in-callback-fns", FNS, with_callback_fns(lambda: [Logits]), ALL, loud=True, cure=True),
    fault("unwrapped-in-callback-fns-by-fastai", FNS, with_callback_fns(lambda: [RNNTrainer], "number"),
          ("bert", "xlm"), loud=True, cure=True),
    fault("unwrapped-in-callback-fns-fitted", FNS, fitted_before, OTHERS, loud=True, cure=True),
    fault("hfcallback-in-callback-fns", (FNS[0], INSTANCE, "registration"), with_callback_fns(lambda: [HFCallback]),
          SOME, loud=True, cure=True),
    fault("unwrapped-per-fit", (*FNS, "unwrapping-per-fit"), with_callbacks(lambda: []), OTHERS, fit_with_its_own,
          fitted=True, loud=True, cure=True),
    fault("nothing-unwraps", NOT, with_callbacks(lambda: []), ALL, loud=True, cure=True),
    fault("nothing-unwraps-labels", NOT, with_callbacks(lambda: [], "labels"), OTHERS, loud=True, cure=True),
    fault("unwrapped-too-early", NOT, with_callbacks(lambda: [OnBatchBegin()]), SOME, loud=True, cure=True),
    fault("unwrapped-and-not-returned", NOT, with_callbacks(lambda: [ForgotToReturn()], "number"), THIRD, loud=True,
          cure=True),
    fault("wrong-key-returned", ("wrong-key-returned", *NOT), with_callbacks(lambda: [WrongKey()]), SOME, loud=True),
    fault("instance-in-callback-fns", INSTANCE, with_callback_fns(lambda: [HFCallback()]), ALL, loud=True),
    fault("own-instance-in-callback-fns", INSTANCE, with_callback_fns(lambda: [OnlyLogits()]), OTHERS, loud=True),
    fault("class-in-callbacks", CLASS, with_callbacks(lambda: [HFCallback]), ALL, loud=True),
    fault("own-class-in-callbacks", CLASS, with_callbacks(lambda: [OnlyLogits], "labels"), THIRD, loud=True),
]
