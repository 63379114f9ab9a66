"""Checks of the weights a run starts from: finite, of a sane size, and the intended ones."""

from typing import Dict, List, Optional

from fastai_hf_callback.results.evidence import Evidence, Weights
from fastai_hf_callback.results.finding import Action, Finding

from .gradient import check_gradient_vanishes

CAUSES = [
    "non-finite-weights",
    "loss-summed-over-rows",
    "weights-all-zero",
    "weights-diverged",
    "non-finite-optimizer-state",
    "dropout-too-high",
    "statistics-never-updated",
    "pretrained-weights-not-loaded",
]
EXPLAINED_BY = {
    "pretrained-weights-not-loaded": ("untrained-body-frozen",),
    "weights-diverged": (
        "non-finite-weights",
        "weights-changed-between-steps",
        "weights-all-zero",
        "loss-summed-over-rows",
        "gradients-replaced",
    ),
    "non-finite-optimizer-state": ("non-finite-weights",),
}

# Logits that differ between rows by less than this share of their own size, for any words: a transformer whose
# attention or layer norms have saturated. New models differ by at least 1e-2.
COLLAPSED_SPREAD = 1e-4
# Matrices amplify by about 1 (root mean square times root of the width) in trained and in new models; a run at
# a learning rate of 1 leaves at least ten.
HIGH_GAIN, CERTAIN_GAIN = 6.0, 15.0
# A fit moves the matrices of a pretrained body by hundredths of their size, to tenths; from scratch by more than it.
MOVED_AT_ALL, FAR = 0.1, 1.0
# Rows that newly drawn weights tell apart, at the least: a hundred times what counts as one output.
TELLING_SPREAD = 1e-2
# A model that has stood there and then learns goes on to less than this share of a constant predictor's loss; one that
# is right for rows of one target pays much less than a constant predictor does for all.
STEPS_TO_LEAVE, LEFT_SHARE, RIGHT_SHARE = 20, 0.9, 0.1
# A pretrained body that Adam trains at more than this is easily ruined: 2e-5 to 1e-4 is usual. Steps that grow with
# the gradient bear far more.
MAX_PRETRAINED_LR, HIGH_SGD_LR = 3e-4, 0.3
# Sums over rows double, means do not change; losses that normalize by other figures lie between.
SUM_TOLERANCE = 0.01
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
        f"The model is ruined: {weights.non_finite} of {weights.parameters} parameters hold NaN or infinity "
        f"({', '.join(weights.non_finite_names[:3])}), and no learning rate brings them back. "
        f"{_describe_culprit(evidence)}",
        {"non-finite": weights.non_finite, "parameters": weights.parameters, **_list_rate(evidence)},
        _advise_reload(evidence),
    )


def check_non_finite_state(evidence: Evidence) -> Optional[Finding]:
    weights = evidence.weights
    if weights is None or weights.non_finite_state == 0:
        return None
    return Finding(
        "non-finite-optimizer-state",
        "error",
        f"The optimizer's averages hold NaN or infinity for {weights.non_finite_state} parameters: its next steps "
        f"bring them into the weights. {_describe_culprit(evidence)}",
        {"averages not finite": weights.non_finite_state, **_list_rate(evidence)},
        action=Action("renew-optimizer", note="where the weights themselves are finite still"),
    )


def check_statistics_never_updated(evidence: Evidence) -> Optional[Finding]:
    names = [] if evidence.weights is None else evidence.weights.stale_statistics
    if not names:
        return None
    return Finding(
        "statistics-never-updated",
        "error",
        f"The running statistics of {len(names)} normalization layers ({', '.join(names[:3])}) have seen batches and "
        f"are still a new layer's, mean 0 and variance 1: training normalizes by the batch, and eval mode by nothing.",
        {"layers": len(names), "names": names[:3]},
        "module.momentum = 0.1  # torch's is the share of the new batch, other libraries' that of the old",
    )


def check_loss_summed_over_rows(evidence: Evidence) -> Optional[Finding]:
    loss, hyper, outputs = evidence.loss, evidence.hyper, evidence.outputs
    if loss is None or loss.growth_with_rows is None or abs(loss.growth_with_rows - 2) > SUM_TOLERANCE:
        return None
    # Adam's steps are the same for a sum; plain SGD's are not, and at a rate that suits a sum they are right.
    if hyper is None or not hyper.scales_with_gradient or outputs is None or check_weights_diverged(evidence) is None:
        return None
    return Finding(
        "loss-summed-over-rows",
        "error",
        f"The loss of the same rows twice is {loss.growth_with_rows:.3g} times that of them once: it is summed over "
        f"rows, and with it the gradient that this optimizer's steps grow with. The model is ruined, its weights those "
        f"of a run that diverged.",
        {"twice / once": loss.growth_with_rows, **_list_rate(evidence)},
        'nn.CrossEntropyLoss()  # reduction="mean"; on a model loaded again: this one\'s weights are lost',
    )


