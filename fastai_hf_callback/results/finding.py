"""``Finding``: a cause, its evidence and its fix in one line; ``Action``: a fix that is the same on every fastai."""

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional

from fastai_hf_callback.errors import FastaiHFError

__all__ = ["Action", "Finding", "DOUBTFUL_CAUSES", "SEVERITIES"]

SEVERITIES = ("note", "warning", "error")

# No fault is proven, but a fit may still be wasted: with a note of one of these the verdict must not be "healthy".
DOUBTFUL_CAUSES = (
    "seen-in-the-last-fit",
    "labels-unrelated-to-texts",
    "token-labels-unrelated",
    "texts-truncated",
    "nothing-learned-yet",
    "validation-worse-than-constant",
    "epsilon-outweighs-gradients",
    "substitution-dropout",
    "substitution-freezing",
    "substitution-head",
    "substitution-inputs",
    "substitution-model",
    "substitution-optimizer",
    "substitution-rate",
    "substitution-weights",
)


class Action(NamedTuple):
    """What to do about a cause, independent of the fastai version.

    Attributes
    ----------
    name : str
        A row in each fastai's table of fixes (``fastaiN/diagnosis/fixes.py``).
    arguments : mapping of str to any
        What the row's line of code and its function need.
    note : str
        A comment behind the line, the same on every fastai.
    """

    name: str
    arguments: Mapping[str, Any] = {}
    note: str = ""

    def __str__(self) -> str:
        return self.comment_on(self.name)

    def comment_on(self, line: str) -> str:
        """Append the note to `line` as a comment."""
        return f"{line}  # {self.note}" if self.note else line


@dataclass
class Finding:
    """One thing that keeps the metrics from moving, or would in a fit.

    Attributes
    ----------
    cause : str
        A stable kebab-case name; ``docs/evidence/faults.md`` explains each.
    severity : str
        ``error`` (training is wasted), ``warning`` (very likely not what was intended) or ``note``.
    message : str
        What was measured and what it means.
    evidence : dict of str to number, str or list
        The figures it is based on.
    fix : str
        One line of code to paste, or of instruction to follow.
    action : Action or None
        What `fix` does, where that is written differently on each fastai or can be applied.
    fix_function : callable or None
        What :meth:`apply` calls with the learner; only ``diagnose`` gives one, where the fix has stood its trial.
    tried : str
        What was seen when the fix was tried on a copy of the learner, or why it was not; "" where nothing can be tried.
    """

    cause: str
    severity: str
    message: str
    evidence: Dict[str, Any] = field(default_factory=dict)
    fix: str = ""
    action: Optional[Action] = None
    fix_function: Optional[Callable[[Any], Any]] = field(default=None, repr=False, compare=False)
    tried: str = ""

    @property
    def can_apply(self) -> bool:
        """Whether :meth:`apply` does anything."""
        return self.fix_function is not None

    def apply(self, learn: Any) -> Any:
        """Do what `fix` says to `learn`, where that is mechanical and safe.

        Raises
        ------
        FastaiHFError
            Where it is not; ``fix`` says what to do by hand.
        """
        if self.fix_function is None:
            raise FastaiHFError(
                f"{self.cause} has no fix that is mechanical and safe. Do by hand: {self.fix}", self.cause
            )
        return self.fix_function(learn)

    def __str__(self) -> str:
        return f"{self.severity}: {self.cause} - {self.message}"
