"""Evidence -> Diagnosis: what is ranked first, what is left out, and what is printed of it."""

import copy
import itertools
import json
import pickle
from html import unescape
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback.diagnosis import checks
from fastai_hf_callback.diagnosis.diagnosis import Diagnosis, build_diagnosis, explain_exception
from fastai_hf_callback.diagnosis.fixes.fix_table import Fix, resolve_fix
from fastai_hf_callback.errors import FastaiHFError
from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import SEVERITIES, Action, Finding
from fastai_hf_callback.results.probes import NOT_MADE
from tests.diagnosis.checks.test_checks import CASES
from tests.diagnosis.checks.test_data_checks import CASES as CASES_OF_DATA
from tests.recorded_evidence import PARTS, evidence_with, healthy, with_outcome

JINJA2 = find_spec("jinja2") is not None
NAN, INF = float("nan"), float("inf")
# A note (the base rate), a warning (validation of one class) and two errors of different rank.
SEVERAL = dict(metric__value=0.4, labels__valid_constant=True, graph__hidden=4, weights__non_finite=3)


def finding(cause="target-shape", severity="error", message="It does not fit.", **kwargs):
    return Finding(cause, severity, message, **kwargs)


# -- ranking -------------------------------------------------------------------------------------------------------


def test_errors_before_warnings_before_notes_and_then_by_rank():
    assert build_diagnosis(evidence_with(**SEVERAL)).causes == [
        "non-finite-weights",
        "parameters-hidden",
        "validation-one-class",
        "metric-at-base-rate",
    ]


def test_a_warning_of_high_rank_stands_behind_an_error_of_low_rank():
    found = build_diagnosis(evidence_with(wiring__patch="loss_batch", outputs__changes_with_tokens=0.0))
    assert found.causes == ["input-ignored", "patch-left-active"]
    assert checks.CAUSE_ORDER.index("patch-left-active") < checks.CAUSE_ORDER.index("input-ignored")


WHOLE = [case for case in CASES + CASES_OF_DATA if not set(PARTS) & set(case.fires)]  # no part left out


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(WHOLE), max_size=5))
def test_whatever_is_found_is_ranked_and_explains_itself_once(cases):
    evidence = evidence_with(**{name: value for case in cases for name, value in case.fires.items()})
    found = build_diagnosis(evidence)
    places = [(-SEVERITIES.index(f.severity), checks.CAUSE_ORDER.index(f.cause)) for f in found.findings]
    assert places == sorted(places)
    grave = {f.cause for f in found.at_least("warning")}
    for f in found.findings:
        assert not set(checks.EXPLAINED_BY.get(f.cause, ())) & grave
    assert str(found) and json.loads(found.to_json())["healthy"] == found.healthy


def test_what_is_explained_by_another_finding_is_left_out():
    frozen = evidence_with(
        graph__trainable=0, graph__output_has_graph=False, loss__after_fitting=1.1, stepping__moved=0
    )
    assert build_diagnosis(frozen).causes == ["everything-frozen"]
    assert build_diagnosis(evidence_with(stepping__moved=0)).causes == ["weights-do-not-move"], "alone it is kept"


@pytest.mark.parametrize("cause", sorted(checks.EXPLAINED_BY))
def test_every_explanation_works_whatever_the_order_of_the_checks(cause, monkeypatch):
    for by, order in itertools.product(checks.EXPLAINED_BY[cause], (1, -1)):
        both = [lambda evidence: finding(cause), lambda evidence, by=by: finding(by)]
        monkeypatch.setattr(checks, "ALL_CHECKS", both[::order])
        assert build_diagnosis(Evidence()).causes == [by]


def test_two_causes_that_do_not_explain_one_another_both_stay():
    assert len(build_diagnosis(evidence_with(graph__hidden=4, outputs__changes_with_tokens=0.0)).findings) == 2


# Once: a note ("what comes after the body reads padding", which costs little) leaves errors out of the diagnosis.
@pytest.mark.parametrize(
    "lost", [dict(outputs__changes_with_tokens=0.0), dict(stepping__moved=0), dict(stepping__non_finite_losses=4)]
)
def test_a_note_does_not_explain_an_error(lost):
    note = dict(outputs__changes_with_padding=0.3)
    assert [f.severity for f in build_diagnosis(evidence_with(**note)).findings] == ["note"]
    assert not build_diagnosis(evidence_with(**lost)).healthy
    assert not build_diagnosis(evidence_with(**note, **lost)).healthy


