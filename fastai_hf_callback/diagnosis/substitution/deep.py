"""``diagnose(learn, deep=True)``: the search, and what became of it, as evidence."""

from typing import Optional

from fastai_hf_callback.diagnosis.learner_adapter import LearnerAdapter
from fastai_hf_callback.diagnosis.probe_runner import format_error
from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.probes import MADE, NOT_MADE, ProbeOutcome
from fastai_hf_callback.results.substitution import Substitution

from .budget import Budget, OutOfTimeError, SearchProgress
from .loop import PlantedLoop
from .search import search
from .signals import CannotPlantError

__all__ = ["PLANTED", "SECONDS", "add_substitution"]

PLANTED = "a planted signal"
SECONDS = 110.0


def add_substitution(
    evidence: Evidence,
    adapter: LearnerAdapter,
    loop: PlantedLoop,
    seconds: float = SECONDS,
    progress: Optional[SearchProgress] = None,
) -> None:
    """Search, and write the result, or why there is none, into the evidence; the learner is what it was."""
    outcome = evidence.probes[PLANTED] = ProbeOutcome(PLANTED)
    result = evidence.substitution = Substitution()
    budget = Budget(seconds, progress)
    try:
        search(adapter, loop, budget, result)
    except CannotPlantError as reason:
        outcome.settle(NOT_MADE, str(reason), _ADVICE)
    except OutOfTimeError as reason:
        outcome.settle(NOT_MADE, str(reason), "write diagnose(learn, deep=True, seconds=600)")
    except Exception as error:
        outcome.settle(NOT_MADE, format_error(error)[:200], _ADVICE)
    else:
        outcome.settle(MADE)
    result.seconds = budget.used
    evidence.seconds += budget.used


_ADVICE = "what learns this data and what does not has to be found by hand"
