"""What a diagnosis says that it looked at: every part that was seen, and nothing of what was not."""

from dataclasses import fields

import pytest

from fastai_hf_callback.report.scope import describe_gaps, describe_scope
from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.probes import DOES_NOT_APPLY, FAILED, NOT_MADE
from tests.recorded_evidence import all_made, evidence_with, healthy, with_outcome

PART_OF = {
    "texts": "inputs",
    "outputs": "outputs",
    "loss": "loss",
    "gradients": "graph",
    "optimizer": "stepping",
    "targets": "labels",
    "the last fit": "history",
}


def test_every_part_in_its_figures():
    assert describe_scope(healthy()) == [
        ("texts", "32 rows of up to 12 tokens, 9 on average; 20% padding (id 0), masked"),
        (
            "outputs",
            "shape (8, 3) for targets (8,), from -1.25 to 1.5; they change, in "
            "spreads between rows, by 0.8 with other words, 1e-06 with less padding",
        ),
        (
            "loss",
            "1.1 at first; 0.0001 if always right; 8 step(s) on one batch, with an optimizer and a high rate of "
            "their own, move it by 0.4",
        ),
        ("targets", "400 training and 200 validation rows; words predict them with an area of 0.80 (chance .50)"),
        ("metrics", "accuracy 0.6 (base rate 0.4) on 200 of the validation rows"),
        ("gradients", "the loss reaches 39 of 41 parameters, 40 of them trainable"),
        ("optimizer", "holds 40 of 40 trainable parameters; 4 steps watched"),
        ("the last fit", "4 steps; train loss 1.1 in the first quarter, 0.9 in the last"),
    ]


@pytest.mark.parametrize("name, part", PART_OF.items())
def test_what_was_not_looked_at_is_not_told(name, part):
    assert part in {field.name for field in fields(Evidence)}
    assert name not in dict(describe_scope(evidence_with(**{part: None})))


def test_of_nothing_nothing_is_told():
    assert describe_scope(Evidence()) == []


@pytest.mark.parametrize(
    "changes, name, said",
    [
        (dict(inputs__mask_given=False, inputs__mask_argument_given=False), "texts", "20% padding (id 0), not masked"),
        (dict(inputs__mask_argument_given=False), "texts", "20% padding (id 0), with a mask that does not arrive"),
        (dict(inputs__pad_token_id=None), "texts", "9 on average; no padding"),
        (dict(outputs__changes_with_batch_mates=0.5), "outputs", "0.5 with other batch mates"),
        (
            dict(stepping__sampled_steps=6, stepping__steps=120, stepping__largest_update=0.0047),
            "optimizer",
            "6 of 120 steps watched; the largest moved the weights by 0.47%",
        ),
        (dict(labels__signal_within_train=None), "targets", "400 training and 200 validation rows"),
        (dict(metric__base_rate=None), "metrics", "accuracy 0.6 on 200 of the validation rows"),
    ],
    ids=lambda value: "",
)
def test_the_figures_are_those_of_the_evidence(changes, name, said):
    assert dict(describe_scope(evidence_with(**changes)))[name].endswith(said)


def test_what_was_not_made_says_why_and_what_to_do():
    lines = describe_scope(evidence_with(probes=with_outcome("metrics", FAILED, "it raises", "mend it")))
    assert ("metrics", "failed: it raises; mend it") in lines
    lines = dict(describe_scope(evidence_with(probes=with_outcome("metrics", DOES_NOT_APPLY, "the learner has none"))))
    assert lines["metrics"] == "does not apply: the learner has none"


def test_a_detail_has_a_line_where_it_alone_was_not_made():
    name = "answer to padding"
    assert (name, "not made: odd") in describe_scope(evidence_with(probes=with_outcome(name, NOT_MADE, "odd")))
    assert name not in dict(describe_scope(evidence_with(probes=with_outcome(name, DOES_NOT_APPLY, "no padding"))))
    whole = with_outcome(name, NOT_MADE)
    whole["outputs"].settle(NOT_MADE, "the model is odd")
    assert name not in dict(describe_scope(evidence_with(probes=whole)))


def test_gaps_are_what_was_not_made_and_what_was_not_reached():
    outcomes = all_made()
    outcomes["outputs"].settle(FAILED, "it raises")
    outcomes["loss"].settle(NOT_MADE)
    outcomes["metrics"].settle(NOT_MADE)
    gaps = describe_gaps(evidence_with(probes=outcomes))
    assert gaps == [("outputs", "failed: it raises"), ("not reached", "loss, metrics")]
    assert describe_gaps(healthy()) == []
