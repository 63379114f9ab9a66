"""explain, asked about what fastai 1 really raises when a callback, a model or a loss is given wrongly."""

import pytest
import torch
from torch import nn

pytest.importorskip("fastai.basic_train")

from fastai.basic_train import LearnerCallback
from fastai.callback import Callback
from fastai.train import Learner

from fastai_hf_callback import HFCallback, HFModel, explain, patched_loop
from tests.fastai1.learners import LOSSES, TASKS, databunch, make_learner
from tests.tiny_models import tiny_model


class Unwrap(Callback):
    """What the forum's answers write."""

    def on_loss_begin(self, last_output, **kwargs):
        return {"last_output": last_output[0]}


class WrongKey(Callback):
    def on_loss_begin(self, last_output, **kwargs):
        return {"output": last_output[0]}


class Slipping(Callback):
    def on_batch_begin(self, **kwargs):
        return {}["user's own"]


def cause_of(action):
    try:
        action()
    except Exception as error:
        (finding,) = explain(error).findings
        return finding.cause
    return "nothing was raised"


def fitted(**kwargs):
    return cause_of(lambda: make_learner(**kwargs).fit(1))


@pytest.mark.parametrize("task", TASKS)
def test_a_good_learner_raises_nothing(task):
    assert fitted(task=task) == "nothing was raised"


@pytest.mark.parametrize("task", TASKS)
def test_no_callback_at_all(task):
    assert fitted(task=task, callbacks=[]) == "output-not-unwrapped"


@pytest.mark.parametrize("task", TASKS)
def test_no_callback_at_all_in_validate(task):
    assert cause_of(lambda: make_learner(task=task, callbacks=[]).validate()) == "output-not-unwrapped"


def test_a_wrong_key():
    assert fitted(callbacks=[WrongKey()]) == "wrong-key-returned"


@pytest.mark.parametrize("kind", [Unwrap, LearnerCallback, Callback])
def test_a_class_among_the_callbacks(kind):
    assert fitted(callbacks=[kind]) == "callback-class-not-instance"


def test_our_class_among_the_callbacks():
    assert fitted(callbacks=[HFCallback]) in ("registration", "callback-class-not-instance")


@pytest.mark.parametrize("kind", [Unwrap, HFCallback, Callback])
def test_an_instance_in_callback_fns(kind):
    assert fitted(callbacks=[], callback_fns=[kind()]) == "callback-instance-in-callback-fns"


# Once: "Unwrap() takes no arguments" is unknown: a plain Callback's class in callback_fns, to be given the learner.
def test_a_plain_callbacks_class_in_callback_fns():
    assert fitted(callbacks=[], callback_fns=[Unwrap]) != "unknown-failure"


def test_our_class_in_callback_fns():
    assert fitted(callbacks=[], callback_fns=[HFCallback]) == "registration"


def test_a_function_in_callback_fns_is_unseen_by_validate():
    learn = make_learner(callbacks=[], callback_fns=[lambda learn: Unwrap()])
    assert cause_of(learn.validate) == "output-not-unwrapped"


# Once: "'torch.device' object has no attribute '_apply'" is unknown: Learner calls Model.to(device) on the class.
def test_a_class_as_model():
    kind = type(tiny_model("bert"))
    assert cause_of(lambda: Learner(databunch(), kind, loss_func=LOSSES["classes"]())) == "class-instead-of-instance"


def test_a_class_as_wrapped_model():
    assert cause_of(lambda: HFModel(type(tiny_model("bert")))) == "class-instead-of-instance"


# torch 1.4 once: "bool value of Tensor with more than one value is ambiguous" is unknown.
def test_a_class_as_loss():
    def fit():
        learn = make_learner()
        learn.loss_func = nn.CrossEntropyLoss
        learn.fit(1)

    assert cause_of(fit) == "class-instead-of-instance"


def test_unwrapped_twice_under_cross_entropy():
    assert fitted(callbacks=[Unwrap(), Unwrap()]) == "batch-dimension-lost"


def test_unwrapped_twice_under_binary_cross_entropy():
    assert fitted(task="labels", callbacks=[Unwrap(), Unwrap()]) in ("batch-dimension-lost", "target-shape")


# Once: the metric is the first to say it: "Expected output and target to have the same number of elements but got ...".
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_unwrapped_twice_under_the_squared_error():
    assert fitted(task="number", callbacks=[Unwrap(), Unwrap()]) in ("batch-dimension-lost", "target-shape")


def frozen(**kwargs):
    learn = make_learner(**kwargs)
    for parameter in learn.model.parameters():
        parameter.requires_grad_(False)
    return cause_of(lambda: learn.fit(1))


def test_everything_frozen():
    assert frozen(callbacks=[Unwrap()]) == "everything-frozen"


def test_everything_frozen_under_our_callback():
    assert frozen() in ("everything-frozen", "no-gradient-in-model")


def test_a_loop_that_is_patched_already():
    def twice():
        with patched_loop(), patched_loop():
            pass

    assert cause_of(twice) == "patch-active"


def test_classes_under_binary_cross_entropy():
    def fit():
        learn = make_learner()
        learn.loss_func = lambda output, target: nn.functional.binary_cross_entropy_with_logits(output, target)
        learn.fit(1)

    assert cause_of(fit) == "target-shape"


def test_an_output_detached_behind_our_callback():
    class Detach(Callback):
        def on_loss_begin(self, last_output, **kwargs):
            return {"last_output": last_output.detach().requires_grad_()}

    assert fitted(callbacks=[HFCallback(), Detach()]) == "output-detached"


def test_the_users_own_slip_in_a_callback_gets_no_false_cause():
    assert fitted(callbacks=[HFCallback(), Slipping()]) == "unknown-failure"


def test_the_users_own_slip_in_a_loss_gets_no_false_cause():
    def fit():
        learn = make_learner()
        learn.loss_func = lambda output, target: torch.zeros(()) / (1 // 0)
        learn.fit(1)

    assert cause_of(fit) == "unknown-failure"
