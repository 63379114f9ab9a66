"""``Evidence`` -> what was examined and what was found, one line each: the scope of a verdict."""

from typing import Callable, Dict, List, Optional, Tuple

from fastai_hf_callback.results.evidence import Evidence, Inputs
from fastai_hf_callback.results.numeric_inputs import NumericInputs
from fastai_hf_callback.results.probes import DOES_NOT_APPLY, FAILED, MADE, NOT_MADE, ProbeOutcome

from .wording import format_figure

__all__ = ["describe_gaps", "describe_scope"]

Line = Tuple[str, str]


def describe_scope(evidence: Evidence) -> List[Line]:
    """Name and describe what was examined, what does not apply, and what could not be examined."""
    return _describe_parts(evidence, _describe_probe)


def describe_gaps(evidence: Evidence) -> List[Line]:
    """Name what failed or could not be examined, with the reason."""
    reached = [
        (_label(evidence, probe), _describe_outcome(probe))
        for probe in evidence.probes.values()
        if probe.state in (FAILED, NOT_MADE) and probe.was_reached
    ]
    unreached = [
        _label(evidence, p)
        for p in evidence.probes.values()
        if p.state == NOT_MADE and not p.was_reached and not p.part_of
    ]
    return reached + ([("not reached", ", ".join(unreached))] if unreached else [])


def _describe_parts(evidence: Evidence, describe: Callable[[Evidence, ProbeOutcome], Optional[str]]) -> List[Line]:
    lines = [(_label(evidence, probe), describe(evidence, probe)) for probe in evidence.probes.values()]
    return [(name, text) for name, text in lines if text]


def _describe_probe(evidence: Evidence, probe: ProbeOutcome) -> Optional[str]:
    if probe.state == MADE:
        describe = _DESCRIPTIONS.get(probe.name)
        return None if describe is None else describe(evidence)
    whole = evidence.probes.get(probe.part_of)
    if probe.part_of and (probe.state == DOES_NOT_APPLY or whole is None or whole.state != MADE):
        return None  # the line of the whole says it
    return _describe_outcome(probe)


def _describe_outcome(probe: ProbeOutcome) -> str:
    reason = probe.reason or "what comes before it was not made"
    return f"{probe.state}: {reason}{f'; {probe.advice}' if probe.advice else ''}"


def _label(evidence: Evidence, probe: ProbeOutcome) -> str:
    return "texts" if probe.name == "inputs" and not evidence.numeric_inputs else probe.name


def _describe_inputs(evidence: Evidence) -> Optional[str]:
    inputs = evidence.inputs
    if inputs is None:
        return "; ".join(map(_describe_numbers, evidence.numeric_inputs)) or None
    padding = (
        "no padding"
        if inputs.pad_token_id is None
        else f"{inputs.pad_share:.0%} padding (id {inputs.pad_token_id}), {_describe_masking(inputs)}"
    )
    numbers = "".join(f"; {_describe_numbers(one)}" for one in evidence.numeric_inputs)
    return (
        f"{inputs.rows} rows of up to {inputs.length} tokens, {inputs.mean_length:.0f} on average; {padding}{numbers}"
    )


def _describe_numbers(one: NumericInputs) -> str:
    values = "" if one.values is None else f", from {one.values.lowest:.3g} to {one.values.highest:.3g}"
    return f"{one.rows} rows of {one.name}: {one.kind} {one.shape}{values}"


def _describe_masking(inputs: Inputs) -> str:
    if inputs.mask_argument_given:
        return "masked"
    return "with a mask that does not arrive" if inputs.mask_given else "not masked"


def _describe_outputs(evidence: Evidence) -> Optional[str]:
    out = evidence.outputs
    if out is None:
        return None
    answers = (
        (out.changes_with_tokens, "other words"),
        *((one.answer, f"another row's {one.name}") for one in evidence.numeric_inputs),
        (out.changes_with_padding, "less padding"),
        (out.changes_with_batch_mates, "other batch mates"),
    )
    changes = [f"{format_figure(change)} with {what}" for change, what in answers if change is not None]
    values = f"from {format_figure(out.lowest)} to {format_figure(out.highest)}"
    description = f"shape {out.shape} for targets {out.target_shape}, {values}"
    return f"{description}; they change, in spreads between rows, by {', '.join(changes)}" if changes else description


