"""Checks of the step size: a step changes the weights by a sensible amount, and the loss falls.

The source of each limit is written next to it; they were set on the seeded faults and the healthy runs of
``tests/faults/`` before the seed of the controls was drawn.
"""

import math
from typing import Any, Dict, Optional

from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import Action, Finding
from fastai_hf_callback.results.fit_record import History

from . import optimizer
from .weights import MOVED_AT_ALL, is_rate_high

CAUSES = [
    "learning-rate-zero",
    "learning-rate-too-high",
    "learning-rate-too-small",
    "weight-decay-dominates",
    "clipped-to-nothing",
    "head-frozen",
    "epsilon-outweighs-gradients",
    "nothing-learned-yet",
    "weights-do-not-move",
]
_NO_STEP_CAUSES = (
    "everything-frozen",
    "no-gradient-in-model",
    "output-detached",
    "loss-detached",
    "backward-skipped",
    "step-skipped",
    "accumulation-never-steps",
    "non-finite-weights",
    "loss-scale-overflows",
    "loss-scale-collapsed",
    "parameters-hidden",
)
_RUINS = ("non-finite-weights", "weights-diverged", "loss-summed-over-rows", "weights-all-zero")
EXPLAINED_BY = {
    "learning-rate-too-small": _NO_STEP_CAUSES
    + (
        "clipped-to-nothing",
        "weights-changed-between-steps",
        "parameters-not-in-optimizer",
        "learning-rate-zero",
        "optimizer-holds-another-model",
        "half-weights-without-master",
        "epsilon-outweighs-gradients",
        "warm-up-never-ends",
    )
    + _RUINS,
    "learning-rate-too-high": ("loss-summed-over-rows", "gradients-replaced"),
    "learning-rate-zero": _NO_STEP_CAUSES + ("optimizer-holds-another-model",),
    "clipped-to-nothing": _NO_STEP_CAUSES + _RUINS,
    "nothing-learned-yet": ("warm-up-never-ends", "embeddings-frozen")
    + _NO_STEP_CAUSES
    + _RUINS
    + tuple(CAUSES[:3]),  # of the rate
    "epsilon-outweighs-gradients": _NO_STEP_CAUSES
    + (
        "clipped-to-nothing",
        "parameters-not-in-optimizer",
        "optimizer-holds-another-model",
        "untrained-body-frozen",
        "split-leaves-modules-out",
        "head-of-no-use",
    )
    + _RUINS,
    "weight-decay-dominates": _NO_STEP_CAUSES
    + _RUINS
    + ("clipped-to-nothing", "learning-rate-zero", "optimizer-holds-another-model", "learning-rate-too-high"),
    "head-frozen": ("everything-frozen", "head-of-no-use"),
    "weights-do-not-move": _NO_STEP_CAUSES
    + tuple(optimizer.CAUSES + CAUSES[:-1])
    + ("half-weights-without-master", "attention-mask-wrong", "non-finite-outputs", "weights-diverged"),
}