def check_weights_all_zero(evidence: Evidence) -> Optional[Finding]:
    weights, outputs = evidence.weights, evidence.outputs
    if weights is None or not weights.zero_matrices:
        return None
    # A head or an adapter may begin with zeros, and learns; where nothing comes through, they are in the way.
    blocked = outputs is not None and outputs.changes_with_tokens == 0
    if not blocked and check_gradient_vanishes(evidence) is None:
        return None
    names = weights.zero_matrices
    return Finding(
        "weights-all-zero",
        "error",
        f"The weights of {len(names)} layers ({', '.join(names[:3])}) are nothing but zeros as their forward uses "
        f"them: nothing passes them, neither words nor gradients.",
        {"layers": len(names), "names": names[:3]},
        "Look for zeros_ in __init__, and for prune's amount: 1 is one weight, 1.0 is all of them",
    )


def check_weights_diverged(evidence: Evidence) -> Optional[Finding]:
    one_output = _sign_of_one_output(evidence)
    signs = [*_sign_of_gain(evidence), *one_output, *_sign_of_forgetting(evidence)]
    weights, outputs, loss = evidence.weights, evidence.outputs, evidence.loss
    if not signs or weights is None or outputs is None:
        return None
    # Models made new stand there for epochs, too; whether this one was ever better, nobody has kept.
    is_certain = signs != one_output or weights.distance is not None and weights.body_trainable is not False
    if weights.distance is not None and weights.distance >= FAR:
        signs.append(f"its matrices are {weights.distance:.2g} times their own size away from where its fits began")
    return Finding(
        "weights-diverged",
        "error" if is_certain else "warning",
        f"The model {'is' if is_certain else 'may be'} ruined, its weights those of a run that diverged: "
        f"{'; '.join(signs)}. "
        f"{_describe_culprit(evidence)}",
        {
            "gain": weights.gain,
            "spread over rows": outputs.spread,
            "size of logits": outputs.size,
            **({} if weights.distance is None else {"moved / size": weights.distance}),
            **({} if loss is None else {"loss": loss.first, "loss of a constant": loss.constant}),
            **_list_rate(evidence),
        },
        _advise_reload(evidence),
    )


def _sign_of_gain(evidence: Evidence) -> List[str]:
    weights, outputs, loss = evidence.weights, evidence.outputs, evidence.loss
    if weights is None or weights.gain is None or outputs is None or weights.gain < HIGH_GAIN:
        return []
    collapsed = outputs.spread <= COLLAPSED_SPREAD * max(outputs.size, 1e-12)
    costly = (
        loss is not None
        and loss.first is not None
        and loss.constant is not None
        and loss.first > 1.2 * abs(loss.constant) + 0.05
    )
    unmoved = outputs.changes_with_tokens is not None and outputs.changes_with_tokens < 0.01
    if not (collapsed or costly or unmoved or weights.gain >= CERTAIN_GAIN):
        return []
    return [
        f"a matrix amplifies {weights.gain:.3g} times (about 1 in trained models), logits differ by "
        f"{outputs.spread:.2g} over {outputs.rows} rows at a size of {outputs.size:.2g}"
    ]


def _sign_of_one_output(evidence: Evidence) -> List[str]:
    """Return what shows that a fit has brought all rows to one output: other weights tell them apart."""
    weights, outputs, labels = evidence.weights, evidence.outputs, evidence.labels
    if weights is None or outputs is None or not outputs.uniform or labels is not None and labels.train_constant:
        return []
    if evidence.history is None or weights.distance is not None and weights.distance < MOVED_AT_ALL:
        return []
    if weights.body_at_init:  # a model made new begins there, and may stay for epochs
        return []
    if outputs.spread_of_new_weights is None or outputs.spread_of_new_weights < TELLING_SPREAD:
        return []
    if _is_right_for_its_rows(evidence) or outputs.before_fit and _may_have_left(evidence):
        return []
    return [
        f"it gives all {outputs.rows} rows one output up to rounding (they differ by {outputs.spread:.2g} at a size of "
        f"{outputs.size:.2g}), and with newly drawn weights it tells them apart"
    ]


def _is_right_for_its_rows(evidence: Evidence) -> bool:
    """Return whether one output is what these rows ask for: a few rows may have one target."""
    first, constant = None if evidence.loss is None else evidence.loss.first, evidence.constant_loss
    return first is not None and constant is not None and first < RIGHT_SHARE * constant


def _may_have_left(evidence: Evidence) -> bool:
    """Return whether the fit whose first batch was looked at has learned since, or has had no time to: it runs."""
    losses, constant = [] if evidence.history is None else evidence.history.losses, evidence.constant_loss
    if not evidence.fit_has_ended and len(losses) < STEPS_TO_LEAVE:
        return True
    return constant is not None and evidence.history is not None and evidence.history.late < LEFT_SHARE * constant


