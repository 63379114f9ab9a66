"""``Evidence`` -> what was looked at and what was seen there, a line each: how far a verdict reaches.

Imports ``evidence`` and ``words``.
"""
from typing import Callable, List, Optional, Tuple

from fastai_hf_callback.results.evidence import Evidence, Inputs
from .wording import short

__all__ = ["looks"]


def looks(evidence: Evidence) -> List[Tuple[str, str]]:
    """Names and figures of what was looked at; what was not looked at is left out."""
    told = ((name, tell(evidence)) for name, tell in _TOLD)
    return [(name, said) for name, said in told if said]


def _texts(evidence: Evidence) -> Optional[str]:
    inputs = evidence.inputs
    if inputs is None:
        return None
    padding = "no padding" if inputs.pad_id is None else \
        f"{inputs.pad_share:.0%} padding (id {inputs.pad_id}), {_masked(inputs)}"
    return f"{inputs.rows} rows of up to {inputs.length} tokens, {inputs.mean_length:.0f} on average; {padding}"


def _masked(inputs: Inputs) -> str:
    if inputs.mask_argument_given:
        return "masked"
    return "with a mask that does not arrive" if inputs.mask_given else "not masked"


def _outputs(evidence: Evidence) -> Optional[str]:
    out = evidence.outputs
    if out is None:
        return None
    answers = ((out.answers_to_tokens, "other words"), (out.changes_with_padding, "less padding"),
               (out.changes_with_batch_mates, "other batch mates"))
    changes = [f"{short(change)} with {what}" for change, what in answers if change is not None]
    told = f"shape {out.shape} for targets {out.target_shape}, from {short(out.lowest)} to {short(out.highest)}"
    return f"{told}; they change, in spreads between rows, by {', '.join(changes)}" if changes else told


def _loss(evidence: Evidence) -> Optional[str]:
    loss = evidence.loss
    if loss is None or loss.first is None:
        return None
    parts = [f"{short(loss.first)} at first"]
    if loss.at_ideal is not None:
        parts.append(f"{short(loss.at_ideal)} if always right")
    if loss.fitted is not None:  # at a rate that is high on purpose: up or down, it has to move
        parts.append(f"{loss.fitted_steps} step(s) on one batch, with an optimizer and a high rate of their own, move "
                     f"it by {short(abs(loss.fitted - loss.before_fitting))}")
    return "; ".join(parts)


def _gradients(evidence: Evidence) -> Optional[str]:
    graph = evidence.graph
    return None if graph is None else \
        f"the loss reaches {graph.reached} of {graph.registered} parameters, {graph.trainable} of them trainable"


def _optimizer(evidence: Evidence) -> Optional[str]:
    steps = evidence.stepping
    if steps is None:
        return None
    watched = f"{steps.sampled_steps} of {steps.steps} steps" if steps.sampled_steps is not None else \
        f"{steps.steps} steps"
    moved = "" if steps.largest_update is None else f"; the largest moved the weights by {steps.largest_update:.2%}"
    return f"holds {steps.in_optimizer} of {steps.trainable} trainable parameters; {watched} watched{moved}"


def _targets(evidence: Evidence) -> Optional[str]:
    labels = evidence.labels
    if labels is None:
        return None
    foretold = "" if labels.signal_within_train is None else \
        f"; words foretell them with an area of {labels.signal_within_train:.2f} (chance .50)"
    return f"{labels.train_rows} training and {labels.valid_rows} validation rows{foretold}"


def _metrics(evidence: Evidence) -> Optional[str]:
    seen = [(m, "" if m.base_rate is None else f" (base rate {short(m.base_rate)})") for m in evidence.metrics
            if m.value is not None]
    told = ", ".join(f"{m.name} {short(m.value)}{base_rate}" for m, base_rate in seen)
    return f"{told} on {seen[0][0].rows} of the validation rows" if told else None


def _last_fit(evidence: Evidence) -> Optional[str]:
    fit = evidence.history
    return None if fit is None or not fit.losses else \
        f"{len(fit.losses)} steps; {'smoothed ' if fit.smoothed else ''}train loss {short(fit.early)} in the first " \
        f"quarter, {short(fit.late)} in the last"


_TOLD: List[Tuple[str, Callable[[Evidence], Optional[str]]]] = [
    ("texts", _texts), ("outputs", _outputs), ("loss", _loss), ("gradients", _gradients), ("optimizer", _optimizer),
    ("targets", _targets), ("metrics", _metrics), ("the last fit", _last_fit)]