def test_an_unknown_failure_is_left_out_where_a_known_error_explains_it():
    failed = dict(wiring__train_error="unknown-failure", wiring__train_message="odd")
    assert build_diagnosis(evidence_with(**failed)).causes == ["unknown-failure"]
    assert build_diagnosis(evidence_with(**failed, graph__hidden=1)).causes == ["parameters-hidden"]
    assert build_diagnosis(evidence_with(**failed, labels__order_z=-9.0)).causes == [
        "unknown-failure",
        "labels-in-order",
    ]


# Once: causes of our own errors that are not in RANK (a model that wraps itself in forward, a user's FastaiHFError) end
# the diagnosis in ``ValueError: 'wrapped-twice' is not in list``.
@pytest.mark.parametrize("cause", ["wrapped-twice", "not-a-module", "bad-pad-id", "input-names", "unknown", "my-own"])
def test_a_cause_without_a_rank_is_told_all_the_same(cause):
    found = build_diagnosis(evidence_with(wiring__train_error=cause, wiring__train_message="said", graph__hidden=1))
    assert set(found.causes) == {cause, "parameters-hidden"}


# Once: what the training path said and what the graph shows are one cause, and it is listed twice.
@pytest.mark.parametrize(
    "cause, shown",
    [
        ("everything-frozen", dict(graph__trainable=0)),
        ("no-gradient-in-model", dict(graph__output_has_graph=False)),
        ("loss-broadcasts", dict(outputs__broadcasts=True)),
        ("batch-dimension-lost", dict(outputs__shape=(3,))),
    ],
)
def test_a_cause_that_is_seen_twice_is_told_once(cause, shown):
    found = build_diagnosis(evidence_with(wiring__train_error=cause, wiring__train_message="said", **shown))
    assert found.causes.count(cause) == 1


def test_the_evidence_is_kept_and_not_changed():
    evidence = evidence_with(**SEVERAL)
    before = copy.deepcopy(evidence)
    assert build_diagnosis(evidence).evidence is evidence and evidence == before


# -- healthy, at_least ---------------------------------------------------------------------------------------------


def test_a_healthy_run_is_healthy():
    assert build_diagnosis(healthy()).healthy and build_diagnosis(healthy()).findings == []


@pytest.mark.parametrize("severity, well", [("note", True), ("warning", False), ("error", False)])
def test_a_note_is_no_illness(severity, well):
    assert Diagnosis([finding(severity=severity)], healthy()).healthy is well


def test_at_least():
    found = Diagnosis([finding("a", "error"), finding("b", "warning"), finding("c", "note")])
    assert [[f.cause for f in found.at_least(s)] for s in SEVERITIES] == [["a", "b", "c"], ["a", "b"], ["a"]]
    assert found.causes == ["a", "b", "c"]


def test_at_least_refuses_a_severity_that_does_not_exist():
    with pytest.raises(FastaiHFError, match="severity 'fatal' was given; expected one of note, warning, error"):
        Diagnosis().at_least("fatal")


# -- fixes ---------------------------------------------------------------------------------------------------------


def test_apply_without_a_function_says_what_to_do_by_hand():
    found = finding(fix="learn.unfreeze()")
    assert not found.can_apply
    with pytest.raises(FastaiHFError, match=r"target-shape has no fix.*Do by hand: learn\.unfreeze\(\)") as caught:
        found.apply("learner")
    assert caught.value.cause == "target-shape"


def remove(learn, names):
    return f"{learn} without {names}"


SKIPPED = dict(stepping__skipped_backwards=4, stepping__skipped_by=["Dropper"])


def test_an_action_becomes_the_line_and_the_function_of_its_row():
    fixes = {"remove-callbacks": Fix("del {names!r}", remove)}
    (found,) = build_diagnosis(evidence_with(**SKIPPED), fixes).findings
    assert found.fix == "del ['Dropper']" and found.can_apply
    assert found.apply("learner") == "learner without ['Dropper']"


