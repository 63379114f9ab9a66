"""``diagnose`` on fastai 2: changes nothing, is silent on what is healthy, and names what is not."""

import warnings

import fastai.callback.schedule  # noqa: F401  fit_one_cycle
import pytest
import torch
from fastai.callback.core import Callback

from fastai_hf_callback import diagnose
from fastai_hf_callback.fastai2.comparison.patched_loop import patched_loop
from fastai_hf_callback.fastai2.compat.training_loop import find_active_patch
from fastai_hf_callback.results.probes import DOES_NOT_APPLY, MADE
from tests.diagnosis.learner_states import differences, state_of
from tests.fastai2.diagnosis.faulty_learners import FAULTS_BY_NAME, make_faulty_learner, make_pretrained_learner
from tests.fastai2.learners import make_learner
from tests.slow_marks import mark_slow_after

# -- nothing is changed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    mark_slow_after(1, ["unwrapped-on-itself", "batch-cancelled-at-its-begin", "all-frozen", "shown-loss-weighed"]),
)
def test_nothing_of_a_faulty_learner_is_another(name):
    learn = make_faulty_learner(name)
    before = state_of(learn)
    diagnose(learn)
    assert differences(before, state_of(learn)) == []


def test_after_a_fit_that_failed_for_want_of_the_callback():
    """The learner keeps the failed batch's output, a dict of transformers that refuses to be updated."""
    learn = make_learner("bert", cbs=[])
    with pytest.raises(Exception):  # noqa: B017  fastai's loss says it in its own way
        learn.fit(1, 1e-3)
    output = learn.pred
    held = dict(output)
    assert diagnose(learn).findings[0].cause == "output-not-unwrapped"
    assert learn.pred is output and dict(output) == held and list(output) == list(held)


# -- silent on what is healthy -----------------------------------------------------------------------------------

TASKS = ("classes", "labels", "number")
# Each architecture, and each task at least twice; `make faults` looks at 320 healthy learners.
SLOW_LEARNERS = [
    ("bert", "labels"),
    ("bert", "number"),
    *zip(("roberta", "distilbert", "xlnet", "gpt2", "electra"), 2 * TASKS),
]


@pytest.mark.parametrize(
    "name, task", [("bert", "classes"), *(pytest.param(*one, marks=pytest.mark.slow) for one in SLOW_LEARNERS)]
)
def test_no_alarm_before_a_fit_and_after_it(name, task):
    learn = make_pretrained_learner(name, task)
    before = diagnose(learn)
    learn.fit_one_cycle(2, 2e-3)
    after = diagnose(learn)
    assert [found.causes for found in (before, after) if not found.healthy] == []
    assert before.evidence.skipped == after.evidence.skipped == []
    assert {p.name: p.state for p in before.evidence.probes.values() if not p.part_of and p.state != MADE} == {
        "the last fit": DOES_NOT_APPLY
    }
    assert [p.name for p in after.evidence.probes.values() if not p.part_of and p.state != MADE] == []


def test_no_alarm_on_a_frozen_body_nor_after_validate():
    learn = make_pretrained_learner(splitter=_body_and_head)
    learn.freeze()
    assert diagnose(learn).healthy
    learn.fit_one_cycle(1, 2e-3)
    learn.validate()
    assert diagnose(learn).healthy


def _body_and_head(model):
    parameters = list(model.parameters())
    return [parameters[:-2], parameters[-2:]]


class FirstOfOutput(Callback):
    def after_pred(self):
        self.learn.pred = self.learn.pred[0]


class WarmsUp(Callback):
    def before_batch(self):
        if self.learn.training:
            self.learn.opt.set_hyper("lr", 1e-3 * min(1, (self.learn.train_iter + 1) / 8))


def test_an_epoch_is_run_dry_with_callbacks_that_unwrap_by_themselves():
    found = diagnose(make_learner(cbs=[FirstOfOutput(), WarmsUp()]))
    assert found.evidence.skipped == []
    assert found.evidence.stepping.lr_in_force == pytest.approx(7.5e-4)  # in the last of its six batches


def test_a_healthy_learner_is_told_what_was_looked_at():
    said = str(diagnose(make_pretrained_learner()))
    assert said.startswith("HEALTHY") and "gradients" in said.splitlines()[0] and "\n  targets " in said


# -- names what is not -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    mark_slow_after(
        5,
        [
            "nothing-unwraps",
            "callback-detaches-output",
            "callback-replaces-loss",
            "reward-in-a-callback",
            "all-frozen",
            "all-groups-frozen",
            "model-swapped",
            "body-unfrozen-by-hand-between-fits",
            "splitter-of-the-head",
            "splitter-of-every-other",
            "rate-nought",
            "rate-tiny",
            "rate-one",
            "decay-of-the-fit",
            "clipped-by-fastai",
            "rows-taken-for-batches",
            "gradients-kept",
            "no-mask",
            "padded-in-front-unmasked",
            "padded-with-end",
            "mask-inverted",
            "all-unknown",
            "labels-shuffled-in-training",
            "labels-in-order",
            "flat-targets",
            "targets-with-targets",
            "one-nan-in-the-head",
            "head-frozen-by-hand",
            "unwrapped-on-itself",
            "softened-on-itself",
            "shown-loss-weighed",
            "unwrapped-in-training-only",
            "step-cancelled",
            "batch-cancelled-before-step",
            "batch-cancelled-at-its-begin",
            "backward-cancelled",
        ],
    ),
)
def test_a_seeded_fault_comes_first(name):
    fault = FAULTS_BY_NAME[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = diagnose(make_faulty_learner(name))
    first = found.at_least(fault.severity)[0]
    assert first.cause in fault.causes
    assert found.findings[0] is first
    said = f"{first.message} {first.fix}"
    assert not any(
        word in said
        for word in (
            "callbacks=[",
            "callback_fns",
            "learn.data",
            "DataBunch",
            "learn.split(",
            "skip_step",
            "skip_bwd",
            "loss_batch",
            "on_backward",
            "layer groups",
        )
    )


def test_a_loop_that_was_left_patched():
    learn = make_pretrained_learner()
    with patched_loop():
        found = diagnose(learn)
        assert found.causes[0] == "patch-left-active" and "_do_one_batch" in found.findings[0].message
        found.findings[0].apply(learn)
        assert find_active_patch() is None
    assert diagnose(learn).healthy


@pytest.mark.parametrize(
    "name",
    mark_slow_after(
        3,
        [
            "nothing-unwraps",
            "all-frozen",
            "model-swapped",
            "body-unfrozen-by-hand-between-fits",
            "clipped-by-fastai",
            "splitter-of-the-head",
            "unwrapped-in-training-only",
            "step-cancelled",
            "batch-cancelled-at-its-begin",
            "rows-taken-for-batches",
        ],
    ),
)
def test_a_cure_heals(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learn = make_faulty_learner(name)
        diagnose(learn).findings[0].apply(learn)
        assert diagnose(learn).healthy
        before = [p.detach().clone() for p in learn.model.parameters()]
        learn.fit(1, 1e-3)
    assert not any(torch.equal(p, q) for p, q in zip(before, learn.model.parameters()))
