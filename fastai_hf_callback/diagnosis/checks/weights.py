"""Checks of the weights a run starts from: finite, of a sane size, and the intended ones."""

from typing import Optional

from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import Finding

CAUSES = ["non-finite-weights", "weights-diverged", "dropout-too-high", "pretrained-weights-not-loaded"]
EXPLAINED_BY = {
    "pretrained-weights-not-loaded": ("untrained-body-frozen",),
    "weights-diverged": ("non-finite-weights",),
}

# Logits that differ between rows by less than this share of their own size, for any words: a transformer whose
# attention or layer norms have saturated. New models differ by at least 1e-2.
COLLAPSED_SPREAD = 1e-4
# Matrices amplify by about 1 (root mean square times root of the width) in trained and in new models; a run at
# a learning rate of 1 leaves at least ten.
HIGH_GAIN, CERTAIN_GAIN = 6.0, 15.0
# Training from scratch on fewer tokens than this share of the weights is not fine-tuning.
MIN_PRETRAINED_ELEMENTS = 1_000_000
# Models have .1, heads for small data .5; .9 is usual for keep_prob, the opposite, in some libraries.
HIGH_DROPOUT = 0.8


def check_non_finite_weights(evidence: Evidence) -> Optional[Finding]:
    weights = evidence.weights
    if weights is None or weights.non_finite == 0:
        return None
    return Finding(
        "non-finite-weights",
        "error",
        f"{weights.non_finite} of {weights.parameters} parameters hold NaN or infinity "
        f"({', '.join(weights.non_finite_names[:3])}): an earlier run on this model object overflowed, and "
        f"no learning rate brings them back.",
        {"non-finite": weights.non_finite, "parameters": weights.parameters},
        "Load the model again (Model.from_pretrained(...)) and build a new Learner on it",
    )


def check_weights_diverged(evidence: Evidence) -> Optional[Finding]:
    weights, outputs, loss = evidence.weights, evidence.outputs, evidence.loss
    if weights is None or weights.gain is None or outputs is None or weights.gain < HIGH_GAIN:
        return None
    collapsed = outputs.spread <= COLLAPSED_SPREAD * max(outputs.size, 1e-12)
    ruined = (
        loss is not None
        and loss.first is not None
        and loss.constant is not None
        and loss.first > 1.2 * abs(loss.constant) + 0.05
    )
    unmoved = outputs.changes_with_tokens is not None and outputs.changes_with_tokens < 0.01
    if not (collapsed or ruined or unmoved or weights.gain >= CERTAIN_GAIN):
        return None
    return Finding(
        "weights-diverged",
        "error",
        f"The weights are those of a run that diverged: a matrix amplifies {weights.gain:.3g} times (about "
        f"1 in trained models), logits differ by {outputs.spread:.2g} over {outputs.rows} rows at a size of "
        f"{outputs.size:.2g}. A new Learner on the same model object starts from there.",
        {
            "gain": weights.gain,
            "spread over rows": outputs.spread,
            "size of logits": outputs.size,
            **({} if loss is None else {"loss": loss.first, "loss of a constant": loss.constant}),
        },
        "Load the model again (Model.from_pretrained(...)) and build a new Learner on it",
    )


def check_dropout_too_high(evidence: Evidence) -> Optional[Finding]:
    weights = evidence.weights
    if weights is None or weights.dropout < HIGH_DROPOUT:
        return None
    return Finding(
        "dropout-too-high",
        "warning",
        f"A dropout layer sets {weights.dropout:.0%} of what passes to 0 in training; 10% is usual: hardly "
        f"anything of the texts reaches the loss. Dropout is the share that is dropped, not that is kept.",
        {"dropout": weights.dropout},
        f"Model.from_pretrained(folder, hidden_dropout_prob={1 - weights.dropout:.2g})  # or as the config calls it",
    )


def check_pretrained_weights_not_loaded(evidence: Evidence) -> Optional[Finding]:
    weights = evidence.weights
    if weights is None or not weights.body_at_init:
        return None
    claim, large = weights.pretrained_name, weights.elements >= MIN_PRETRAINED_ELEMENTS
    origin = f"came from {claim!r}, and" if claim else f"has {weights.elements:,} weights, and"
    return Finding(
        "pretrained-weights-not-loaded",
        "warning" if claim or large else "note",
        f"The model {origin} every layer norm of it is at its initial value: no pretrained weight is in "
        f"it. Where from_pretrained matches no name it says so in its log only.",
        {"layer norms at their initial value": "all", "weights": weights.elements},
        "model, info = Model.from_pretrained(folder, output_loading_info=True); print(info)",
    )


CHECKS = [check_non_finite_weights, check_weights_diverged, check_dropout_too_high, check_pretrained_weights_not_loaded]
