"""Runs one probe and records what became of it: made, not applicable, failed or not made."""

import traceback
from pathlib import Path
from typing import Callable, Container, Optional, TypeVar

from fastai_hf_callback.errors import FastaiHFError, describe_exception
from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.probes import DOES_NOT_APPLY, FAILED, MADE, NOT_MADE, ProbeOutcome

from .checks.failures import classify_exception, find_calling_callback

__all__ = [
    "DoesNotApplyError",
    "NotMadeError",
    "attempt",
    "format_error",
    "is_installed",
    "record_failure",
    "was_raised_here",
]

LONGEST_REASON = 200
PACKAGE = Path(__file__).resolve().parents[1]
OWN_ROOMS = [str(PACKAGE / room) for room in ("diagnosis", "fastai1/diagnosis", "fastai2/diagnosis")]

Result = TypeVar("Result")


class DoesNotApplyError(Exception):
    """A probe has nothing to look at in this learner; the message says what is missing."""


class NotMadeError(Exception):
    """A probe applies and cannot be made; the message says why, `advice` what to do."""

    def __init__(self, message: str, advice: str = ""):
        super().__init__(message)
        self.advice = advice


def attempt(
    evidence: Evidence,
    name: str,
    action: Callable[[], Result],
    as_in_fit: bool = False,
    fixes: Optional[Container[str]] = None,
) -> Optional[Result]:
    """Run one probe and record what became of it; the others go on.

    Parameters
    ----------
    evidence : Evidence
        Its row `name` is written to.
    name : str
        One of ``PROBES``.
    action : callable
        May raise ``DoesNotApplyError`` and ``NotMadeError``.
    as_in_fit : bool
        Whether it does what a fit does, with the learner's own batches: what raises then is the learner's. Elsewhere
        that is only a line of the user's own code, except in a detail, whose batches are changed ones: a model may
        refuse these.
    fixes : container of str, optional
        The fastai's actions, as for ``classify_exception``.
    """
    outcome = evidence.probes[name]
    try:
        result = action()
    except DoesNotApplyError as reason:
        outcome.settle(DOES_NOT_APPLY, str(reason))
    except NotMadeError as reason:
        outcome.settle(NOT_MADE, str(reason), reason.advice)
    except Exception as error:
        is_own = isinstance(error, FastaiHFError) or not was_raised_here(error) and (as_in_fit or bool(_locate(error)))
        if outcome.part_of and not was_raised_here(error):
            outcome.settle(DOES_NOT_APPLY, f"a changed batch is refused: {format_error(error)}"[:LONGEST_REASON])
        elif is_own:
            record_failure(outcome, error, fixes)
        else:
            outcome.settle(NOT_MADE, format_error(error)[:LONGEST_REASON], _REPORT)
    else:
        if not outcome.was_reached:
            outcome.settle(MADE)
        return result
    return None


_REPORT = "look at it by hand: the examination has no answer for this learner"


def record_failure(outcome: ProbeOutcome, error: BaseException, fixes: Optional[Container[str]]) -> None:
    """Record that an object of the learner's own raised."""
    reason = error.message if isinstance(error, FastaiHFError) else format_error(error)
    outcome.settle(FAILED, reason, cause=classify_exception(error, fixes).cause)


def was_raised_here(error: BaseException) -> bool:
    """Return whether it was the examination itself that raised, and nothing of the learner's."""
    frames = traceback.extract_tb(error.__traceback__)
    return not isinstance(error, FastaiHFError) and bool(frames) and frames[-1].filename.startswith(tuple(OWN_ROOMS))


def format_error(error: BaseException) -> str:
    """Format the exception in one line, with the last place in the user's own code that it passed."""
    line = describe_exception(error)
    return line if isinstance(error, FastaiHFError) else f"{line}{_locate(error)}"


def _locate(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not is_installed(frame.filename)]
    if not own:
        return ""
    caller, place = find_calling_callback(error), own[-1].name
    place = caller if caller.endswith(f".{place}") else place
    return f" (in {place}, {Path(own[-1].filename).name}, line {own[-1].lineno})"


def is_installed(filename: str) -> bool:
    """Return whether a file is this package's, a library's or Python's own, and no line of the user's."""
    return filename.startswith((str(PACKAGE), _STDLIB, "<frozen")) or "site-packages" in filename


_STDLIB = str(Path(traceback.__file__).parent)
