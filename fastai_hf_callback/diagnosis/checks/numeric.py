"""Checks of inputs that are numbers: pixels, waveforms, features of a table."""

from typing import Dict, List, Optional

from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import Finding
from fastai_hf_callback.results.numeric_inputs import NumericInputs

CAUSES = [
    "inputs-not-finite",
    "inputs-all-alike",
    "inputs-of-one-value",
    "channels-misread",
    "inputs-ignored",
    "inputs-not-scaled",
]
EXPLAINED_BY = {
    "inputs-of-one-value": ("inputs-all-alike",),
    "inputs-ignored": (
        "inputs-all-alike",
        "inputs-of-one-value",
        "inputs-not-finite",
        "input-ignored",
        "non-finite-weights",
        "weights-diverged",
        "non-finite-outputs",
        "batch-dimension-lost",
    ),
    "inputs-not-scaled": ("inputs-all-alike", "inputs-of-one-value", "inputs-ignored"),
}

# Rows of a table may be equal by chance, those of so many numbers are not.
MIN_SIZE, MIN_ROWS, MIN_TABLE_ROWS = 16, 4, 32
# A blank image now and then is in every collection of scans, and silence in every one of recordings.
MAX_CONSTANT_SHARE = 0.5
# Pixels of bytes go up to 255; those that were made floats go up to 1, and those of mean 0 to about 3.
RAW_PIXEL = 20.0
# Of the spread between rows that values of standard deviation 1 would give: less is next to nothing.
# An image of one step in 255 between its pixels, divided by the largest standard deviation in use.
FAINT_PIXELS = 0.005
FAINT_ANSWER, FAINT_CONTRAST = 0.1, 0.02


def check_inputs_not_finite(evidence: Evidence) -> List[Finding]:
    return [
        Finding(
            "inputs-not-finite",
            "error",
            f"{_name(one)}: {one.non_finite_rows} of {one.rows} rows hold NaN or infinity, and so does every output "
            f"and gradient that they reach.",
            {"rows with NaN or infinity": one.non_finite_rows, "rows": one.rows},
            "x[~torch.isfinite(x)] = 0  # in the data set, or leave such rows out",
        )
        for one in evidence.numeric_inputs
        if one.non_finite_rows
    ]


def check_inputs_all_alike(evidence: Evidence) -> List[Finding]:
    return [
        Finding(
            "inputs-all-alike",
            "error",
            f"{_name(one)}: all {one.rows} rows that were looked at are the same{_describe_value(one)}: nothing "
            f"in them tells one row from another.",
            {"rows": one.rows, "distinct rows": 1, **_figures(one)},
            "x, y = train_ds[0]; print(x.min(), x.max())  # and see what each transform makes of a row",
        )
        for one in evidence.numeric_inputs
        if one.distinct_rows == 1 and _has_enough_rows(one) and _is_worth_a_finding(one, evidence)
    ]


def check_inputs_of_one_value(evidence: Evidence) -> List[Finding]:
    return [
        Finding(
            "inputs-of-one-value",
            "warning",
            f"{_name(one)}: {one.constant_rows} of {one.rows} rows hold one value alone{_each_channel(one)}: blank "
            f"{'images' if one.kind == 'pixels' else 'rows'}, from which nothing but that value can be learned.",
            {"rows of one value": one.constant_rows, "rows": one.rows, **_figures(one)},
            "x, y = train_ds[0]; print(x.min(), x.max())  # and see what each transform makes of a row",
        )
        for one in evidence.numeric_inputs
        if one.size >= MIN_SIZE and one.rows >= MIN_ROWS and one.constant_rows > MAX_CONSTANT_SHARE * one.rows
    ]


def check_channels_misread(evidence: Evidence) -> List[Finding]:
    return [
        Finding(
            "channels-misread",
            "error",
            f"{_name(one)}: the images come as (height, width, channels) {one.shape}, and {one.first_layer} is given "
            f"their numbers as channels first, read in the order of the memory: every channel holds stripes of all.",
            {"shape": list(one.shape)},
            "x.permute(0, 3, 1, 2)  # never view or reshape: these move no axis",
        )
        for one in evidence.numeric_inputs
        if one.channels_reshaped
    ]


