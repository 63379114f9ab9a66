"""A fix is offered only after a trial on copies: it mends the fault, a fit ends, and what is frozen stands still."""

import warnings

import pytest
import torch

from tests.installed_stack import FASTAI_1, FASTAI_2

if not FASTAI_1 and not FASTAI_2:
    pytest.skip("no fastai here", allow_module_level=True)

from fastai_hf_callback import diagnose
from fastai_hf_callback.diagnosis import fix_trials
from fastai_hf_callback.diagnosis.diagnosis import Diagnosis
from fastai_hf_callback.diagnosis.fix_trials import try_fixes, withhold_fixes
from fastai_hf_callback.results.finding import Finding
from tests.diagnosis.learner_states import differences, fastai, make_learner, state_of

if FASTAI_1:
    from fastai_hf_callback.fastai1.diagnosis.learner_adapter import LearnerAdapter
else:
    from fastai_hf_callback.fastai2.diagnosis.learner_adapter import LearnerAdapter


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def frozen_learner():
    learn = make_learner("bert")
    learn.model.requires_grad_(False)
    return learn


@pytest.fixture(scope="module")
def found():
    """Return a learner whose parameters are all frozen, and what the doctor says of it."""
    learn = frozen_learner()
    return learn, diagnose(learn)


def try_fix(learn, found, fix, cause="everything-frozen"):
    """Try another function in the place of the fix, and return what became of the finding."""
    finding = Finding(cause, "error", "None is trainable.", fix="mend(learn)", fix_function=fix)
    return try_fixes(LearnerAdapter(learn), Diagnosis([finding], found.evidence)).findings[0]


def thaw(learn):
    learn.model.requires_grad_(True)
    learn.create_opt(*([1e-3, 0.01] if FASTAI_1 else []))


def test_a_fix_that_mends_is_offered_with_what_was_seen(found):
    _, diagnosis = found
    first = diagnosis.findings[0]
    assert first.cause == "everything-frozen" and first.can_apply
    assert "everything-frozen is gone" in first.tried and "ran to the end" in first.tried
    assert first.tried in " ".join(str(diagnosis).split()) and diagnosis.evidence.trial_seconds > 0


def test_a_trial_leaves_the_learner_as_it_was(found):
    learn = frozen_learner()
    before = state_of(learn)
    assert try_fix(learn, found[1], thaw).can_apply
    assert differences(before, state_of(learn)) == []


def raise_at_once(learn):
    raise ValueError("no")


def break_the_next_fit(learn):
    thaw(learn)
    learn.metrics = [*learn.metrics, lambda output, target: 1 / 0]


def take_metrics_away(learn):
    thaw(learn)
    learn.metrics = []


def break_the_loss(learn):
    thaw(learn)
    learn.loss_func = lambda output, target: output.sum() * float("nan")


# With each what must stand in the words that say why it is not offered.
HARMFUL = [
    (raise_at_once, "it raises ValueError"),
    (break_the_next_fit, ""),
    (take_metrics_away, "metrics of yours"),
    (break_the_loss, ""),
]


@pytest.mark.parametrize("fix, reason", HARMFUL, ids=lambda value: getattr(value, "__name__", None))
def test_a_fix_that_does_harm_is_not_offered(found, fix, reason):
    finding = try_fix(*found, fix)
    assert not finding.can_apply and "not offered" in finding.tried and reason in finding.tried
    assert finding.fix.startswith("By hand:")


def test_a_fix_that_changes_nothing_is_not_offered(found):
    finding = try_fix(*found, lambda learn: None)
    assert not finding.can_apply and "still there" in finding.tried and finding.fix == "mend(learn)"


def test_what_is_frozen_on_purpose_does_not_move(found):
    """The finding is about another thing than the freeze: a fix must leave it."""
    learn = make_learner("bert")
    first = next(iter(learn.model.parameters()))
    first.requires_grad_(False)
    assert "frozen parameters would move" in try_fix(learn, found[1], thaw, "another-cause").tried
    kept = try_fix(learn, found[1], lambda learn: None, "another-cause")
    assert kept.can_apply and torch.is_tensor(first) and not first.requires_grad


def test_trials_end_when_their_time_is_over(found, monkeypatch):
    monkeypatch.setattr(fix_trials, "SECONDS_FOR_ALL", -1.0)
    finding = try_fix(*found, thaw)
    assert not finding.can_apply and finding.tried.startswith("not tried")


def test_what_is_withheld_says_why(found):
    finding = withhold_fixes(found[1], "a fit runs").findings[0]
    assert not finding.can_apply and finding.tried == "not tried: a fit runs"


def test_the_states_differ_where_something_was_changed(found):
    """The comparison above can fail."""
    learn = frozen_learner()
    before = state_of(learn)
    thaw(learn)
    assert differences(before, state_of(learn)) != [] and fastai is not None
