"""``Run``: a spec's learner and its fit, and what the doctor says of them."""

import warnings
from dataclasses import dataclass
from statistics import mean
from typing import Any, Dict, List

from fastai.learner import Learner

from fastai_hf_callback import Diagnosis, diagnose
from fastai_hf_callback.utils.rng import seed_everything
from tests.faults.stacks import stack

from .kind import Kind, Spec
from .learners import fit
from .registry import KINDS
from .specs import draw_specs

__all__ = ["Run", "evaluate_run", "make_runs"]

Row = Dict[str, Any]
STEPS = 8  # at each end of the fit, of which the mean is told


@dataclass(frozen=True)
class Run:
    """A healthy learner and its fit."""

    spec: Spec

    @property
    def kind(self) -> Kind:
        return next(kind for kind in KINDS if kind.name == self.spec["kind"])

    def build(self) -> Learner:
        """Build the same learner each time."""
        seed_everything(self.spec["seed"])
        return self.kind.build(self.spec)

    def fit(self, learn: Learner) -> List[float]:
        """Fit as its user would, and return the training losses."""
        with stack.no_progress(learn):
            return fit(learn, self.spec)


def make_runs(seed: int, n: int, only: str = "") -> List[Run]:
    """Make `n` runs, of the kinds whose name contains `only`."""
    return [Run(spec) for spec in draw_specs([kind for kind in KINDS if only in kind.name], seed, n)]


def evaluate_run(run: Run) -> Row:
    """Ask before the fit and after it, and watch it; whatever is worse than a note is a false alarm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learn = run.build()
        before = diagnose(learn)
        with stack.watched_by_doctor(learn, lambda line: None) as doctor:
            losses = run.fit(learn)
        after = diagnose(learn)
    asked = {"before": before, "watching": doctor.diagnosis, "after": after}
    return {
        "spec": dict(run.spec),
        "alarms": {when: _describe(one) for when, one in asked.items()},
        "notes": sorted({f.cause for one in asked.values() for f in one.findings if f.severity == "note"}),
        "not looked at": sorted({line for one in asked.values() for line in one.evidence.skipped}),
        "loss": [round(mean(losses[:STEPS]), 4), round(mean(losses[-STEPS:]), 4)],
    }


def _describe(diagnosis: Diagnosis) -> List[str]:
    return [f"{f.severity} {f.cause}: {f.message}" for f in diagnosis.at_least("warning")]
