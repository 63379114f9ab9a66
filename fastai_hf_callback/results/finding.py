"""``Finding``: one cause, its evidence in numbers and its cure in a line."""

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Optional

from fastai_hf_callback.errors import FastaiHFError

__all__ = ["Finding", "DOUBTFUL_CAUSES", "SEVERITIES"]

SEVERITIES = ("note", "warning", "error")

# No fault is proven, and yet a fit may be in vain: with a note of one of these nobody should be told that all is well.
DOUBTFUL_CAUSES = (
    "labels-unrelated-to-texts",
    "texts-truncated",
    "nothing-learned-yet",
    "validation-worse-than-constant",
    "epsilon-outweighs-gradients",
)


@dataclass
class Finding:
    """One thing that keeps the metrics from moving, or would.

    Attributes
    ----------
    cause : str
        A stable kebab-case name; ``docs/evidence/faults.md`` explains each.
    severity : str
        ``error`` (training is in vain), ``warning`` (it is very likely not what was meant) or ``note``.
    message : str
        What was seen and what it means.
    evidence : dict of str to number, str or list
        The figures it rests on.
    fix : str
        One line that can be pasted, or done.
    """

    cause: str
    severity: str
    message: str
    evidence: Dict[str, Any] = field(default_factory=dict)
    fix: str = ""
    cure: Optional[Callable[[Any], Any]] = field(default=None, repr=False, compare=False)

    @property
    def can_apply(self) -> bool:
        """Whether :meth:`apply` does anything."""
        return self.cure is not None

    def apply(self, learn: Any) -> Any:
        """Do the cure on `learn`, where it is mechanical and safe.

        Raises
        ------
        FastaiHFError
            Where there is no such cure; ``fix`` says what to do by hand.
        """
        if self.cure is None:
            raise FastaiHFError(
                f"{self.cause} has no cure that is mechanical and safe. Do by hand: {self.fix}", self.cause
            )
        return self.cure(learn)

    def __str__(self) -> str:
        return f"{self.severity}: {self.cause} - {self.message}"
