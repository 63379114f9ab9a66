"""Checks of mixed precision and half-precision weights."""

from typing import Optional

from fastai_hf_callback.results.evidence import Evidence, LossBehavior, Precision
from fastai_hf_callback.results.finding import Action, Finding

CAUSES = ["half-weights-without-master", "loss-scale-overflows", "loss-scale-collapsed"]
# Where both fastais begin; halved at each overflow, the scale is at 256 after eight.
INITIAL_SCALE, MAX_SETTLING_STEPS, MAX_FLOAT16 = 2.0**16, 8, 65504.0
EXPLAINED_BY = {"loss-scale-collapsed": ("loss-scale-overflows",), "loss-scale-overflows": ("non-finite-weights",)}


def check_half_weights_without_master(evidence: Evidence) -> Optional[Finding]:
    weights = evidence.weights
    if weights is None or weights.half == 0 or weights.has_master_copies:
        return None
    dtypes = " and ".join(weights.half_dtypes) or "float16"
    lost = evidence.stepping.lost_in_rounding if evidence.stepping is not None else None
    return Finding(
        "half-weights-without-master",
        "error",
        f"{weights.half} of {weights.parameters} parameters are {dtypes} and the optimizer steps them "
        f"directly{'' if lost is None else f': {lost:.0%} of their elements did not change in a step'}. "
        f"There are no full-precision copies: the model was halved under another Learner, or loaded in half.",
        {"half parameters": weights.half, "swallowed": lost},
        action=Action("full-precision", note="for mixed precision then learn.to_fp16() on this very learner"),
    )


def _is_scale_settling(precision: Precision, loss: Optional[LossBehavior]) -> bool:
    """Return whether a dynamic scale is still falling from its usual start, with too few steps yet to settle.

    A loss that is itself too large for half precision takes it below 1: then it has collapsed.
    """
    falls = precision.first_scale is not None and precision.loss_scale < precision.first_scale <= INITIAL_SCALE
    bearable = loss is None or loss.first is None or loss.first < MAX_FLOAT16
    return falls and bearable and precision.steps < MAX_SETTLING_STEPS


def check_loss_scale_overflows(evidence: Evidence) -> Optional[Finding]:
    precision = evidence.precision
    if (
        precision is None
        or precision.steps < 2
        or precision.overflows < precision.steps
        or _is_scale_settling(precision, evidence.loss)
    ):
        return None
    return Finding(
        "loss-scale-overflows",
        "error",
        f"All {precision.steps} steps overflowed in half precision and were dropped; the loss scale stands "
        f"at {precision.loss_scale:g}.",
        {"loss scale": precision.loss_scale, "overflows": precision.overflows, "steps": precision.steps},
        action=Action("reset-loss-scale"),
    )


def check_loss_scale_collapsed(evidence: Evidence) -> Optional[Finding]:
    precision = evidence.precision
    # Dynamic scaling starts at 65536 and halves on an overflow; below 2 gradients of 1e-5 are lost in half.
    if precision is None or precision.loss_scale >= 2:
        return None
    return Finding(
        "loss-scale-collapsed",
        "warning",
        f"The loss scale has fallen to {precision.loss_scale:g}, as a learning-rate range test that ran "
        f"into overflow leaves it: small gradients become zero in half precision.",
        {"loss scale": precision.loss_scale},
        action=Action("reset-loss-scale"),
    )


CHECKS = [check_half_weights_without_master, check_loss_scale_overflows, check_loss_scale_collapsed]