# A step of the gradient that changes the weights by less than this share is lost: fp32 keeps 6e-8 of a weight, and
# sensible fine-tuning lies between 1e-4 and 1e-2 (2e-5 over weights of .02 to .05), at 4e-7 where it has converged.
SMALLEST_UPDATE = 1e-7
# After tens of steps, these are fits that have hardly begun: Adam's at 1e-6, SGD's at the rates of Adam.
SMALLEST_MOVE, SMALLEST_SGD_MOVE = 1e-3, 1e-2
USUAL_UPDATE = 1e-3
# Where nothing moves at all at a rate above this, the rate is not the reason.
MIN_SUSPECT_LR = 1e-8
# A step of half the weights' size may be a narrow model from scratch at 1e-2 (weights of .02) that learns; a step of
# five times their size destroys any model. Between the two the losses decide.
LARGEST_UPDATE, REPLACING_UPDATE = 0.5, 5.0
# Decay dominates where it exceeds a tenth of the gradient's part and is at least 5e-4 of the weights a step
# (half of them in 1,400); fastai's default of .01 at 3e-3 is 3e-5.
DECAY_SHARE, DECAY_PER_STEP = 0.1, 5e-4
# Where no fit has set a rate yet, weight decay is judged at this one.
USUAL_LR = 1e-3
USUAL_WEIGHT_DECAY = 0.01  # fastai's own default
# Adam divides by the gradient's size plus 1e-8: below that, clipping scales its steps down too.
CLIPPED_NORM, CLIPPED_RATIO = 1e-5, 1e-3
# Adam divides a gradient by its size plus epsilon. Healthy tiny models on fastai 2, whose epsilon is 1e-5, keep from
# .70 to 1 of their steps; the demo's, which learns with 1e-8 and does not with 1e-5, .08 to .19. A tiny
# translation model that learns kept .23 in its first eight steps.
NOTE_DAMPING, WARNING_DAMPING, ERROR_DAMPING = 0.3, 0.1, 0.01
USUAL_EPSILON = 1e-8  # torch's and fastai 1's
# Gradients vanish where a model has learned, too: it has not where its loss is this share of a constant predictor's.
UNLEARNED_LOSS_SHARE = 0.5
# After so many steps that did not bring the loss below this share of a constant predictor's, it is worth a note; it is
# not a fault, since healthy runs stay there for epochs.
MIN_STEPS_TO_LEARN, MIN_EPOCHS_TO_LEARN, CONSTANT_LOSS_SHARE = 20, 3, 0.98
# Below it, and validating as a constant predictor, the model knows its rows by heart: validation-worse-than-constant.
LEARNED_LOSS_SHARE = 0.8
# A pretrained model that has learned something has been changed by hundredths; healthy tiny ones whose loss has not
# fallen after 32 steps at 1e-4, by 1.6 of them. Above nine tenths of a constant predictor's a loss has hardly fallen.
SMALLEST_CHANGE_OF_A_FIT, NEAR_CONSTANT_LOSS_SHARE = 0.004, 0.9
# One cycle spends a few hundredths of its steps near zero.
MAX_NEAR_ZERO_LR_SHARE = 0.6


def check_head_frozen(evidence: Evidence) -> Optional[Finding]:
    graph = evidence.graph
    if graph is None or graph.head_trainable is not False or graph.trainable == 0:
        return None
    return Finding(
        "head-frozen",
        "warning",
        f"The last layer before the logits is frozen while {graph.trainable} other parameters train.",
        {"trainable": graph.trainable, "parameters": graph.registered},
        # The head alone: what else is frozen may be so on purpose.
        action=Action("unfreeze-module", {"module": graph.head_name}) if graph.head_name else Action("unfreeze"),
    )


def check_learning_rate_zero(evidence: Evidence) -> Optional[Finding]:
    hyper, step = evidence.hyper, evidence.stepping
    at_steps = step is not None and step.lr_in_force == 0
    if hyper is None or hyper.lr != 0 and not at_steps:
        return None
    return Finding(
        "learning-rate-zero",
        "error",
        f"The learning rate in force was 0 ({'set by a callback' if hyper.lr != 0 else hyper.source}).",
        {"lr": 0.0},
        **_suggest_rate(evidence),
    )


def check_learning_rate_too_small(evidence: Evidence) -> Optional[Finding]:
    hyper, step = evidence.hyper, evidence.stepping
    if hyper is not None and hyper.lr and hyper.near_zero_lr_share >= MAX_NEAR_ZERO_LR_SHARE:
        return Finding(
            "learning-rate-too-small",
            "warning",
            f"In {hyper.near_zero_lr_share:.0%} of the steps the learning rate was less than a "
            f"ten-thousandth of the highest ({hyper.lr:.3g}): a schedule lets it fall to nothing too soon.",
            {"steps without rate": hyper.near_zero_lr_share, "highest lr": hyper.lr},
            action=Action("plot-learning-rates", note="and count the schedule in steps, not in epochs"),
        )
    if hyper is None or step is None or step.update is None:
        return None
    if step.update >= SMALLEST_UPDATE:
        # With discriminative rates most of the body is to stay what it is.
        judged = hyper.lowest_group_share == 1
        return (_find_unmoved_weights(evidence) or _all_steps_too_small(evidence, step.update)) if judged else None
    if not hyper.lr or step.lr_in_force == 0 or _has_converged(evidence):
        return None
    if step.update == 0 and (step.lr_in_force or hyper.lr) > MIN_SUSPECT_LR:
        return None
    if step.skipped_steps >= step.steps or not step.in_optimizer:
        return None
    return Finding(
        "learning-rate-too-small",
        "error",
        f"At a learning rate of {hyper.lr:.3g} ({hyper.source}) a step changes the weights by "
        f"{step.update:.2g} of their size; float32 keeps no more than 6e-8. Nothing will be seen to move.",
        {"lr": hyper.lr, "update / weights": step.update},
        **_suggest_rate(evidence),
    )


