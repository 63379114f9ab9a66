"""No finding and no explanation speaks of the other fastai: every cause, every failure and every row of the table."""

from importlib import import_module

import pytest

from fastai_hf_callback.diagnosis.checks.failures import REASONS, build_finding
from fastai_hf_callback.diagnosis.fixes.fix_table import resolve_fix
from fastai_hf_callback.results.finding import Action
from tests.diagnosis.checks.test_checks import CASES, case_id, findings_of
from tests.diagnosis.checks.test_data_checks import CASES as CASES_OF_DATA
from tests.diagnosis.checks.test_numeric_checks import CASES as CASES_OF_NUMBERS
from tests.fastai_names import collect_names, find_foreign_words, foreign_names, installed_fastai, read_names
from tests.recorded_evidence import evidence_with

FASTAI = installed_fastai()
ALL_CASES = CASES + CASES_OF_DATA + CASES_OF_NUMBERS
pytestmark = pytest.mark.skipif(FASTAI is None, reason="needs a fastai")
FIXES = import_module(f"fastai_hf_callback.fastai{FASTAI}.diagnosis.fixes").FIXES if FASTAI else {}
# What only one of the two can have: the other's table has no row for it.
ONLY = {
    1: {
        "unwrapping-in-callback-fns",
        "callback-class-not-instance",
        "callback-instance-in-callback-fns",
        "wrong-key-returned",
        "kappa-without-weights",
        "accumulation-of-several-inputs",
    },
    2: {"unwrapping-in-training-only", "set-on-callback", "loss-only-shown", "metric-not-wrapped"},
}


def is_known(finding):
    return finding.action is None or finding.action.name in FIXES


def without_own_splitter(fix):
    """Leave out this package's own splitter: fastai 1's learner has an attribute of its name."""
    return fix.replace("splitter=layer_groups", "")


def foreign_words_of(finding, given=""):
    """Words of the other fastai in what is printed, but for those that a user's own code brings."""
    shown = resolve_fix(finding, FIXES)
    text = " ".join([shown.message, without_own_splitter(shown.fix), *map(str, shown.evidence)])
    return [word for word in find_foreign_words(text, FASTAI) if word not in given]


@pytest.mark.parametrize("case", ALL_CASES, ids=case_id)
def test_a_finding_speaks_of_the_fastai_that_is_here(case):
    for finding in findings_of(case.check, evidence_with(**case.fires)):
        if is_known(finding):
            assert foreign_words_of(finding, given=str(case.fires)) == []
        else:
            assert finding.cause in ONLY[3 - FASTAI]


@pytest.mark.parametrize("cause", sorted(REASONS))
def test_a_known_failure_speaks_of_the_fastai_that_is_here(cause):
    finding = build_finding(cause, "what was seen")
    if is_known(finding):
        assert foreign_words_of(finding) == []
    else:
        assert cause in ONLY[3 - FASTAI]


@pytest.mark.parametrize("name", sorted(FIXES))
def test_a_row_of_the_table_speaks_of_the_fastai_that_is_here(name):
    assert find_foreign_words(without_own_splitter(FIXES[name].line), FASTAI) == []


def test_every_row_is_named_by_a_check_or_a_failure():
    found = [f for case in ALL_CASES for f in findings_of(case.check, evidence_with(**case.fires))]
    named = {finding.action.name for finding in found if finding.action}
    named |= {reason.fix.name for reason in REASONS.values() if isinstance(reason.fix, Action)}
    assert set(FIXES) - named == {"skip-backward-rarely", "skip-steps-rarely"}, "those of callbacks without a name"


# -- and this can fail ---------------------------------------------------------------------------------------------


def test_the_names_in_the_file_are_those_of_the_fastai_that_is_here():
    """A newer release may have more; what the file holds has to be there."""
    assert len(read_names(FASTAI)) > 300 and len(foreign_names(FASTAI)) > 200
    assert len(read_names(FASTAI) - collect_names(FASTAI)) < 0.05 * len(read_names(FASTAI))


WORDS = {
    1: "callback_fns, pred_batch, on_backward_begin, skip_bwd, learn.data, learn.split, callbacks=, DataBunch, "
    "fastai 1",
    2: "cbs=, learn.dls, learn.loss_grad, after_loss, CancelStepException, run_valid, pad_input, splitter=, fastai 2",
}


@pytest.mark.parametrize("fastai", [1, 2])
def test_words_of_each_fastai_are_seen_on_the_other(fastai):
    for word in WORDS[fastai].split(", "):
        text = f"Write {word}[x] at once" if word.endswith("=") else f"Write {word} at once."
        assert find_foreign_words(text, 3 - fastai) and not find_foreign_words(text, fastai), word


def test_a_row_of_the_other_fastai_would_be_seen():
    lines = {1: "learn.add_cb(HFCallback())", 2: "learn.clip_grad(1.0)"}
    assert find_foreign_words(lines[FASTAI], FASTAI)


def test_plain_english_is_not_taken_for_code():
    assert find_foreign_words("The loss of the step is split, and data of a callback train it.", FASTAI or 1) == []
