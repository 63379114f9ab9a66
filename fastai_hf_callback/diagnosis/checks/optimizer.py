"""Checks of the optimizer: it holds what the loss reaches, and nothing else changes the weights."""

from typing import List, Optional

from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import Action, Finding

CAUSES = [
    "warm-up-never-ends",
    "gradients-replaced",
    "weights-changed-between-steps",
    "optimizer-holds-another-model",
    "split-leaves-modules-out",
    "parameters-not-in-optimizer",
    "untrained-body-frozen",
    "embeddings-frozen",
    "freeze-without-groups",
]
# Noise of a private fit is of the gradient's order where it learns; at tens of times it, nothing is left of it.
REPLACED_RATIO = 30.0
# After so many steps a loss above this share of a constant predictor's shows that nothing was learned.
MIN_STEPS, UNLEARNED_SHARE = 20, 0.98

EXPLAINED_BY = {
    "parameters-not-in-optimizer": ("optimizer-holds-another-model", "split-leaves-modules-out"),
    "split-leaves-modules-out": ("optimizer-holds-another-model",),
    "untrained-body-frozen": ("everything-frozen",),
}


def check_optimizer_holds_another_model(evidence: Evidence) -> Optional[Finding]:
    step = evidence.stepping
    if step is None or not step.trainable or step.in_optimizer or step.in_layer_groups or not step.in_optimizer_only:
        return None
    return Finding(
        "optimizer-holds-another-model",
        "error",
        f"The optimizer holds {step.in_optimizer_only} parameters, none of them among learn.model's "
        f"{step.trainable} trainable ones: the model was exchanged after the Learner was built, and the "
        f"optimizer still steps the old one.",
        {"in the optimizer": step.in_optimizer_only, "of learn.model": 0, "trainable": step.trainable},
        action=Action("one-group", note="or build a new Learner"),
    )


def check_split_leaves_modules_out(evidence: Evidence) -> Optional[Finding]:
    step = evidence.stepping
    if step is None or not step.in_layer_groups or step.in_layer_groups >= step.trainable:
        return None
    missing = step.trainable - step.in_layer_groups
    if step.in_optimizer_only:
        return Finding(
            "parameters-not-in-optimizer",
            "error" if _most_are_missing(evidence) else "warning",
            f"{missing} of {step.trainable} trainable parameters ({_join_names(step.not_in_optimizer_names)}) "
            f"are neither in the parameter groups nor in the optimizer, which holds {step.in_optimizer_only} that "
            f"the model no longer has: a module was exchanged after the Learner was built.",
            {
                "in parameter groups": step.in_layer_groups,
                "trainable": step.trainable,
                "no longer in the model": step.in_optimizer_only,
            },
            action=Action("one-group-and-optimizer"),
        )
    return Finding(
        "split-leaves-modules-out",
        "error" if _most_are_missing(evidence) else "warning",
        f"The parameter groups hold {step.in_layer_groups} of {step.trainable} trainable parameters; the other "
        f"{missing} ({_join_names(step.not_in_optimizer_names)}) are never stepped: the split left them "
        f"out.",
        {"in parameter groups": step.in_layer_groups, "trainable": step.trainable},
        action=Action("split-with-everything"),
    )


def check_parameters_not_in_optimizer(evidence: Evidence) -> Optional[Finding]:
    step = evidence.stepping
    if step is None or not step.in_layer_groups or step.in_layer_groups < step.trainable:
        return None
    if step.in_optimizer >= step.trainable:
        return None
    missing = step.trainable - step.in_optimizer
    return Finding(
        "parameters-not-in-optimizer",
        "error" if _most_are_missing(evidence) else "warning",
        f"{missing} of {step.trainable} trainable parameters ({_join_names(step.not_in_optimizer_names)}) are "
        f"in the parameter groups and not in the optimizer: it was made while they were frozen, and setting "
        f"requires_grad by hand does not add them.",
        {"in the optimizer": step.in_optimizer, "trainable": step.trainable},
        action=Action("add-to-optimizer"),
    )


def _most_are_missing(evidence: Evidence) -> bool:
    step = evidence.stepping
    return step is not None and step.in_optimizer < step.trainable / 2