def _all_steps_too_small(evidence: Evidence, update: float) -> Optional[Finding]:
    """Find a fit whose steps together hardly change weights, at a loss that is still a constant predictor's."""
    hyper, history = evidence.hyper, evidence.history
    steps = 0 if history is None else len(history.losses)
    if hyper is None or not hyper.lr or steps < MIN_STEPS_TO_LEARN or steps * update > SMALLEST_CHANGE_OF_A_FIT:
        return None
    if not _is_near_constant(evidence, NEAR_CONSTANT_LOSS_SHARE):
        return None
    return Finding(
        "learning-rate-too-small",
        "note",  # healthy short fits are no different
        f"At a learning rate of up to {hyper.lr:.3g} ({hyper.source}) a step changes the weights by {update:.2g} of "
        f"their size, the fit's {steps} steps together by no more than {steps * update:.2g}, and the loss is still "
        f"near a constant predictor's: too small a rate, or too few steps.",
        {"lr": hyper.lr, "update / weights": update, "steps": steps},
        "learn.lr_find()  # and a fit at the rate that it suggests; or for more epochs",
    )


def _is_near_constant(evidence: Evidence, share: float) -> bool:
    """Return whether the fit's last losses lie above this share of a constant predictor's, as far as that is known."""
    late, constant = None if evidence.history is None else evidence.history.late, evidence.constant_loss
    return constant is not None and late is not None and late > share * constant


def _find_unmoved_weights(evidence: Evidence) -> Optional[Finding]:
    """Find a fit of many steps that learned nothing and has hardly moved the weights."""
    hyper, weights, history = evidence.hyper, evidence.weights, evidence.history
    if hyper is None or not hyper.lr or weights is None or weights.distance is None or history is None:
        return None
    limit = SMALLEST_SGD_MOVE if hyper.scales_with_gradient else SMALLEST_MOVE
    if weights.distance >= limit or len(history.losses) < MIN_STEPS_TO_LEARN or _is_below_constant(evidence):
        return None
    if evidence.stepping is not None and evidence.stepping.skipped_steps:
        return None
    kind = ", whose steps grow with the gradient as plain SGD's do," if hyper.scales_with_gradient else ""
    return Finding(
        "learning-rate-too-small",
        "warning" if hyper.scales_with_gradient else "note",
        f"At a learning rate of {hyper.lr:.3g} ({hyper.source}) this optimizer{kind} has moved the weights by "
        f"{weights.distance:.2g} of their size since the first fit began; the last one had {len(history.losses)} "
        f"steps, and the loss is where it was.",
        {"lr": hyper.lr, "moved / size": weights.distance, "steps": len(history.losses)},
        **_suggest_rate(evidence),
    )


def _is_below_constant(evidence: Evidence) -> bool:
    """Return whether the loss fell, or is below a constant predictor's; True where that is not known."""
    history, constant = evidence.history, evidence.constant_loss
    if history is None or constant is None:
        return True
    return history.falling and history.late < 0.98 * history.early or history.late < CONSTANT_LOSS_SHARE * constant


def _suggest_rate(evidence: Evidence) -> Dict[str, Any]:
    """Return the fix of a rate, as arguments of a finding: 3e-5 suits Adam's kind alone."""
    hyper, step = evidence.hyper, evidence.stepping
    if hyper is None or not hyper.scales_with_gradient:
        return {"fix": "learn.fit_one_cycle(1, 3e-5)  # or what learn.lr_find() suggests"}
    note = "Adam's steps do not shrink with the gradient"
    if hyper.lr and step is not None and step.update and step.update < USUAL_UPDATE:
        note += f"; or stay with this optimizer, at {hyper.lr * USUAL_UPDATE / step.update:.1g}"
    return {"action": Action("use-adam", note=note)}


def _has_converged(evidence: Evidence) -> bool:
    loss = evidence.loss
    if loss is None or loss.first is None or not loss.constant:
        return False
    return loss.first < 0.1 * abs(loss.constant)