def test_the_note_of_an_action_stands_behind_the_line():
    shown = finding(action=Action("row", {"x": 1}, "and that is all"))
    assert resolve_fix(shown, {"row": Fix("x = {x}; y = {{}}")}).fix == "x = 1; y = {}  # and that is all"
    assert resolve_fix(shown, None).fix == "row  # and that is all"


def test_a_line_that_is_the_same_on_every_fastai_stays_as_it_is():
    assert resolve_fix(finding(fix="return {}"), {}).fix == "return {}"


def test_a_failure_that_a_fastai_cannot_have_is_not_in_its_catalogue():
    error = RuntimeError("x isn't a valid key in the state of the callbacks")
    assert explain_exception(error, {}).causes == ["unknown-failure"]
    assert explain_exception(error, {"return-logits": Fix("return logits")}).findings[0].fix == "return logits"


def test_an_action_that_no_row_has_is_a_mistake_of_ours():
    with pytest.raises(KeyError, match="remove-callbacks"):
        build_diagnosis(evidence_with(**SKIPPED), {})


def test_only_what_has_a_function_can_be_applied():
    several = dict(SEVERAL, graph__hidden=0, graph__trainable=0, graph__output_has_graph=False)
    fixes = {"unfreeze": Fix("learn.unfreeze()", print), "add-auc-metric": Fix("metrics.append()")}
    found = build_diagnosis(evidence_with(**several), fixes)
    assert [f.cause for f in found.findings if f.can_apply] == ["everything-frozen"]
    assert str(found).count("finding.apply(learn) does it") == 1


def test_without_fixes_nothing_can_be_applied():
    assert not any(f.can_apply for f in build_diagnosis(evidence_with(**SEVERAL)).findings)


# -- text ----------------------------------------------------------------------------------------------------------


LOOKED_AT = "looked at inputs, outputs, loss, targets, metrics, gradients, optimizer, fitting one batch"


def test_the_text_of_a_healthy_run_says_what_was_looked_at():
    said = str(build_diagnosis(healthy())).splitlines()
    assert said[0] == f"HEALTHY: {LOOKED_AT} in 1.2 s and found nothing that keeps metrics still"
    assert "  gradients     the loss reaches 39 of 41 parameters, 40 of them trainable" in said
    assert max(map(len, said[1:])) <= 100
    ill = str(build_diagnosis(evidence_with(graph__hidden=4)))
    assert "of them trainable" not in ill  # its findings say what there is to say


def test_the_time_of_trials_is_counted_apart():
    verdict = str(build_diagnosis(evidence_with(trial_seconds=3.44))).splitlines()[0]
    assert "in 1.2 s, tried fixes in 3.4 s more, and found" in " ".join(verdict.split())


def test_notes_are_named_and_a_doubt_is_no_health():
    noted = build_diagnosis(evidence_with(metric__value=0.4))
    assert str(noted).startswith("HEALTHY, with 1 note (metric-at-base-rate): looked at") and not noted.in_doubt
    nothing = dict(labels__signal_within_train=0.5, labels__signal_within_valid=0.5, labels__signal_together=0.5)
    doubted = build_diagnosis(
        evidence_with(metric__value=0.4, history__losses=[1.1] * 30, loss__constant_all_targets=1.09, **nothing)
    )
    said = "IN DOUBT, with 3 notes (labels-unrelated-to-texts, metric-at-base-rate, nothing-learned-yet): looked at "
    assert str(doubted).startswith(said) and "and found no sure fault" in str(doubted).splitlines()[0]
    assert doubted.in_doubt and not doubted.healthy


def test_a_doubt_beside_a_fault_is_a_fault():
    assert not build_diagnosis(
        evidence_with(graph__hidden=4, history__losses=[1.1] * 30, loss__constant_all_targets=1.09)
    ).in_doubt


def test_a_doctor_that_watched_a_fit_says_over_how_many_steps():
    watched = evidence_with(seconds=0.0, stepping__steps=120, stepping__sampled_steps=6)
    said = str(build_diagnosis(watched)).splitlines()
    assert said[0] == f"HEALTHY: {LOOKED_AT} over 120 step(s) and found nothing that keeps metrics still"
    assert "  optimizer     holds 40 of 40 trainable parameters; 6 of 120 steps watched" in said


