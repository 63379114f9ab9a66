"""``DiagnosisResult``: findings, most probable first, and the evidence they rest on."""

from dataclasses import dataclass, field
from typing import List, Optional

from fastai_hf_callback.errors import FastaiHFError

from .evidence import Evidence
from .finding import DOUBTFUL_CAUSES, SEVERITIES, Finding

__all__ = ["DiagnosisResult"]


@dataclass
class DiagnosisResult:
    """What was found, most probable first.

    Attributes
    ----------
    findings : list of Finding
        Errors first, then warnings, then notes; within each the one that explains the others first.
    evidence : Evidence or None
        What was measured, in numbers.
    """

    findings: List[Finding] = field(default_factory=list)
    evidence: Optional[Evidence] = None

    @property
    def healthy(self) -> bool:
        """Whether nothing was found that is worse than a note."""
        return all(finding.severity == "note" for finding in self.findings)

    @property
    def in_doubt(self) -> bool:
        """Whether a note says that a fit may be wasted although no fault is proven."""
        return self.healthy and any(finding.cause in DOUBTFUL_CAUSES for finding in self.findings)

    @property
    def causes(self) -> List[str]:
        """The findings' causes, in their order."""
        return [finding.cause for finding in self.findings]

    def at_least(self, severity: str) -> List[Finding]:
        """Return the findings of `severity` (``note``, ``warning`` or ``error``) or worse."""
        if severity not in SEVERITIES:
            raise FastaiHFError(f"severity {severity!r} was given; expected one of {', '.join(SEVERITIES)}.")
        limit = SEVERITIES.index(severity)
        return [finding for finding in self.findings if SEVERITIES.index(finding.severity) >= limit]
