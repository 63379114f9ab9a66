"""``diagnose`` and ``Doctor`` on what ``text_data`` makes, and under bfloat16's autocast."""

import fastai.callback.schedule  # noqa: F401  fit_one_cycle
import pytest
import torch
from fastai.callback.core import Callback

from fastai_hf_callback import Doctor, HFCallback, diagnose
from tests.diagnosis.learner_states import differences, run, state_of
from tests.fastai2.data.test_text_data import make_data
from tests.fastai2.data.test_text_data import make_learner as learner_of_texts
from tests.fastai2.learners import make_learner
from tests.slow_marks import mark_slow_after
from tests.tiny_texts import fast_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return fast_tokenizer(tmp_path_factory.mktemp("vocabulary"))


@pytest.mark.parametrize(
    "task",
    mark_slow_after(
        1, ["single_label_classification", "token-classification", "multi_label_classification", "regression", "pairs"]
    ),
)
def test_no_alarm_and_nothing_is_another(tokenizer, task):
    learn = learner_of_texts(make_data(tokenizer, task), task)
    before = state_of(learn)
    found = diagnose(learn)
    assert differences(before, state_of(learn)) == []
    assert found.healthy, str(found)
    assert found.evidence.skipped == []
    learn.add_cb(Doctor(say=lambda text: None))
    learn.fit_one_cycle(1, 1e-3)
    assert learn.doctor.diagnosis.healthy, str(learn.doctor.diagnosis)
    assert diagnose(learn).healthy


def test_the_fit_that_follows_is_the_same(tokenizer):
    def make():
        return learner_of_texts(make_data(tokenizer))

    assert run(make, diagnose) == run(make)


class Autocast(Callback):
    """As fastai's MixedPrecision on a GPU: entered in one event and left in another."""

    order = 10

    def before_batch(self):
        self.entered = torch.autocast("cpu", dtype=torch.bfloat16)
        self.entered.__enter__()

    def after_pred(self):
        self.learn.pred = self.learn.pred.float()

    def after_loss(self):
        self.entered.__exit__(None, None, None)


def test_under_autocast_a_step_of_the_head_alone_is_seen():
    learn = make_learner(cbs=[HFCallback(), Autocast()])
    for parameter in learn.model.parameters():
        parameter.requires_grad_(False)
    head = list(learn.model.parameters())[-2]
    head.requires_grad_(True)
    loss = diagnose(learn).evidence.loss
    assert abs(loss.after_fitting - loss.before_fitting) > 1e-3 * loss.before_fitting


@pytest.mark.parametrize("loss_func", [None, lambda output, target: 1 / 0])
def test_autocast_is_left_as_it_was(loss_func):
    learn = make_learner(cbs=[HFCallback(), Autocast()], **({} if loss_func is None else {"loss_func": loss_func}))
    depth = torch.autocast_increment_nesting()
    diagnose(learn)
    assert not torch.is_autocast_enabled("cpu")
    assert torch.autocast_decrement_nesting() == depth - 1
