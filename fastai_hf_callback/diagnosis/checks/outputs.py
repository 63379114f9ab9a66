"""Checks of the outputs: logits, in the form the loss expects, with a loss that falls towards the targets."""

from typing import Optional, Tuple

from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import Action, Finding

# Rounding changes a row by 1e-6 of the spread in float32, by 1e-2 at the worst in half precision.
MAX_BATCH_CHANGE = 0.05

CAUSES = [
    "non-finite-outputs",
    "non-finite-loss",
    "batch-dimension-lost",
    "output-is-the-loss",
    "loss-broadcasts",
    "hidden-state-as-logits",
    "head-of-no-use",
    "loss-ignores-targets",
    "loss-sign-flipped",
    "loss-misreads-classes",
    "loss-ignores-a-target",
    "depends-on-batch-mates",
    "softmax-before-cross-entropy",
    "sigmoid-before-logits-loss",
    "no-log-softmax-before-nll",
    "input-ignored",
    "cannot-fit-one-batch",
]
EXPLAINED_BY = {
    "non-finite-loss": (
        "non-finite-weights",
        "non-finite-outputs",
        "learning-rate-too-high",
        "weights-diverged",
        "loss-scale-overflows",
        "half-weights-without-master",
        "attention-mask-wrong",
    ),
    "non-finite-outputs": ("non-finite-weights", "attention-mask-wrong"),
    "loss-broadcasts": ("batch-dimension-lost", "output-is-the-loss"),
    "batch-dimension-lost": ("output-is-the-loss",),
    "loss-sign-flipped": ("loss-misreads-classes",),
    "loss-ignores-targets": ("output-is-the-loss", "batch-dimension-lost", "loss-detached"),
    "depends-on-batch-mates": (
        "batch-dimension-lost",
        "output-is-the-loss",
        "non-finite-weights",
        "weights-diverged",
        "non-finite-outputs",
    ),
    "input-ignored": (
        "non-finite-weights",
        "weights-all-zero",
        "weights-diverged",
        "output-is-the-loss",
        "inputs-in-wrong-arguments",
        "unknown-tokens",
        "non-finite-outputs",
        "batch-dimension-lost",
        "attention-mask-wrong",
        "padding-in-front",
    ),
    "loss-ignores-a-target": (
        "loss-ignores-targets",
        "output-is-the-loss",
        "batch-dimension-lost",
        "loss-broadcasts",
        "loss-sign-flipped",
    ),
    "no-log-softmax-before-nll": ("output-is-the-loss", "batch-dimension-lost", "hidden-state-as-logits"),
    "head-of-no-use": ("hidden-state-as-logits", "everything-frozen", "no-gradient-in-model", "output-detached"),
    "cannot-fit-one-batch": (
        "everything-frozen",
        "no-gradient-in-model",
        "output-detached",
        "loss-detached",
        "non-finite-weights",
        "weights-diverged",
        "parameters-hidden",
        "loss-broadcasts",
        "batch-dimension-lost",
        "output-is-the-loss",
        "unknown-tokens",
        "loss-sign-flipped",
        "loss-misreads-classes",
        "untrained-body-frozen",
        "softmax-before-cross-entropy",
        "sigmoid-before-logits-loss",
        "no-log-softmax-before-nll",
        "input-ignored",
        "half-weights-without-master",
        "labels-constant",
        "optimizer-holds-another-model",
        "non-finite-outputs",
    ),
}


def check_non_finite_outputs(evidence: Evidence) -> Optional[Finding]:
    out = evidence.outputs
    if out is None or out.finite:
        return None
    return Finding(
        "non-finite-outputs",
        "error",
        "The model's outputs hold NaN or infinity in eval mode.",
        {"rows": out.rows, "shape": list(out.shape)},
        "torch.autograd.set_detect_anomaly(True)  # then one learn.fit(1) names the operation",
    )


def check_non_finite_loss(evidence: Evidence) -> Optional[Finding]:
    step = evidence.stepping
    if step is None or step.non_finite_losses == 0:
        return None
    return Finding(
        "non-finite-loss",
        "error",
        f"The loss was NaN or infinite in {step.non_finite_losses} of {step.steps} steps; after the first "
        f"of them every weight is lost.",
        {"non-finite losses": step.non_finite_losses, "steps": step.steps},
        action=Action("clip-gradients"),
    )