def _describe_loss(evidence: Evidence) -> Optional[str]:
    loss = evidence.loss
    if loss is None or loss.first is None:
        return None
    parts = [f"{format_figure(loss.first)} at first"]
    if loss.at_ideal is not None:
        parts.append(f"{format_figure(loss.at_ideal)} if always right")
    # The rate is high on purpose: the loss has to move, up or down.
    if loss.after_fitting is not None and loss.before_fitting is not None:
        parts.append(
            f"{loss.fitting_steps} step(s) on one batch, with an optimizer and a high rate of their own, move "
            f"it by {format_figure(abs(loss.after_fitting - loss.before_fitting))}"
        )
    return "; ".join(parts)


def _describe_gradients(evidence: Evidence) -> Optional[str]:
    graph = evidence.graph
    if graph is None:
        return None
    return f"the loss reaches {graph.reached} of {graph.registered} parameters, {graph.trainable} of them trainable"


def _describe_optimizer(evidence: Evidence) -> Optional[str]:
    steps = evidence.stepping
    if steps is None:
        return None
    watched = f"{'' if steps.sampled_steps is None else f'{steps.sampled_steps} of '}{steps.steps} steps"
    moved = "" if steps.largest_update is None else f"; the largest moved the weights by {steps.largest_update:.2%}"
    return f"holds {steps.in_optimizer} of {steps.trainable} trainable parameters; {watched} watched{moved}"


def _describe_targets(evidence: Evidence) -> Optional[str]:
    labels = evidence.labels
    if labels is None:
        return None
    rows = f"{labels.train_rows} training and {labels.valid_rows} validation rows"
    if labels.signal_within_train is None:
        return rows
    return f"{rows}; {labels.predictors} predict them with an area of {labels.signal_within_train:.2f} (chance .50)"


def _describe_metrics(evidence: Evidence) -> Optional[str]:
    measured = [
        (m, "" if m.base_rate is None else f" (base rate {format_figure(m.base_rate)})")
        for m in evidence.metrics
        if m.value is not None
    ]
    parts = [f"{m.name} {format_figure(m.value)}{base_rate}" for m, base_rate in measured]
    parts += [f"{m.name} without a value ({m.not_scored or _NO_SCORE})" for m in evidence.metrics if m.value is None]
    return f"{', '.join(parts)} on {evidence.metrics[0].rows} of the validation rows" if parts else None


_NO_SCORE = "it is no number, or reads more than outputs and targets"


def _describe_last_fit(evidence: Evidence) -> Optional[str]:
    fit = evidence.history
    if fit is None or not fit.losses:
        return None
    loss = "smoothed train loss" if fit.smoothed else "train loss"
    early, late = format_figure(fit.early), format_figure(fit.late)
    return f"{len(fit.losses)} steps; {loss} {early} in the first quarter, {late} in the last"


def _describe_callbacks(evidence: Evidence) -> Optional[str]:
    names = [] if evidence.wiring is None else evidence.wiring.idle_callbacks
    return f"not run, as they take no part in a batch and may write files: {', '.join(names)}" if names else None


def _describe_planted_signal(evidence: Evidence) -> Optional[str]:
    done = evidence.substitution
    if done is None or done.own is None:
        return None
    told = f"{done.signal}; after {done.own.steps} steps the outputs tell its sides apart in {done.own.score:.0%}"
    needed = f"; learned with {', '.join(map(str, done.found))} replaced" if done.found else ""
    return f"{told} of the cases (chance 50%){needed}; {done.runs} fits in {done.seconds:.0f} s"


_DESCRIPTIONS: Dict[str, Callable[[Evidence], Optional[str]]] = {
    "callbacks": _describe_callbacks,
    "inputs": _describe_inputs,
    "outputs": _describe_outputs,
    "loss": _describe_loss,
    "gradients": _describe_gradients,
    "optimizer": _describe_optimizer,
    "targets": _describe_targets,
    "metrics": _describe_metrics,
    "the last fit": _describe_last_fit,
    "a planted signal": _describe_planted_signal,
}