def check_learning_rate_too_high(evidence: Evidence) -> Optional[Finding]:
    hyper, step = evidence.hyper, evidence.stepping
    if hyper is None or not hyper.lr or step is None or step.update is None:
        return None
    rising = evidence.history if evidence.history is not None and evidence.history.rising else None
    replaced = (step.largest_update or 0.0) >= REPLACING_UPDATE
    if not replaced and not (rising and step.update >= LARGEST_UPDATE):
        return None
    losses = f" and losses rose from {rising.early:.3g} to {rising.late:.3g}" if rising else ""
    return Finding(
        "learning-rate-too-high",
        "error",
        f"At a learning rate of {hyper.lr:.3g} ({hyper.source}) one step changes the weights by "
        f"{max(step.update, step.largest_update or 0.0):.2g} of their size{losses}: it replaces what the "
        f"model has learned.",
        {
            "lr": hyper.lr,
            "update / weights": step.update,
            "largest": step.largest_update,
            **({"losses": [rising.early, rising.late]} if rising else {}),
        },
        f"learn.fit_one_cycle(1, {hyper.lr / 100 if hyper.scales_with_gradient else 3e-5:.1g})  # on a freshly loaded "
        f"model: this one's weights are lost",
    )


def check_weight_decay_dominates(evidence: Evidence) -> Optional[Finding]:
    hyper, step = evidence.hyper, evidence.stepping
    if hyper is None or step is None or step.decay_over_gradient is None or not hyper.wd:
        return None
    lr = USUAL_LR if hyper.lr is None else hyper.lr
    if step.decay_over_gradient < DECAY_SHARE or hyper.wd * lr < DECAY_PER_STEP:
        return None
    figures = {"lr * wd": hyper.wd * lr, "decay / gradient": step.decay_over_gradient, "wd": hyper.wd}
    message = (
        f"Weight decay (wd={hyper.wd:g}) takes {hyper.wd * lr:.2%} of every weight each step, "
        f"{step.decay_over_gradient:.2g} times what the gradient adds: it forgets faster than it learns."
    )
    if hyper.wd <= USUAL_WEIGHT_DECAY and not hyper.scales_with_gradient:  # a usual decay, which the rate multiplies
        fix = "learn.fit_one_cycle(1, 3e-5)  # on a model loaded again"
        found = f"At a learning rate of {lr:.3g} ({hyper.source}) even a usual weight decay is too much. {message}"
        return Finding("learning-rate-too-high", "error", found, {"lr": lr, **figures}, fix)
    wd = USUAL_WEIGHT_DECAY if min(hyper.wd, DECAY_PER_STEP / lr) > USUAL_WEIGHT_DECAY else 0.1 * DECAY_PER_STEP / lr
    note = "and no other wd in the call of fit"
    action = Action("set-weight-decay", {"wd": float(f"{wd:.1g}")}, note)
    return Finding("weight-decay-dominates", "error", message, figures, action=action)


def check_clipped_to_nothing(evidence: Evidence) -> Optional[Finding]:
    step = evidence.stepping
    # Overflowed steps of half precision have no norm, and their ratio is the loss scale's.
    norms = [] if step is None else [norm for norm in step.gradient_norms if math.isfinite(norm)]
    if step is None or not norms or max(norms) > CLIPPED_NORM:
        return None
    if step.clip_ratio is None or step.clip_ratio > CLIPPED_RATIO or step.skipped_steps >= step.steps:
        return None
    return Finding(
        "clipped-to-nothing",
        "error",
        f"The gradient's norm is {max(norms):.2g} at the step, {step.clip_ratio:.2g} of what "
        f"backward gave: clipping leaves nothing of it.",
        {"norm at the step": max(norms), "at the step / after backward": step.clip_ratio},
        action=Action("relax-clipping"),
    )


def check_epsilon_outweighs_gradients(evidence: Evidence) -> Optional[Finding]:
    step = evidence.stepping
    if step is None or step.epsilon is None or step.epsilon_damping is None or step.skipped_steps >= step.steps:
        return None
    damping = step.epsilon_damping
    if damping >= NOTE_DAMPING or _has_learned(evidence):
        return None
    size = step.epsilon * damping / (1 - damping)
    if size < USUAL_EPSILON:  # gradients that have vanished next to any epsilon, as in a model that a high rate ruined
        return None
    # Above a tenth it is worth only a note until a fit has shown that the model does not learn with it at all.
    steps = 0 if evidence.history is None or not evidence.fit_has_ended else len(evidence.history.losses)
    tried = steps >= MIN_STEPS_TO_LEARN and _is_near_constant(evidence, CONSTANT_LOSS_SHARE)
    severity = "error" if damping < ERROR_DAMPING else "warning" if damping < WARNING_DAMPING or tried else "note"
    return Finding(
        "epsilon-outweighs-gradients",
        severity,
        f"The optimizer adds eps={step.epsilon:g} to the gradients' size, which is {size:.2g} in the median "
        f"matrix: a step is {damping:.2g} of what the learning rate says, and the loss is still near a "
        f"constant predictor's.",
        {"eps": step.epsilon, "gradient": size, "step kept": damping},
        action=Action("reset-epsilon", note="best with a model that is loaded again"),
    )


