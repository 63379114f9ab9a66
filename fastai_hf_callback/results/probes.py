"""``PROBES``, everything that an examination may probe, and ``ProbeOutcome``, what became of one of them.

A verdict is "healthy" only where every probe that applies to the learner was made.
"""

from dataclasses import dataclass
from typing import Dict, List, NamedTuple

__all__ = [
    "DOES_NOT_APPLY",
    "FAILED",
    "MADE",
    "NOT_MADE",
    "PROBES",
    "Probe",
    "ProbeOutcome",
    "begin_probes",
    "close_probes",
]

# What may become of a probe. Failed: an object of the learner's own (model, loss, metric, loader, callback) raised,
# which is a finding. Not made: something else kept it from being made, which is a doubt.
MADE, DOES_NOT_APPLY, FAILED, NOT_MADE = "made", "does not apply", "failed", "not made"


class Probe(NamedTuple):
    """One row of the table.

    Attributes
    ----------
    name : str
    asks_for : str
        What a learner must have for the probe to apply.
    part_of : str
        The probe that it is a detail of; "" for those that a verdict names.
    in_fit : bool
        Whether ``Doctor`` makes it, too.
    needs : str
        A probe without which it does not apply either, in addition to the one that it is a detail of.
    """

    name: str
    asks_for: str
    part_of: str = ""
    in_fit: bool = False
    needs: str = ""


# In the order in which they are shown.
PROBES = (
    Probe("training batches", "a training loader"),
    Probe("callbacks", "a learner"),
    Probe("weights", "a model"),
    Probe("inputs", "token ids that a word embedding looks up, or numbers", in_fit=True),
    Probe("padding of validation batches", "texts and a validation set", "inputs"),
    Probe("outputs", "one tensor that the model, or a callback, gives to the loss", in_fit=True),
    Probe("answer to words", "texts of several words", "outputs", in_fit=True),
    Probe("answer of other weights", "outputs that do not answer to words", "answer to words", in_fit=True),
    Probe("answer to numbers", "inputs that are numbers", "outputs", in_fit=True),
    Probe("answer of new weights", "outputs that are the same for all rows", "outputs", in_fit=True),
    Probe("answer to padding", "texts that are padded", "outputs", in_fit=True),
    Probe("answer to batch mates", "several rows and outputs for each", "outputs", in_fit=True),
    Probe("bounds of the outputs", "outputs", "outputs", in_fit=True),
    Probe("pairs of outputs and targets", "targets", "outputs", in_fit=True),
    Probe("loss", "one tensor of targets", in_fit=True, needs="outputs"),
    Probe("what each target costs", "an output for each row", "loss", in_fit=True),
    Probe("validation batches", "a validation set"),
    Probe("targets", "a target for each row", in_fit=True),
    Probe("metrics", "metrics and a validation set", in_fit=True),
    Probe("gradients", "parameters that are trained", in_fit=True),
    Probe("optimizer", "steps", in_fit=True),
    Probe("rates set by callbacks", "a callback that sets a rate", "optimizer"),
    Probe("an epoch of skipped steps", "callbacks that skip every step", "optimizer"),
    Probe("fitting one batch", "a loss of float32 weights", needs="loss"),
    Probe("the last fit", "a fit", in_fit=True),
)


@dataclass
class ProbeOutcome:
    """What became of one probe.

    Attributes
    ----------
    name : str
        A row of ``PROBES``.
    state : str
        ``made``, ``does not apply``, ``failed`` or ``not made``.
    reason : str
        Why it was not made; "" for one that was, and for one that was not reached.
    advice : str
        What to do, where that is known.
    cause : str
        Of a failure, the name of its finding.
    part_of : str
        As in `Probe`.
    """

    name: str
    state: str = NOT_MADE
    reason: str = ""
    advice: str = ""
    cause: str = ""
    part_of: str = ""

    @property
    def was_reached(self) -> bool:
        """Whether the examination came as far as this probe."""
        return self.state != NOT_MADE or bool(self.reason)

    def settle(self, state: str, reason: str = "", advice: str = "", cause: str = "") -> None:
        """Record what became of it."""
        self.state, self.reason, self.advice, self.cause = state, reason, advice, cause

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})" if self.reason else self.name


def begin_probes(in_fit: bool = False) -> Dict[str, ProbeOutcome]:
    """Return a row for every probe of ``diagnose``, or of ``Doctor``, none of them made so far."""
    rows: List[Probe] = [probe for probe in PROBES if probe.in_fit or not in_fit]
    return {probe.name: ProbeOutcome(probe.name, part_of=probe.part_of) for probe in rows}


def close_probes(outcomes: Dict[str, ProbeOutcome]) -> None:
    """Settle what was not reached because what it needs does not apply to the learner."""
    for probe in PROBES:
        outcome, needed = outcomes.get(probe.name), outcomes.get(probe.part_of or probe.needs)
        if outcome is None or needed is None or outcome.was_reached or needed.state != DOES_NOT_APPLY:
            continue
        outcome.settle(DOES_NOT_APPLY, needed.reason)
