"""Checks of the gradient: the propagated loss reaches the model's parameters, and every step happens."""

from typing import List, Optional

from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import Action, Finding

CAUSES = [
    "everything-frozen",
    "no-gradient-in-model",
    "loss-detached",
    "output-detached",
    "backward-skipped",
    "accumulation-never-steps",
    "step-skipped",
    "gradients-never-zeroed",
    "parameters-hidden",
    "gradient-vanishes",
]
EXPLAINED_BY = {
    "no-gradient-in-model": ("everything-frozen",),
    "output-detached": ("everything-frozen", "no-gradient-in-model", "loss-detached"),
    # A loop that is not fastai's own may propagate and step without an event.
    "backward-skipped": ("patch-left-active",),
    "step-skipped": (
        "backward-skipped",
        "accumulation-never-steps",
        "everything-frozen",
        "patch-left-active",
        "loss-scale-overflows",
    ),
    "gradient-vanishes": (
        "everything-frozen",
        "loss-detached",
        "output-detached",
        "weights-diverged",
        "non-finite-weights",
        "clipped-to-nothing",
        "loss-scale-collapsed",
        "loss-scale-overflows",
        "input-ignored",
        "patch-left-active",
        "weights-all-zero",
    ),
    "gradients-never-zeroed": ("accumulation-never-steps", "step-skipped"),
}
_CONSEQUENCE = "Steps go on, weight decay even moves the weights, and the metrics stay where they are."


def check_everything_frozen(evidence: Evidence) -> Optional[Finding]:
    graph = evidence.graph
    if graph is None or graph.trainable > 0 or graph.registered == 0:
        return None
    return Finding(
        "everything-frozen",
        "error",
        f"None of the model's {graph.registered} parameters requires a gradient: nothing can be learned.",
        {"parameters": graph.registered, "trainable": 0},
        action=Action("unfreeze"),
    )


def check_checkpoints_without_gradient(evidence: Evidence) -> Optional[Finding]:
    graph = evidence.graph
    if graph is None or not graph.behind_checkpoints:
        return None
    return Finding(
        "no-gradient-in-model",
        "error",
        "Layers run in torch's reentrant checkpoint, which gives no gradient where none of its inputs requires one; "
        "what comes before them is frozen: the trainable weights inside stay as they are.",
        {"trainable": graph.trainable, "reached": graph.reached},
        "checkpoint(..., use_reentrant=False)  # or let the embeddings' output require a gradient: "
        "embeddings.register_forward_hook(lambda module, inputs, output: output.requires_grad_())",
    )


def check_no_gradient_in_model(evidence: Evidence) -> Optional[Finding]:
    graph = evidence.graph
    if graph is None or graph.trainable == 0 or graph.output_has_graph or graph.opaque:
        return None
    return Finding(
        "no-gradient-in-model",
        "error",
        f"The output has no graph at all although {graph.trainable} parameters are trainable: the model ran "
        f"under no_grad, or its output was copied. {_CONSEQUENCE}",
        {"trainable": graph.trainable, "reached": 0},
        "Take torch.no_grad(), .detach(), .data, .numpy() out of forward and of the callbacks before the loss",
    )


def check_body_without_gradient(evidence: Evidence) -> Optional[Finding]:
    step, graph = evidence.stepping, evidence.graph
    if step is None or graph is None or graph.opaque or graph.reached == 0 or not step.executed_elements:
        return None
    # Unused parameters do not run; of those that run, a loss leaves out only small ones (a pooler, an auxiliary head).
    share = step.executed_unreached / step.executed_elements
    if share < 0.3:
        return None
    return Finding(
        "no-gradient-in-model",
        "error",
        f"{share:.0%} of the trainable weights that took part in forward "
        f"({', '.join(step.executed_unreached_names[:2])}, ...) are not reached by the loss: part of the "
        f"model ran under no_grad, or its output was detached. Only the rest learns.",
        {"trainable weights that ran": step.executed_elements, "not reached": step.executed_unreached},
        "Take torch.no_grad() and .detach() out of forward; to freeze on purpose: learn.freeze()",
    )


def check_output_detached(evidence: Evidence) -> Optional[Finding]:
    graph = evidence.graph
    if graph is None or graph.trainable == 0 or graph.opaque or not graph.output_has_graph:
        return None
    if graph.reached_by_output > 0 or graph.hidden > 0:
        return None
    return Finding(
        "output-detached",
        "error",
        f"The output requires a gradient, but its graph ends at {graph.foreign} tensor(s) that are no "
        f"parameters, before the model's {graph.trainable} trainable ones: it was detached and made to "
        f"require a gradient again, or rebuilt from its values. {_CONSEQUENCE}",
        {"trainable": graph.trainable, "reached": 0, "leaves that are no parameters": graph.foreign},
        "Hand on the model's own tensor: no .detach(), .data, torch.tensor(...) or requires_grad_() on it",
    )


def check_loss_detached(evidence: Evidence) -> Optional[Finding]:
    graph = evidence.graph
    if graph is None or graph.opaque or graph.reached_by_output == 0 or graph.reached > 0:
        return None
    return Finding(
        "loss-detached",
        "error",
        f"The output reaches {graph.reached_by_output} parameters and the loss handed to backward() none: "
        f"the loss function, or a callback, detached or replaced it. {_CONSEQUENCE}",
        {"reached by the output": graph.reached_by_output, "reached by the loss": 0},
        action=Action("keep-loss-graph"),
    )


