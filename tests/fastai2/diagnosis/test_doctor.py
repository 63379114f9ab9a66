"""``Doctor`` on fastai 2 watches a fit, changes nothing of it, and speaks at the first sound evidence."""

import pickle
import warnings

import fastai.callback.schedule  # noqa: F401  fit_one_cycle, lr_find
import pytest
import torch
from fastai.callback.training import GradientAccumulation
from fastai.optimizer import Adam

from fastai_hf_callback import Doctor, FastaiHFError, HFCallback, diagnose
from fastai_hf_callback.demo.setup import LR
from fastai_hf_callback.fastai2.compat.no_progress import no_progress
from fastai_hf_callback.fastai2.demo import build_demo_factory
from fastai_hf_callback.utils.rng import seed_everything
from tests.fastai2.diagnosis.faulty_learners import FAULTS_BY_NAME, make_faulty_learner, make_pretrained_learner
from tests.fastai2.learners import make_learner
from tests.slow_marks import mark_slow_after

SEEN_IN_A_FIT = [
    "callback-detaches-output",
    "propagated-loss-detached",
    "reward-in-a-callback",
    "model-swapped",
    "no-mask",
    "splitter-of-the-head",
    "clipped-by-fastai",
    "mask-inverted",
    "all-unknown",
    "flat-targets",
    "targets-with-targets",
    "one-nan-in-the-head",
    "step-cancelled",
    "batch-cancelled-at-its-begin",
    "backward-cancelled",
    "batch-cancelled-before-step",
    "gradients-kept",
    "rows-taken-for-batches",
    "shown-loss-weighed",
    "softened-on-itself",
]


def watched(learn, fit=lambda learn: learn.fit(2, 1e-3), **kwargs):
    """What was said, and the doctor."""
    said = []
    doctor = Doctor(say=said.append, **kwargs)
    learn.add_cb(doctor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(learn)
    return said, doctor


@pytest.mark.parametrize("cbs", [[], [lambda: GradientAccumulation(16)]])
@pytest.mark.parametrize("model", mark_slow_after(1, ["bert", "xlnet", "distilbert", "gpt2", "electra"]))
def test_weights_and_records_are_bit_for_bit_those_of_a_fit_without_it(model, cbs):
    def fit(doctor):
        seed_everything(3)
        learn = make_learner(model, cbs=[HFCallback(), *(make() for make in cbs), *([Doctor()] if doctor else [])])
        learn.fit_one_cycle(2, 1e-3)
        return learn

    watched, alone = fit(True), fit(False)
    for name, weight in alone.model.state_dict().items():
        assert torch.equal(weight, watched.model.state_dict()[name]), name
    assert [float(v) for v in watched.recorder.losses] == [float(v) for v in alone.recorder.losses]
    assert watched.recorder.values == alone.recorder.values
    assert watched.doctor.diagnosis.evidence.skipped == []
    assert watched.doctor.diagnosis.evidence.history.metrics == {
        "0": [record[-1] for record in [list(row) for row in watched.recorder.values]]
    }


class Drawing(torch.nn.Module):
    """A loss that draws at every call, and keeps how often it was called."""

    calls = 0

    def forward(self, output, target):
        self.calls += 1
        return torch.nn.functional.cross_entropy(output + 0.01 * torch.randn_like(output), target)


def test_a_loss_that_draws_and_counts_is_asked_as_a_copy_and_draws_the_same():
    def fit(*doctor):
        seed_everything(3)
        learn = make_learner("bert", cbs=[HFCallback(), *doctor])
        learn.loss_func = Drawing()
        learn.fit_one_cycle(2, 1e-3)
        return learn

    watched, alone = fit(Doctor()), fit()
    assert "targets" in watched.doctor.diagnosis.evidence.examined
    assert watched.doctor.diagnosis.evidence.loss.constant_all_targets is not None
    assert watched.loss_func.calls == alone.loss_func.calls
    assert watched.recorder.values == alone.recorder.values


@pytest.mark.parametrize("task", mark_slow_after(1, ["classes", "labels", "number"]))
def test_says_nothing_of_a_healthy_fit(task):
    said, doctor = watched(make_pretrained_learner(task=task), lambda learn: learn.fit_one_cycle(2, 2e-3))
    assert said == [] and doctor.diagnosis.healthy
    assert {"inputs", "outputs", "loss", "gradients", "optimizer", "targets", "metrics"} <= set(
        doctor.diagnosis.evidence.examined
    )


@pytest.mark.parametrize("name", mark_slow_after(2, SEEN_IN_A_FIT))
def test_a_seeded_fault_comes_first(name):
    fault = FAULTS_BY_NAME[name]
    said, doctor = watched(make_faulty_learner(name))
    assert doctor.diagnosis.at_least(fault.severity)[0].cause in fault.causes
    assert any(cause in text for text in said for cause in fault.causes)


def test_of_a_failing_fit_it_keeps_what_it_saw():
    learn = make_pretrained_learner(cbs=[])
    doctor = Doctor(say=lambda text: None)
    learn.add_cb(doctor)
    with pytest.raises(AttributeError):
        learn.fit(1, 1e-3)
    assert doctor.diagnosis.causes[0] == "output-not-unwrapped"


def test_takes_no_learner_and_survives_pickle():
    with pytest.raises(FastaiHFError, match="takes none"):
        Doctor(make_learner())
    made = pickle.loads(pickle.dumps(Doctor(every=7)))
    assert made.every == 7 and made.diagnosis is None


@pytest.mark.slow
def test_fastais_own_epsilon_is_named_where_it_swallows_the_gradients_of_a_small_model():
    """The demo's model, whose AUC stays at a constant predictor's beside eps=1e-5 and moves beside 1e-8."""
    cause = "epsilon-outweighs-gradients"

    def fitted(cure=lambda learn: None):
        seed_everything(42)
        learn, said = build_demo_factory()(), []
        learn.opt_func = Adam
        cure(learn)
        learn.add_cb(Doctor(say=said.append))
        with no_progress(learn):
            learn.fit_one_cycle(3, LR)
        return learn, said, learn.recorder.values[-1][-1]

    learn, said, auc = fitted()
    assert auc < 0.6 and cause in said[0]
    (finding,) = diagnose(learn).at_least("warning")
    assert finding.cause == cause and "1e-05" in finding.message
    learn, said, auc = fitted(finding.apply)
    assert auc > 0.7 and said == [] and diagnose(learn).healthy