def check_output_is_the_loss(evidence: Evidence) -> Optional[Finding]:
    out = evidence.outputs
    if out is None or len(out.shape) > 0 or evidence.loss is not None and evidence.loss.returns_output:
        return None
    return Finding(
        "output-is-the-loss",
        "error",
        f"What reaches loss_func is a single number for {out.rows} rows: the model got labels and put its "
        f"own loss first. The metric sees that number instead of predictions.",
        {"output": list(out.shape), "rows": out.rows},
        action=Action("build-with-callback", note="takes the logits; and leave labels out of the inputs"),
    )


def check_batch_dimension_lost(evidence: Evidence) -> Optional[Finding]:
    out = evidence.outputs
    if out is None or not out.shape or out.rows < 2 or not out.target_shape:
        return None
    rows = out.target_shape[0]
    # Flattened outputs have a multiple of the rows and targets that fit; one row of logits has neither.
    if out.shape[0] == rows or _numel(out.shape) >= rows and out.shape[0] % rows == 0:
        return None
    if len(out.shape) > 1 and out.shape[0] > rows:
        return None
    return Finding(
        "batch-dimension-lost",
        "error",
        f"The output is {tuple(out.shape)} for a batch of {rows} targets {tuple(out.target_shape)}: an "
        f"output that was a tensor already was unwrapped once more, so only the first row is left and the "
        f"loss broadcasts it.",
        {"output": list(out.shape), "target": list(out.target_shape)},
        action=Action("unwrap-once"),
    )


def check_loss_broadcasts(evidence: Evidence) -> Optional[Finding]:
    out = evidence.outputs
    if out is None or not out.broadcasts:
        return None
    return Finding(
        "loss-broadcasts",
        "error",
        f"The output is {tuple(out.shape)} and the target {tuple(out.target_shape)}: the loss compares "
        f"every row with every target and learns their mean.",
        {"output": list(out.shape), "target": list(out.target_shape)},
        "HFCallback(element=lambda output: output[0].squeeze(-1))  # or targets of the output's shape",
    )


def check_hidden_state_as_logits(evidence: Evidence) -> Optional[Finding]:
    out = evidence.outputs
    if out is None or not out.shape or out.hidden_size is None or out.shape[out.class_axis] != out.hidden_size:
        return None
    if len(out.shape) > 2 and out.shape == out.target_shape:
        return None  # the targets are as wide
    if out.num_labels == out.hidden_size and not _is_head_unused(evidence):
        return None
    unused = " and the model's last layer has no part in it" if _is_head_unused(evidence) else ""
    return Finding(
        "hidden-state-as-logits",
        "error",
        f"The output is {out.hidden_size} wide, which is the model's hidden size{unused}: a hidden state is "
        f"taken for the logits.",
        {"output": list(out.shape), "hidden size": out.hidden_size, "num_labels": out.num_labels},
        "HFCallback(element='logits')  # on a model with a head: ...ForSequenceClassification",
    )


def check_head_of_no_use(evidence: Evidence) -> Optional[Finding]:
    graph = evidence.graph
    if graph is None or not graph.head_unreached:
        return None
    # Only a note: the layer that ran last may be an auxiliary head.
    return Finding(
        "head-of-no-use",
        "note",
        "The last layer the model ran has trainable weights and no part in the output: something before the "
        "head is taken for the logits.",
        {"reached by the output": graph.reached_by_output, "trainable": graph.trainable},
        "HFCallback(element='logits')  # or the head's position: HFCallback(element=0)",
    )


def _is_head_unused(evidence: Evidence) -> bool:
    return evidence.graph is not None and bool(evidence.graph.head_unreached)


