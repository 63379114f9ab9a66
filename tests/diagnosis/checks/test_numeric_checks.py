"""The checks of inputs that are numbers; the table is read as in ``test_checks.py``."""

from dataclasses import replace

import pytest

from fastai_hf_callback.diagnosis.checks import numeric, outputs
from tests.diagnosis.checks.test_checks import Case, case_id, figures_shown_by, findings_of, stays_silent
from tests.recorded_evidence import evidence_with, pixels

VALUES = pixels().values
RAW = replace(VALUES, lowest=0.0, highest=255.0, mean=120.0, std=60.0, contrast=50.0)
TWICE = replace(VALUES, lowest=0.0, highest=0.0039, mean=0.002, std=0.0009, contrast=0.0008)
FAINT = replace(VALUES, lowest=-0.05, highest=0.05, mean=0.0, std=0.011, contrast=0.01)
UNIT = replace(VALUES, lowest=0.0, highest=1.0, mean=0.45, std=0.25, contrast=0.2)
MISREAD = dict(
    outputs__shape=(8, 3, 16, 16),
    outputs__target_shape=(8, 16, 16),
    outputs__class_axis=1,
    loss__shift_invariant=True,
    loss__shift_invariant_by_place=False,
)

CASES = [
    Case(
        numeric.check_inputs_not_finite,
        "inputs-not-finite",
        "error",
        ["1 of 64"],
        dict(pixels__non_finite_rows=1),
        [dict(pixels__non_finite_rows=0), dict(numeric_inputs=[])],
    ),
    Case(
        numeric.check_inputs_all_alike,
        "inputs-all-alike",
        "error",
        ["all 64 rows", "0 everywhere"],
        dict(
            pixels__distinct_rows=1, pixels__constant_rows=64, pixels__values=replace(VALUES, lowest=0.0, highest=0.0)
        ),
        [dict(pixels__distinct_rows=2), dict(pixels__rows=3), dict(pixels__shape=(3,)), dict(numeric_inputs=[])],
    ),
    Case(
        numeric.check_inputs_of_one_value,
        "inputs-of-one-value",
        "warning",
        ["33 of 64", "in each channel"],
        dict(pixels__constant_rows=33),
        [dict(pixels__constant_rows=32), dict(pixels__shape=(3, 2, 2)), dict(numeric_inputs=[])],
    ),
    Case(
        numeric.check_channels_misread,
        "channels-misread",
        "error",
        ["(16, 16, 3)", "Conv2d"],
        dict(pixels__channels_reshaped=True, pixels__shape=(16, 16, 3), pixels__first_layer="Conv2d"),
        [dict(pixels__channels_reshaped=False), dict(numeric_inputs=[])],
    ),
    Case(
        numeric.check_inputs_ignored,
        "inputs-ignored",
        "error",
        ["to the last bit"],
        dict(pixels__answer=0.0, inputs=None),
        [
            dict(pixels__answer=1e-6),
            dict(pixels__answer=None),
            dict(pixels__distinct_rows=1),
            dict(numeric_inputs=[]),
        ],
    ),
    Case(
        numeric.check_inputs_ignored,
        "inputs-ignored",
        "warning",
        ["pixel_values"],
        dict(pixels__answer=0.0),
        [dict(pixels__answer=1e-6), dict(numeric_inputs=[])],
    ),
    Case(
        numeric.check_inputs_not_scaled,
        "inputs-not-scaled",
        "warning",
        ["from 0 to 255", "as a file holds them"],
        dict(pixels__values=RAW),
        [
            dict(pixels__values=VALUES),
            dict(pixels__values=replace(RAW, highest=256.0)),
            dict(pixels__values=replace(RAW, lowest=-1.0)),
            dict(pixels__at_first_layer=VALUES),
            dict(pixels__is_normalized_behind=True),
            dict(pixels__kind="features"),
            dict(numeric_inputs=[]),
        ],
    ),
    Case(
        numeric.check_inputs_not_scaled,
        "inputs-not-scaled",
        "warning",
        ["0.0039", "twice"],
        dict(pixels__values=TWICE),
        [dict(pixels__values=replace(TWICE, contrast=0.0051))],
    ),
    Case(
        numeric.check_inputs_not_scaled,
        "inputs-not-scaled",
        "warning",
        ["20 times"],
        dict(pixels__values=FAINT, pixels__kind="waveforms", pixels__answer_if_scaled=0.05),
        [
            dict(pixels__answer_if_scaled=0.1),
            dict(pixels__answer_if_scaled=None),
            dict(pixels__values=replace(FAINT, contrast=0.021)),
        ],
    ),
    Case(
        numeric.check_inputs_not_scaled,
        "inputs-not-scaled",
        "warning",
        ["subtracts 0.45"],
        dict(pixels__values=UNIT, pixels__expected_mean=0.45, pixels__expected_std=0.22),
        [
            dict(pixels__expected_mean=None),
            dict(pixels__expected_mean=0.0),
            dict(pixels__values=replace(UNIT, lowest=-0.1)),
            dict(pixels__values=replace(UNIT, highest=1.1)),
        ],
    ),
    Case(
        outputs.check_loss_misreads_classes,
        "loss-misreads-classes",
        "error",
        ["(8, 3, 16, 16)", "3 classes"],
        MISREAD,
        [
            dict(loss__shift_invariant_by_place=True),
            dict(loss__shift_invariant_by_place=None),
            dict(loss__shift_invariant=False),
            dict(outputs=None),
            dict(loss=None),
        ],
    ),
]


every_case = pytest.mark.parametrize("case", CASES, ids=case_id)


@every_case
def test_it_fires_with_its_cause_its_severity_and_its_figures(case):
    figures_shown_by(case)


@every_case
def test_it_is_silent_on_the_nearest_healthy_evidence(case):
    assert case.silent
    stays_silent(case)


def test_a_flag_of_a_table_that_is_the_same_in_all_rows_next_to_texts_is_no_fault():
    flag = dict(pixels__distinct_rows=1, pixels__shape=(2,), pixels__kind="features")
    assert findings_of(numeric.check_inputs_all_alike, evidence_with(**flag)) == []
    assert findings_of(numeric.check_inputs_all_alike, evidence_with(inputs=None, **flag))


def test_the_width_of_pictures_is_no_hidden_size():
    wide = dict(outputs__shape=(8, 3, 16, 16), outputs__target_shape=(8, 16, 16))
    assert findings_of(outputs.check_hidden_state_as_logits, evidence_with(outputs__class_axis=1, **wide)) == []
    assert findings_of(outputs.check_hidden_state_as_logits, evidence_with(outputs__class_axis=-1, **wide))