def _has_learned(evidence: Evidence) -> bool:
    """Return whether the loss is well below a constant predictor's; True where that is not known."""
    loss, history, of_all = evidence.loss, evidence.history, evidence.constant_loss
    if loss is None or loss.first is None or not loss.constant:
        return True
    late = history.late if history is not None and history.losses else math.inf
    # A few rows may have one target, which costs a constant nothing: a fit's losses are held against all targets.
    return loss.first < UNLEARNED_LOSS_SHARE * abs(loss.constant) or late < UNLEARNED_LOSS_SHARE * (
        of_all or abs(loss.constant)
    )


def check_nothing_learned_yet(evidence: Evidence) -> Optional[Finding]:
    history, hyper, constant = evidence.history, evidence.hyper, evidence.constant_loss
    if history is None or constant is None or not _has_had_time(evidence, len(history.losses)):
        return None
    if evidence.stepping is not None and abs((evidence.stepping.loss_factor or 1) - 1) > 0.05:
        return None
    carries_over = not _validates_as_constant(history, constant)
    if history.falling and carries_over or history.late < LEARNED_LOSS_SHARE * constant:
        return None
    if history.late < CONSTANT_LOSS_SHARE * constant and carries_over:
        return None
    lr = None if hyper is None else hyper.lr
    forgotten = _has_forgotten(evidence)
    rate = f" At a learning rate of {lr:.3g} a pretrained model forgets what it knew." if forgotten else ""
    return Finding(
        "nothing-learned-yet",
        "note",
        f"In {len(history.losses)} steps the training loss went from {history.early:.3g} to "
        f"{history.late:.3g}, and a predictor that never reads the text pays {constant:.3g}: nothing "
        f"was learned of the texts.{rate}",
        {"steps": len(history.losses), "loss": history.late, "constant predictor": constant, "lr": lr},
        "learn.fit_one_cycle(2, 5e-5)  # on a model loaded again: this one's weights are lost"
        if forgotten
        else "Train longer, or at the rate that learn.lr_find() suggests",
    )


def _validates_as_constant(history: History, constant: float) -> bool:
    """Return whether several epochs validated as a constant does, and no better: a loss falls to that by itself."""
    values = history.metrics.get("valid_loss", [])
    return len(values) >= MIN_EPOCHS_TO_LEARN and min(values) >= CONSTANT_LOSS_SHARE * max(constant, values[0])


def _has_forgotten(evidence: Evidence) -> bool:
    """Return whether the rate was high enough for a pretrained body to be lost, and has moved it."""
    weights = evidence.weights
    if weights is None or weights.body_at_init is not False or not is_rate_high(evidence):
        return False
    return weights.distance is None or weights.distance >= MOVED_AT_ALL


def _has_had_time(evidence: Evidence, steps: int) -> bool:
    """Return whether a fit was long enough, or has brought all rows to one output: no model begins like that."""
    out = evidence.outputs
    return steps >= MIN_STEPS_TO_LEARN or out is not None and out.uniform and out.spread > 0


def check_weights_do_not_move(evidence: Evidence) -> Optional[Finding]:
    """Check, after all others, whether gradients arrive and no parameter moves, for an unknown reason."""
    step = evidence.stepping
    if step is None or step.steps < 2 or not step.with_gradient or step.moved > 0 or step.skipped_steps > 0:
        return None
    return Finding(
        "weights-do-not-move",
        "error",
        f"{step.with_gradient} parameters got gradients in {step.steps} steps and none of them moved by "
        f"more than weight decay and rounding.",
        {"with gradient": step.with_gradient, "moved": 0, "steps": step.steps},
        action=Action("renew-optimizer", note="and see that opt.step() is what runs"),
    )


CHECKS = [
    check_head_frozen,
    check_learning_rate_zero,
    check_learning_rate_too_small,
    check_learning_rate_too_high,
    check_weight_decay_dominates,
    check_clipped_to_nothing,
    check_epsilon_outweighs_gradients,
    check_nothing_learned_yet,
    check_weights_do_not_move,
]
