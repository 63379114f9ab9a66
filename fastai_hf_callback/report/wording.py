"""The wording that text and page share: numbers, arms, remarks, a diagnosis's verdict."""

from typing import Any, Dict, List, Optional, Tuple

from fastai_hf_callback.results.comparison import ComparisonResult, Movement
from fastai_hf_callback.results.diagnosis import DiagnosisResult
from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.probes import FAILED, NOT_MADE

__all__ = [
    "describe_arms",
    "offer_deep_diagnosis",
    "build_diagnosis_headline",
    "build_diagnosis_verdict",
    "format_figures",
    "get_headline",
    "explain_verdict",
    "format_number",
    "format_position",
    "list_remarks",
    "format_figure",
    "describe_training",
]


def format_number(value: Optional[float]) -> str:
    """Format six decimals, or a dash for None."""
    return "-" if value is None else f"{value:.6f}"


def format_figure(value: Any) -> str:
    """Format a figure of the evidence: four digits of a float, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_figures(evidence: Dict[str, Any]) -> List[Tuple[str, str]]:
    """Format a finding's evidence as names and figures; an exception's text is in the finding's message."""
    return [(name, format_figure(value)) for name, value in evidence.items() if name != "message"]


def describe_arms(comparison: ComparisonResult) -> List[Tuple[str, str]]:
    """Describe which arms were compared, and the result."""
    callback = comparison.traces["callback"]
    extent = (
        f"{len(callback.steps)} steps, {len(callback.epochs)} epoch(s), {len(callback.final_weights)} weight tensors"
    )
    lines = []
    if "patched" in comparison.traces:
        same = f"bit for bit equal over {extent}" if comparison.identical else f"differ - {comparison.difference}"
        lines.append(("callback / patched loop", same))
    if "broken" in comparison.traces:
        lines.append(
            (
                "callback / broken arm",
                f"differ, as they must - {comparison.broken_difference}" if comparison.broken_arm_differs else "EQUAL",
            )
        )
    return lines


def describe_training(comparison: ComparisonResult) -> str:
    """Describe what each arm did, so that it can be repeated: steps, rates, rows."""
    callback = comparison.traces["callback"]
    highest = max((rate for step in callback.steps for rate in step.lrs), default=0.0)
    return (
        f"{len(callback.steps)} steps in {len(callback.epochs)} epoch(s), rates up to {format_figure(float(highest))}; "
        f"{callback.n_train_targets:,} training targets, {callback.n_valid_targets:,} to validate on"
    )


def get_headline(comparison: ComparisonResult) -> str:
    """Return the verdict without its reasons."""
    return comparison.verdict.partition(" - ")[0].capitalize()


def explain_verdict(comparison: ComparisonResult) -> List[str]:
    """Explain what the verdict means, in whole sentences."""
    why = comparison.verdict.partition(" - ")[2]
    if not comparison.identical:
        noise = comparison.noise
        return [_DIFFERENT_SENTENCE.format(comparison.difference) if noise is None else _NOISY_SENTENCE.format(noise)]
    if comparison.exit_code == 1:
        return [_to_sentence(why)]
    return (
        [_IDENTICAL_SENTENCE, _MOVED_SENTENCE]
        if comparison.exit_code == 0
        else [_IDENTICAL_SENTENCE, _to_sentence(why)]
    )


_IDENTICAL_SENTENCE = (
    "Through the callback the training is what it is through the patched loop: every loss, gradient norm, "
    "learning rate, metric, final weight and prediction is equal to the last bit."
)
_MOVED_SENTENCE = (
    "And the training did something: losses and metrics moved by more than they do where nothing is learnt."
)
_DIFFERENT_SENTENCE = (
    "Callback and patched loop are equal to the last bit up to one place ({0.where}: {0.quantity}), and differ "
    "there. What comes later may only follow from it."
)
_NOISY_SENTENCE = (
    "Callback and patched loop differ, but so do two patched runs ({}): make_learner or this device is "
    "not deterministic, and nothing can be compared bit for bit."
)


def _to_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def list_remarks(comparison: ComparisonResult) -> List[str]:
    """List the metrics that stay at their base rate although the model learns."""
    return [
        f"{m.quantity} stands at {format_number(m.values[-1])}, what a predictor that never reads the text scores, "
        f"while the model learns: this metric cannot see it."
        for m in comparison.movements
        if comparison.moved and _is_stuck_at_base_rate(m)
    ]