def check_loss_ignores_targets(evidence: Evidence) -> Optional[Finding]:
    loss, pairing = evidence.loss, evidence.pairing
    if loss is None or loss.depends_on_order is not False or pairing is not None and pairing.has_own_targets:
        return None
    if loss.depends_on_targets is False:
        return Finding(
            "loss-ignores-targets",
            "error",
            "The loss of the same outputs stays the same when the targets change: it does not read them.",
            {"change of the loss": 0.0},
            "def loss_func(outputs, target): ...  # and use both",
        )
    return Finding(
        "loss-broadcasts",
        "error",
        "The loss of the same outputs stays the same when targets change places: it compares averages of "
        "the batch, or every row with every target, and learns their mean.",
        {"change of the loss when targets change places": 0.0},
        "Compare row by row, and take the mean last: loss_func(outputs, target).mean()",
    )


def check_loss_ignores_a_target(evidence: Evidence) -> Optional[Finding]:
    loss = evidence.loss
    if loss is None or not loss.ignored_targets:
        return None
    return Finding(
        "loss-ignores-a-target",
        "warning",
        f"Where the target is {' or '.join(loss.ignored_targets[:4])} the loss is the same for right answers "
        f"and for contrary ones: a weight of 0, or ignore_index. The loss falls, and nothing is learned of "
        f"them.",
        {"at no cost": loss.ignored_targets},
        "learn.loss_func = nn.CrossEntropyLoss()  # or weights above 0, no class for ignore_index",
    )


def check_depends_on_batch_mates(evidence: Evidence) -> Optional[Finding]:
    out = evidence.outputs
    if out is None or out.changes_with_batch_mates is None or out.changes_with_batch_mates < MAX_BATCH_CHANGE:
        return None
    return Finding(
        "depends-on-batch-mates",
        "warning",
        f"A row's logits change by {out.changes_with_batch_mates:.2g} of their spread when it comes alone, "
        f"in eval mode: something is computed over the batch (softmax or a mean over dim 0, a norm in train "
        f"mode).",
        {"change": out.changes_with_batch_mates},
        "softmax(dim=-1) and mean(dim=1): never over dim 0",
    )


def check_loss_sign_flipped(evidence: Evidence) -> Optional[Finding]:
    loss, step = evidence.loss, evidence.stepping
    if step is not None and step.loss_factor is not None and step.loss_factor < 0:
        return Finding(
            "loss-sign-flipped",
            "error",
            f"The loss that is propagated is {step.loss_factor:.3g} times the one that loss_func gave: a "
            f"callback turns its sign, and every step drives predictions away from the targets.",
            {"propagated / given": step.loss_factor},
            action=Action("keep-loss"),
        )
    if loss is None or loss.at_ideal is None or loss.at_worst is None or loss.at_ideal <= loss.at_worst + 1e-6:
        return None
    return Finding(
        "loss-sign-flipped",
        "error",
        f"The loss is {loss.at_ideal:.4g} where the outputs say what the targets say and "
        f"{loss.at_worst:.4g} where they say the contrary: minimising it drives predictions away from the "
        f"targets.",
        {"loss of right outputs": loss.at_ideal, "loss of contrary outputs": loss.at_worst},
        "learn.loss_func = nn.CrossEntropyLoss()  # without the minus",
    )


def check_loss_misreads_classes(evidence: Evidence) -> Optional[Finding]:
    out, loss = evidence.outputs, evidence.loss
    if out is None or loss is None or not loss.shift_invariant or loss.shift_invariant_by_place is not False:
        return None
    return Finding(
        "loss-misreads-classes",
        "error",
        f"The output {tuple(out.shape)} has its {out.shape[1]} classes along axis 1, and the loss takes a softmax over "
        f"another one: what is added to all classes of a pixel changes it. A reshape to (-1, {out.shape[1]}) mixes "
        f"classes and pixels.",
        {"output": list(out.shape), "target": list(out.target_shape)},
        "nn.CrossEntropyLoss()  # takes (rows, classes, height, width); or output.permute(0, 2, 3, 1) before reshape",
    )


def check_softmax_before_cross_entropy(evidence: Evidence) -> Optional[Finding]:
    out, loss = evidence.outputs, evidence.loss
    if out is None or loss is None or not out.bounded or not out.rows_sum_to_one:
        return None
    if not (loss.shift_invariant or loss.takes_logits):
        return None
    return Finding(
        "softmax-before-cross-entropy",
        "error",
        f"The outputs lie between {out.lowest:.2g} and {out.highest:.2g} and every row sums to 1, whatever "
        f"the weights, and the loss expects logits: it takes a softmax or sigmoid of its own and can never "
        f"come near 0.",
        {"lowest": out.lowest, "highest": out.highest, "loss": loss.first},
        "Return logits from forward: take the softmax away before the loss",
    )


