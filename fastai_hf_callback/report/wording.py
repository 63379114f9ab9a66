"""What text and page say in the same words: numbers, arms, remarks, a diagnosis's verdict.

Imports ``comparison``, ``evidence``.
"""
from typing import Any, Dict, List, Optional, Tuple

from fastai_hf_callback.comparison.comparison import Comparison, Movement
from fastai_hf_callback.results.evidence import Evidence

__all__ = ["arm_lines", "diagnosis_headline", "diagnosis_verdict", "figures", "headline", "meaning", "number",
           "place_name", "remarks", "short",
           "training"]


def number(value: Optional[float]) -> str:
    """Six decimals, or a dash for what is not there."""
    return "-" if value is None else f"{value:.6f}"


def short(value: Any) -> str:
    """A figure of the evidence: four digits of a float, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def figures(evidence: Dict[str, Any]) -> List[Tuple[str, str]]:
    """A finding's evidence as names and figures; what an exception said stands in the message."""
    return [(name, short(value)) for name, value in evidence.items() if name != "said"]


def arm_lines(comparison: Comparison) -> List[Tuple[str, str]]:
    """Which arms were compared, and what came of it."""
    callback = comparison.traces["callback"]
    seen = f"{len(callback.steps)} steps, {len(callback.epochs)} epoch(s), {len(callback.final_weights)} weight tensors"
    lines = []
    if "patched" in comparison.traces:
        same = f"bit for bit equal over {seen}" if comparison.identical else f"differ - {comparison.difference}"
        lines.append(("callback / patched loop", same))
    if "broken" in comparison.traces:
        lines.append(("callback / broken arm", f"differ, as they must - {comparison.broken_difference}"
                      if comparison.proven else "EQUAL"))
    return lines


def training(comparison: Comparison) -> str:
    """What each arm did: steps, rates, rows; so that it can be done again."""
    callback = comparison.traces["callback"]
    highest = max((rate for step in callback.steps for rate in step.lrs), default=0.0)
    return (f"{len(callback.steps)} steps in {len(callback.epochs)} epoch(s), rates up to {short(float(highest))}; "
            f"{callback.n_train_targets:,} training targets, {callback.n_valid_targets:,} to validate on")


def headline(comparison: Comparison) -> str:
    """The verdict without its reasons."""
    return comparison.verdict.partition(" - ")[0].capitalize()


def meaning(comparison: Comparison) -> List[str]:
    """What the verdict means, in whole sentences."""
    why = comparison.verdict.partition(" - ")[2]
    if not comparison.identical:
        noise = comparison.noise
        return [_PARTED.format(comparison.difference) if noise is None else _PARTED_IN_NOISE.format(noise)]
    if comparison.exit_code == 1:
        return [_sentence(why)]
    return [_SAME, _MOVED] if comparison.exit_code == 0 else [_SAME, _sentence(why)]


_SAME = ("Through the callback the training is what it is through the patched loop: every loss, gradient norm, "
         "learning rate, metric, final weight and prediction is equal to the last bit.")
_MOVED = "And the training did something: losses and metrics moved by more than they do where nothing is learnt."
_PARTED = ("Callback and patched loop are equal to the last bit up to one place ({0.where}: {0.quantity}), and differ "
           "there. What comes later may only follow from it.")
_PARTED_IN_NOISE = ("Callback and patched loop differ, but so do two patched runs ({}): make_learner or this device is "
                    "not deterministic, and nothing can be compared bit for bit.")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def remarks(comparison: Comparison) -> List[str]:
    """Which metrics stand at their base rate although the model learns."""
    return [f"{m.quantity} stands at {number(m.values[-1])}, what a predictor that never reads the text scores, while "
            f"the model learns: this metric cannot see it." for m in comparison.movements if comparison.moved
            and _is_glued(m)]


def place_name(place: Tuple[int, int, int], fits: bool = True) -> str:
    """A place in the words of a ``Difference``."""
    if max(place) < 0:
        return "before training"
    parts = zip(("fit", "epoch", "step"), place)
    return ", ".join(f"{name} {number}" for name, number in parts if number >= 0 and (fits or name != "fit"))


def diagnosis_verdict(diagnosis: Any) -> str:
    """One line."""
    worst = [f for f in diagnosis.findings if f.severity != "note"]
    if worst:
        return f"{len(worst)} finding(s), the most probable first: {worst[0].cause}"
    evidence = diagnosis.evidence
    if evidence is None:
        return "HEALTHY" if not diagnosis.findings else diagnosis.findings[0].cause
    looked = ", ".join(dict.fromkeys(evidence.looked_at)) or "nothing yet"
    missed = f"; could not look at {', '.join(evidence.not_looked_at)}" if evidence.not_looked_at else ""
    notes = [finding.cause for finding in diagnosis.findings]
    noted = f", with {len(notes)} note{'s' * (len(notes) > 1)} ({', '.join(notes)})" if notes else ""
    looked = f"looked at {looked} {_how_long(evidence)}"
    found = "no sure fault" if diagnosis.in_doubt else "nothing that keeps metrics still"
    return f"{'IN DOUBT' if diagnosis.in_doubt else 'HEALTHY'}{noted}: {looked} and found {found}{missed}"


def _how_long(evidence: Evidence) -> str:
    """An examination takes its own time; who watches a fit looks on for as long as that lasts."""
    if evidence.seconds or evidence.stepping is None:
        return f"in {evidence.seconds:.1f} s"
    return f"over {evidence.stepping.steps} step(s)"


def diagnosis_headline(diagnosis: Any) -> Tuple[str, str, List[str]]:
    """The verdict without its reasons, its tone (``good``, ``stuck`` or ``bad``), and what it means."""
    severities = [finding.severity for finding in diagnosis.findings]
    counted = [f"{severities.count(s)} {s}{'s' * (severities.count(s) > 1)}" for s in ("error", "warning", "note")
               if s in severities]
    if diagnosis.healthy:
        looked = diagnosis_verdict(diagnosis).partition(": ")[2]
        noted = [f"There is something to know all the same: {counted[0]}."] if counted else []
        said, tone = ("In doubt", "stuck") if diagnosis.in_doubt else ("Healthy", "good")
        return said, tone, ([_sentence(looked)] if looked else []) + noted
    first = f"Begin with the first, {diagnosis.findings[0].cause}: the later ones may follow from it."
    return (" and ".join([", ".join(counted[:-1]), counted[-1]] if counted[1:] else counted),
            "bad" if "error" in severities else "stuck", [first] if severities[1:] else [])


def _is_glued(movement: Movement) -> bool:
    return movement.at_base_rate and not movement.moved