def check_inputs_ignored(evidence: Evidence) -> List[Finding]:
    return [
        Finding(
            "inputs-ignored",
            "error" if _is_only_input(evidence) else "warning" if _is_rich(one) else "note",
            f"{_name(one)}: the output stays the same to the last bit when rows exchange their numbers: nothing of "
            f"them reaches it.",
            {"change of the output": 0.0, "distinct rows": one.distinct_rows},
            "print(learn.model)  # and see that forward hands them on; check that no layer multiplies them by 0",
        )
        for one in evidence.numeric_inputs
        if one.answer == 0 and one.distinct_rows > 1
    ]


def check_inputs_not_scaled(evidence: Evidence) -> List[Finding]:
    found = [(one, _describe_scale(one)) for one in evidence.numeric_inputs]
    return [
        Finding("inputs-not-scaled", "warning", f"{_name(one)}: {text}", _figures(one), _suggest_scale(one))
        for one, text in found
        if text is not None
    ]


def _describe_scale(one: NumericInputs) -> Optional[str]:
    values = one.received
    if values is None or one.is_normalized_behind or one.kind == "features":
        return None
    described = (
        f"values from {values.lowest:.3g} to {values.highest:.3g} (mean {values.mean:.3g}, standard deviation "
        f"{values.std:.3g})"
    )
    if one.kind == "pixels" and values.lowest >= 0 and RAW_PIXEL < values.highest <= 255:
        return f"{described} reach the model: pixels as a file holds them, and image models expect about 0 and 1."
    if one.kind == "pixels" and values.contrast < FAINT_PIXELS:
        return f"{described}, which vary by {values.contrast:.2g} within an image. Were they divided by 255 twice?"
    if values.contrast < FAINT_CONTRAST and one.answer_if_scaled is not None and one.answer_if_scaled < FAINT_ANSWER:
        return (
            f"{described}, which vary by {values.contrast:.2g} within a row: with a standard deviation of 1 the "
            f"outputs would differ {1 / max(one.answer_if_scaled, 1e-9):.3g} times as much between rows."
        )
    if one.expected_mean and one.expected_std and values.lowest >= 0 and values.highest <= 1 and values.std > 0:
        return (
            f"{described}: the image processor that was saved with the model subtracts {one.expected_mean:.3g} and "
            f"divides by {one.expected_std:.3g}, and here neither was done."
        )
    return None


def _suggest_scale(one: NumericInputs) -> str:
    if one.kind != "pixels":
        return "x = (x - x.mean()) / x.std()  # or the feature extractor of the model's own folder"
    mean, std = one.expected_mean or 0.5, one.expected_std or 0.5
    return f"x = (x.float() / 255 - {mean:.3g}) / {std:.3g}  # once, or the image processor of the model's own folder"


def _name(one: NumericInputs) -> str:
    return f"{one.name} ({one.kind} {one.shape})"


def _describe_value(one: NumericInputs) -> str:
    if one.values is None or one.constant_rows < one.rows:
        return ""
    if one.values.lowest == one.values.highest:
        return f", {one.values.lowest:.3g} everywhere"
    return f", one value{_each_channel(one)}"


def _each_channel(one: NumericInputs) -> str:
    return " in each channel" if one.kind == "pixels" else ""


def _figures(one: NumericInputs) -> Dict[str, float]:
    values = one.received
    if values is None:
        return {}
    return {
        "lowest": values.lowest,
        "highest": values.highest,
        "mean": values.mean,
        "standard deviation": values.std,
        "contrast": values.contrast,
    }


def _has_enough_rows(one: NumericInputs) -> bool:
    return one.rows >= (MIN_ROWS if one.size >= MIN_SIZE else MIN_TABLE_ROWS)


def _is_only_input(evidence: Evidence) -> bool:
    return evidence.inputs is None and all(one.answer == 0 for one in evidence.numeric_inputs)


def _is_rich(one: NumericInputs) -> bool:
    return one.size >= MIN_SIZE


def _is_worth_a_finding(one: NumericInputs, evidence: Evidence) -> bool:
    """Return whether the rows ought to differ: a flag of a table may be the same in all that were looked at."""
    return _is_rich(one) or evidence.inputs is None and len(evidence.numeric_inputs) == 1


CHECKS = [
    check_inputs_not_finite,
    check_inputs_all_alike,
    check_inputs_of_one_value,
    check_channels_misread,
    check_inputs_ignored,
    check_inputs_not_scaled,
]