def _sign_of_forgetting(evidence: Evidence) -> List[str]:
    """Return what shows that a fit has replaced pretrained weights, and learned nothing."""
    weights, loss, history = evidence.weights, evidence.loss, evidence.history
    if weights is None or history is None or loss is None or loss.first is None or not loss.constant:
        return []
    if weights.body_at_init is not False or weights.distance is None or weights.distance < FAR:
        return []
    if weights.body_trainable is False:  # it is the head alone that has moved
        return []
    of_all = abs(evidence.constant_loss or loss.constant)
    if loss.first < 0.98 * abs(loss.constant) or history.late < 0.98 * of_all:
        return []
    return [
        f"its loss is {loss.first:.3g}, and a predictor that never reads the text pays {loss.constant:.3g}: what it "
        f"knew is gone"
    ]


def _describe_culprit(evidence: Evidence) -> str:
    """Say what most probably did it: half precision, gradients that nothing limits, or the learning rate."""
    weights, hyper, precision = evidence.weights, evidence.hyper, evidence.precision
    if weights is not None and weights.half and not weights.has_master_copies:
        return f"Most probably half precision did it: {' and '.join(weights.half_dtypes)} weights are stepped directly."
    if hyper is None or not hyper.lr:
        return "An earlier run on this model object did it, most probably at too high a learning rate."
    if precision is not None and precision.overflows and not is_rate_high(evidence):
        return f"Most probably half precision did it: {precision.overflows} of {precision.steps} steps overflowed."
    if _has_exploded(evidence) and not is_rate_high(evidence):
        return (
            f"The learning rate, {hyper.lr:.3g}, is a usual one, and the loss rose at once: most probably single "
            f"gradients did it, which nothing clips."
        )
    size = None if weights is None else weights.starting_size
    of_size = "" if not size else f" (the median matrix began with weights of {size:.2g})"
    step = (
        "a step of this optimizer grows with the gradient"
        if hyper.scales_with_gradient
        else f"a step of this optimizer moves a weight by about that, whatever the gradient{of_size}"
    )
    return f"Most probably the learning rate did it: {hyper.lr:.3g} ({hyper.source}); {step}."


def _has_exploded(evidence: Evidence) -> bool:
    losses = [] if evidence.history is None else evidence.history.losses
    return len(losses) > 1 and not max(losses) < 5 * abs(losses[0])  # NaN, too


def is_rate_high(evidence: Evidence) -> bool:
    """Return whether the last fit's rate is more than what trains a pretrained body, under the optimizer in force."""
    hyper = evidence.hyper
    if hyper is None or not hyper.lr:
        return False
    return hyper.lr * hyper.momentum_gain > (HIGH_SGD_LR if hyper.scales_with_gradient else MAX_PRETRAINED_LR)


def _list_rate(evidence: Evidence) -> Dict[str, float]:
    return {} if evidence.hyper is None or not evidence.hyper.lr else {"lr": evidence.hyper.lr}


def _advise_reload(evidence: Evidence) -> str:
    reload = "Load the model again (Model.from_pretrained(...)) and build a new Learner on it"
    hyper = evidence.hyper
    if hyper is None or not hyper.lr or not is_rate_high(evidence):
        return f"{reload}; and clip the gradients at a norm of 1"
    rate = min(hyper.lr / 100, 0.1) if hyper.scales_with_gradient else 5e-5
    return f"{reload}; then learn.fit_one_cycle(2, {rate:.1g}), not {hyper.lr:.3g}"


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
        "warning" if (claim or large) and not _has_learned_since(evidence) else "note",
        f"The model {origin} every layer norm of it {_describe_norms(weights)}: no pretrained weight is in "
        f"it. Where from_pretrained matches no name it says so in its log only.",
        {"layer norms at their initial value": "all", "weights": weights.elements},
        "model, info = Model.from_pretrained(folder, output_loading_info=True); print(info)",
    )


def _describe_norms(weights: Weights) -> str:
    if not weights.norm_shift:
        return "is at its initial value"
    if weights.distance is not None:
        return f"was at its initial value when its first fit began (now within {weights.norm_shift:.2g} of it)"
    return f"is within {weights.norm_shift:.2g} of its initial value, no further than the last fit's steps can move it"


def _has_learned_since(evidence: Evidence) -> bool:
    """Return whether fits have brought the loss well below a constant predictor's all the same."""
    loss, history = evidence.loss, evidence.history
    if loss is None or loss.first is None or not loss.constant or history is None:
        return False
    return loss.first < 0.5 * abs(loss.constant)


CHECKS = [
    check_statistics_never_updated,
    check_loss_summed_over_rows,
    check_weights_all_zero,
    check_non_finite_weights,
    check_weights_diverged,
    check_non_finite_state,
    check_dropout_too_high,
    check_pretrained_weights_not_loaded,
]
