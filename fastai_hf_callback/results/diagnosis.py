"""``DiagnosisResult``: findings, most probable first, and the evidence they rest on."""

from dataclasses import dataclass, field
from typing import List, Optional

from fastai_hf_callback.errors import FastaiHFError

from .evidence import Evidence
from .finding import DOUBTFUL_CAUSES, SEVERITIES, Finding
from .probes import FAILED, NOT_MADE

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
        """Whether nothing was found that is worse than a note, and nothing is in doubt."""
        return not self.at_least("warning") and not self.in_doubt

    @property
    def in_doubt(self) -> bool:
        """Whether no fault is proven, and a fit may be wasted all the same.

        A note says so, or a probe that applies to the learner could not be made.
        """
        if self.at_least("warning"):
            return False
        return self.lacks_probes or any(finding.cause in DOUBTFUL_CAUSES for finding in self.findings)

    @property
    def lacks_probes(self) -> bool:
        """Whether a probe that applies to the learner was not made, or none at all."""
        probes = {} if self.evidence is None else self.evidence.probes
        return not probes or any(probe.state in (FAILED, NOT_MADE) for probe in probes.values())

    def exit_code(self, fail_on: str = "warning") -> int:
        """Return the exit code of ``fastai-hf diagnose``: 0 where healthy, 1 at a finding or in doubt.

        Parameters
        ----------
        fail_on : str
            The severity from which on a finding counts. Below ``error``, and in every case where a probe could not be
            made, doubt counts too: whatever was not seen may be an error.
        """
        if self.at_least(fail_on) or self.lacks_probes:
            return 1
        return int(self.in_doubt and fail_on != "error")

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