def check_untrained_body_frozen(evidence: Evidence) -> Optional[Finding]:
    weights, graph = evidence.weights, evidence.graph
    if weights is None or graph is None or not weights.body_at_init or weights.body_trainable:
        return None
    if graph.trainable == 0:
        return None
    return Finding(
        "untrained-body-frozen",
        "error",
        f"The body is frozen and has never been trained (every layer norm is at its initial value): "
        f"{graph.trainable} of {graph.registered} parameters learn on top of noise.",
        {"trainable": graph.trainable, "parameters": graph.registered},
        action=Action("unfreeze", note="or load pretrained weights: Model.from_pretrained(...)"),
    )


def check_freeze_without_groups(evidence: Evidence) -> Optional[Finding]:
    weights = evidence.weights
    if weights is None or not weights.frozen_in_vain:
        return None
    return Finding(
        "freeze-without-groups",
        "note",
        f"The optimizer has one parameter group, whose {weights.frozen_in_vain} parameters are all trained: "
        f"learn.freeze() froze nothing, since it freezes all groups but the last.",
        {"parameter groups": 1, "trained": weights.frozen_in_vain},
        action=Action("split-by-depth"),
    )


def has_learned_nothing(evidence: Evidence) -> bool:
    """Return whether a fit of some length has left both losses where a constant predictor's is."""
    history, constant = evidence.history, None if evidence.loss is None else evidence.loss.constant_all_targets
    if history is None or not constant or constant < 0 or len(history.losses) < MIN_STEPS:
        return False
    return min([history.late, *history.metrics.get("valid_loss", [])]) > UNLEARNED_SHARE * constant


def _join_names(names: List[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def check_weights_changed_between_steps(evidence: Evidence) -> Optional[Finding]:
    step = evidence.stepping
    # Of n consecutive steps, n - 1 can be compared; an average of the weights swaps them once.
    if step is None or step.changed_between_steps < 3:
        return None
    return Finding(
        "weights-changed-between-steps",
        "error",
        f"{step.changed_between_steps} times the weights at the beginning of a batch were not those at the end "
        f"of the one before: a callback or forward writes into the model, and what steps do is lost.",
        {"times": step.changed_between_steps, "steps": step.sampled_steps or step.steps},
        "Look for load_state_dict, copy_ and .data in callbacks and in forward",
    )


def check_gradients_replaced(evidence: Evidence) -> Optional[Finding]:
    step = evidence.stepping
    if step is None or step.least_clip_ratio is None or not step.gradient_turned:
        return None
    # Accumulated gradients are of one backward in the first of the batches, and normalized ones keep their direction.
    if step.least_clip_ratio < REPLACED_RATIO or step.steps < 2:
        return None
    return Finding(
        "gradients-replaced",
        "error",
        f"In every step the gradient is at least {step.least_clip_ratio:.3g} times as large as backward gave it, and "
        f"points elsewhere: a callback adds to it, and what it adds, noise or another gradient, decides the step.",
        {"at the step / after backward": step.least_clip_ratio, "steps": step.sampled_steps or step.steps},
        "Look for .grad in callbacks: noise is to be smaller than the gradient, and a bound near the gradient's norm",
    )


def check_warm_up_never_ends(evidence: Evidence) -> Optional[Finding]:
    hyper = evidence.hyper
    if hyper is None or hyper.lr is None or not hyper.rises_to_the_end or not has_learned_nothing(evidence):
        return None
    return Finding(
        "warm-up-never-ends",
        "warning",
        f"The learning rate rose to the fit's last step, to {hyper.lr:.3g}, and the losses are a constant predictor's: "
        f"the warm-up is longer than the fit.",
        {"highest lr": hyper.lr},
        action=Action("plot-learning-rates", note="and count the warm-up in steps of this fit: a tenth of them"),
    )


def check_embeddings_frozen(evidence: Evidence) -> Optional[Finding]:
    name = None if evidence.weights is None else evidence.weights.embedding_alone_frozen
    if name is None or not has_learned_nothing(evidence):
        return None
    return Finding(
        "embeddings-frozen",
        "warning",
        f"The embedding {name} alone is frozen while every other matrix trains, and the losses are a constant "
        f"predictor's: where its rows are no pretrained model's own, nothing can be told of them.",
        {"frozen": name},
        action=Action("unfreeze-module", {"module": name}, "nn.Embedding.from_pretrained freezes unless freeze=False"),
    )


CHECKS = [
    check_warm_up_never_ends,
    check_embeddings_frozen,
    check_gradients_replaced,
    check_weights_changed_between_steps,
    check_optimizer_holds_another_model,
    check_split_leaves_modules_out,
    check_parameters_not_in_optimizer,
    check_untrained_body_frozen,
    check_freeze_without_groups,
]