def check_sigmoid_before_logits_loss(evidence: Evidence) -> Optional[Finding]:
    out, loss = evidence.outputs, evidence.loss
    if out is None or loss is None or not out.bounded or out.rows_sum_to_one and out.shape[-1:] > (1,):
        return None
    takes_logits = loss.takes_logits or loss.shift_invariant
    if not takes_logits:
        return None
    return Finding(
        "sigmoid-before-logits-loss",
        "error",
        f"The outputs lie between {out.lowest:.2g} and {out.highest:.2g} whatever the weights, and the loss "
        f"expects logits: it applies its own sigmoid or softmax to probabilities.",
        {"lowest": out.lowest, "highest": out.highest, "loss": loss.first},
        "Return logits from forward: take the sigmoid away before the loss",
    )


def check_no_log_softmax_before_nll(evidence: Evidence) -> Optional[Finding]:
    out, loss = evidence.outputs, evidence.loss
    if out is None or loss is None or not loss.falls_with_shift or out.rows_are_log_probabilities or not out.finite:
        return None
    given = "probabilities" if out.bounded else "logits"
    return Finding(
        "no-log-softmax-before-nll",
        "error",
        f"The loss expects log-probabilities and is given {given} (between {out.lowest:.2g} and "
        f"{out.highest:.2g}): it falls by what is added to all classes alike, without end and whatever the "
        f"text says.",
        {"lowest": out.lowest, "highest": out.highest, "loss": loss.first},
        "learn.loss_func = nn.CrossEntropyLoss()  # on logits; NLLLoss expects log_softmax(logits, -1)",
    )


def check_input_ignored(evidence: Evidence) -> Optional[Finding]:
    out = evidence.outputs
    if out is None or out.changes_with_tokens is None or out.changes_with_tokens > 0:
        return None
    return Finding(
        "input-ignored",
        "error",
        f"The output of {out.rows} rows stays the same to the last bit when their words are exchanged: "
        f"nothing of the text reaches it.",
        {"change of the output": 0.0, "spread over rows": out.spread},
        "print(learn.model)  # and see that forward hands input_ids on; check attention_mask",
    )


def check_cannot_fit_one_batch(evidence: Evidence) -> Optional[Finding]:
    loss, graph = evidence.loss, evidence.graph
    if loss is None or loss.after_fitting is None or loss.before_fitting is None or loss.fitting_steps < 8:
        return None
    if graph is not None and graph.trainable < 1:
        return None
    # A model that has already fitted the batch cannot fit it better.
    if loss.constant is not None and loss.before_fitting < 0.5 * abs(loss.constant):
        return None
    if not abs(loss.after_fitting - loss.before_fitting) <= 1e-4 * abs(loss.before_fitting):
        return None
    return Finding(
        "cannot-fit-one-batch",
        "warning",
        f"{loss.fitting_steps} steps of a fresh optimizer on one small batch leave the loss at "
        f"{loss.after_fitting:.4g} (before: {loss.before_fitting:.4g}): what is trained hardly touches what the "
        f"loss sees.",
        {"before": loss.before_fitting, "after": loss.after_fitting, "steps": loss.fitting_steps},
        "learn.unfreeze()  # and see that loss_func uses its first argument",
    )


CHECKS = [
    check_non_finite_outputs,
    check_non_finite_loss,
    check_output_is_the_loss,
    check_batch_dimension_lost,
    check_loss_broadcasts,
    check_hidden_state_as_logits,
    check_head_of_no_use,
    check_loss_ignores_targets,
    check_loss_sign_flipped,
    check_loss_misreads_classes,
    check_loss_ignores_a_target,
    check_depends_on_batch_mates,
    check_softmax_before_cross_entropy,
    check_sigmoid_before_logits_loss,
    check_no_log_softmax_before_nll,
    check_input_ignored,
    check_cannot_fit_one_batch,
]


def _numel(shape: Tuple[int, ...]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product