def check_loss_scaled_to_zero(evidence: Evidence) -> Optional[Finding]:
    step = evidence.stepping
    if step is None or step.loss_factor != 0:  # a loss scale may be arbitrarily small
        return None
    return Finding(
        "loss-detached",
        "error",
        f"The loss that is propagated is {step.loss_factor:.3g} times the one that loss_func gave: a "
        f"callback takes it away.",
        {"propagated / given": step.loss_factor},
        action=Action("keep-loss"),
    )


def check_gradient_vanishes(evidence: Evidence) -> Optional[Finding]:
    step, graph = evidence.stepping, evidence.graph
    if step is None or graph is None or step.gradient_share is None or graph.reached < 8 or graph.opaque:
        return None
    if step.gradient_share > 0.3 or step.skipped_backwards:
        return None
    return Finding(
        "gradient-vanishes",
        "warning",
        f"The loss reaches {graph.reached} parameters and gives {1 - step.gradient_share:.0%} of them a "
        f"gradient of nothing but zeros, in every step: something between them and the loss is saturated, "
        f"clamped, multiplied by zero, or dropped out altogether.",
        {"reached": graph.reached, "share with a gradient": step.gradient_share},
        "Look for dropout p=1, relu or clamp on the logits, and layers of zeros",
    )


def check_parameters_hidden(evidence: Evidence) -> Optional[Finding]:
    graph = evidence.graph
    if graph is None or graph.hidden == 0:
        return None
    return Finding(
        "parameters-hidden",
        "error",
        f"The loss reaches {graph.hidden} parameters that are not among model.parameters(): modules in a "
        f"plain list or dict are invisible to the optimizer, to .to(device) and to checkpoints.",
        {"hidden": graph.hidden, "registered": graph.registered},
        "self.layers = nn.ModuleList(layers)  # ModuleDict for a dict",
    )


def check_backward_skipped(evidence: Evidence) -> Optional[Finding]:
    step = evidence.stepping
    ends = evidence.wiring.ends_training if evidence.wiring is not None else []
    if ends:
        return Finding(
            "backward-skipped",
            "error",
            f"The first epoch is ended before its first step{_format_callbacks(ends)}: nothing is propagated in it.",
            {"steps before the end": 0, "skipped_by": ends},
            action=_build_action(ends),
        )
    if step is None or step.steps < 1 or step.skipped_backwards < step.steps:
        return None
    return Finding(
        "backward-skipped",
        "error",
        f"backward() was skipped in {step.skipped_backwards} of {step.steps} steps: a callback asks for "
        f"that{_format_callbacks(step.skipped_by)}.",
        {"skipped": step.skipped_backwards, "steps": step.steps, "skipped_by": step.skipped_by},
        action=_build_action(step.skipped_by, "skip-backward-rarely"),
    )


def check_step_skipped(evidence: Evidence) -> Optional[Finding]:
    step = evidence.stepping
    if step is None or step.steps < 1 or step.skipped_steps < step.steps or step.skipped_backwards == step.steps:
        return None
    if step.steps_simulated is None or step.steps_simulated > 0:
        return None
    kept = step.skipped_zero_grads >= step.steps
    action = _build_action(step.skipped_by, "skip-steps-rarely")
    if kept:
        return Finding(
            "accumulation-never-steps",
            "error",
            f"Gradients are accumulated{_format_callbacks(step.skipped_by)} and no step is made in an epoch of "
            f"{step.steps_in_an_epoch} batches.",
            {"batches in an epoch": step.steps_in_an_epoch, "steps in an epoch": 0, "skipped_by": step.skipped_by},
            action=action,
        )
    return Finding(
        "step-skipped",
        "error",
        f"opt.step() is skipped in every batch of an epoch: a callback asks for "
        f"that{_format_callbacks(step.skipped_by)}.",
        {"batches in an epoch": step.steps_in_an_epoch, "steps in an epoch": 0, "skipped_by": step.skipped_by},
        action=action,
    )


def check_gradients_never_zeroed(evidence: Evidence) -> Optional[Finding]:
    step = evidence.stepping
    if step is None or step.steps < 3 or step.skipped_zero_grads < step.steps or step.skipped_steps > 0:
        return None
    return Finding(
        "gradients-never-zeroed",
        "warning",
        f"A step is made and the gradients are kept in all {step.steps} steps: a callback asks for "
        f"that{_format_callbacks(step.skipped_by)}, so every step repeats all gradients since the first.",
        {"kept": step.skipped_zero_grads, "steps": step.steps, "skipped_by": step.skipped_by},
        action=_build_action(step.skipped_by, "zero-gradients"),
    )


def _format_callbacks(skipped_by: List[str]) -> str:
    return f" ({', '.join(skipped_by)})" if skipped_by else ""


def _build_action(skipped_by: List[str], otherwise: str = "") -> Action:
    return Action("remove-callbacks", {"names": list(skipped_by)}) if skipped_by else Action(otherwise)


CHECKS = [
    check_everything_frozen,
    check_checkpoints_without_gradient,
    check_no_gradient_in_model,
    check_body_without_gradient,
    check_output_detached,
    check_loss_detached,
    check_loss_scaled_to_zero,
    check_gradient_vanishes,
    check_parameters_hidden,
    check_backward_skipped,
    check_step_skipped,
    check_gradients_never_zeroed,
]