def format_position(position: Tuple[int, int, int], fits: bool = True) -> str:
    """Format a position the way a ``Difference`` does."""
    if max(position) < 0:
        return "before training"
    parts = zip(("fit", "epoch", "step"), position)
    return ", ".join(f"{name} {number}" for name, number in parts if number >= 0 and (fits or name != "fit"))


def build_diagnosis_verdict(diagnosis: DiagnosisResult) -> str:
    """Build the verdict in one line."""
    worst = [f for f in diagnosis.findings if f.severity != "note"]
    if worst:
        return f"{len(worst)} finding(s), the most probable first: {worst[0].cause}"
    evidence = diagnosis.evidence
    if evidence is None:
        return "IN DOUBT: nothing was looked at" if not diagnosis.findings else diagnosis.findings[0].cause
    notes = [finding.cause for finding in diagnosis.findings]
    noted = f", with {len(notes)} note{'s' * (len(notes) > 1)} ({', '.join(notes)})" if notes else ""
    probed = f"looked at {', '.join(_name_examined(evidence)) or 'nothing yet'} {_format_duration(evidence)}"
    found = "no sure fault" if diagnosis.in_doubt else "nothing that keeps metrics still"
    verdict = "IN DOUBT" if diagnosis.in_doubt else "HEALTHY"
    return f"{verdict}{noted}: {probed} and found {found}{_format_gaps(evidence)}{_format_idle_callbacks(evidence)}"


def offer_deep_diagnosis(diagnosis: DiagnosisResult) -> str:
    """Offer what may end a doubt; "" where there is none, or where that was done already."""
    evidence = diagnosis.evidence
    if not diagnosis.in_doubt or evidence is None or evidence.substitution is not None:
        return ""
    return (
        "diagnose(learn, deep=True) plants a signal in copies of the batches and, where it is not learned, replaces "
        "the learner's parts one by one until it is: two minutes at most, and the learner stays what it is"
    )


# They lie under everything else, and need no words where they are in order.
_UNDERLYING = ("training batches", "callbacks", "weights", "validation batches", "the last fit")


def _name_examined(evidence: Evidence) -> List[str]:
    return [name for name in evidence.examined if name not in _UNDERLYING]


def _format_gaps(evidence: Evidence) -> str:
    gaps = [
        probe.name
        for probe in evidence.probes.values()
        if probe.state in (FAILED, NOT_MADE) and (probe.was_reached or not probe.part_of)
    ]
    return f"; could not look at {', '.join(gaps)}" if gaps else ""


def _format_idle_callbacks(evidence: Evidence) -> str:
    names = [] if evidence.wiring is None else evidence.wiring.idle_callbacks
    return f"; did not run {', '.join(names)}" if names else ""


def _format_duration(evidence: Evidence) -> str:
    """Format how long an examination took; of a monitored fit, whose time is its own, how many steps it had."""
    if evidence.seconds or evidence.stepping is None:
        trials = f", tried fixes in {evidence.trial_seconds:.1f} s more," if evidence.trial_seconds else ""
        return f"in {evidence.seconds:.1f} s{trials}"
    return f"over {evidence.stepping.steps} step(s)"


def build_diagnosis_headline(diagnosis: DiagnosisResult) -> Tuple[str, str, List[str]]:
    """Return the verdict without its reasons, its tone (``good``, ``stuck`` or ``bad``), and what it means."""
    severities = [finding.severity for finding in diagnosis.findings]
    counted = [
        f"{severities.count(s)} {s}{'s' * (severities.count(s) > 1)}"
        for s in ("error", "warning", "note")
        if s in severities
    ]
    if not diagnosis.at_least("warning"):
        probed = build_diagnosis_verdict(diagnosis).partition(": ")[2]
        noted = [f"There is something to know all the same: {counted[0]}."] if counted else []
        title, tone = ("In doubt", "stuck") if diagnosis.in_doubt else ("Healthy", "good")
        offer = offer_deep_diagnosis(diagnosis)
        offered = [_to_sentence(f"In doubt: {offer}")] if offer else []
        return title, tone, ([_to_sentence(probed)] if probed else []) + noted + offered
    first = f"Begin with the first, {diagnosis.findings[0].cause}: the later ones may follow from it."
    return (
        " and ".join([", ".join(counted[:-1]), counted[-1]] if counted[1:] else counted),
        "bad" if "error" in severities else "stuck",
        [first] if severities[1:] else [],
    )


def _is_stuck_at_base_rate(movement: Movement) -> bool:
    return movement.at_base_rate and not movement.moved