def test_the_text_says_what_could_not_be_looked_at_why_and_what_to_do():
    outcomes = with_outcome("metrics", NOT_MADE, "TypeError: odd", "take odd away")
    said = str(build_diagnosis(evidence_with(probes=outcomes))).splitlines()
    assert said[0].startswith("IN DOUBT: ") and said[0].endswith("no sure fault; could not look at metrics")
    assert "  metrics       not made: TypeError: odd; take odd away" in said
    beside_a_fault = str(build_diagnosis(evidence_with(probes=outcomes, graph__hidden=4))).splitlines()
    assert beside_a_fault[0].startswith("1 finding(s)") and beside_a_fault[1] in said


def test_of_nothing_there_is_no_verdict_but_doubt():
    assert str(build_diagnosis(Evidence())).startswith("IN DOUBT: looked at nothing yet in 0.0 s and found no sure")
    assert str(Diagnosis()) == "IN DOUBT: nothing was looked at"
    assert not Diagnosis().healthy and Diagnosis().in_doubt and Diagnosis().exit_code() == 1


def test_the_text_of_findings():
    lines = str(build_diagnosis(evidence_with(**SEVERAL))).splitlines()
    assert lines[0] == "3 finding(s), the most probable first: non-finite-weights"
    assert [line for line in lines if line[:1].isdigit()][1:] == [
        "1. ERROR  non-finite-weights",
        "2. ERROR  parameters-hidden",
        "3. WARNING  validation-one-class",
        "4. NOTE  metric-at-base-rate",
    ]
    assert "   seen: hidden 4, registered 41" in lines
    assert "   fix:  self.layers = nn.ModuleList(layers)  # ModuleDict for a dict" in lines


def test_a_finding_in_one_line():
    assert str(finding()) == "error: target-shape - It does not fit."


@pytest.mark.parametrize("case", CASES + CASES_OF_DATA, ids=lambda case: case.cause)
def test_every_finding_is_told_in_text_json_and_html(case):
    found = build_diagnosis(evidence_with(**case.fires))
    assert case.cause in found.causes or case.cause in checks.EXPLAINED_BY
    assert max(map(len, str(found).splitlines())) < 250
    json.loads(found.to_json(), parse_constant=pytest.fail)
    if JINJA2:
        told = unescape(found._repr_html_())
        assert all(part in told for f in found.findings for part in (f.severity, f.cause, f.message, f.fix))


# -- JSON ----------------------------------------------------------------------------------------------------------


def test_the_json_is_strict_and_keeps_what_is_not_finite_as_words():
    found = Diagnosis(
        [finding(evidence={"nan": NAN, "inf": INF, "list": [-INF, 1.5], "none": None, "yes": True})],
        evidence_with(loss__first=NAN, outputs__lowest=-INF),
    )
    told = json.loads(found.to_json(), parse_constant=pytest.fail)
    assert told["findings"][0]["evidence"] == {
        "nan": "nan",
        "inf": "inf",
        "list": ["-inf", 1.5],
        "none": None,
        "yes": True,
    }
    assert told["evidence"]["loss"]["first"] == "nan" and told["evidence"]["outputs"]["lowest"] == "-inf"
    assert told["healthy"] is False and told["findings"][0]["can_apply"] is False


def test_the_json_holds_all_evidence():
    told = json.loads(build_diagnosis(healthy()).to_json())
    assert told["evidence"] == json.loads(json.dumps(healthy().to_dict())) and told["findings"] == []
    assert json.loads(Diagnosis().to_json())["evidence"] is None


def test_the_json_of_anything_else_is_its_words():
    assert (
        "object at"
        in json.loads(Diagnosis([finding(evidence={"x": object()})]).to_json())["findings"][0]["evidence"]["x"]
    )


# -- copies --------------------------------------------------------------------------------------------------------


def test_a_diagnosis_can_be_copied_and_pickled():
    found = build_diagnosis(evidence_with(**SEVERAL))
    assert copy.deepcopy(found) == found and pickle.loads(pickle.dumps(found)) == found


def test_to_dict_is_a_copy():
    evidence = healthy()
    evidence.to_dict()["history"]["losses"].append(0.0)
    assert evidence == healthy()
