"""``Evidence`` -> ``Diagnosis``: runs the checks and ranks what they found.

Imports ``checks``; ``report`` when it is told.
"""
from dataclasses import dataclass, field
from typing import Any, Callable, List, Optional, Sequence, Tuple

from . import checks
from fastai_hf_callback.errors import FastaiHFError
from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import SEVERITIES, Finding

__all__ = ["Diagnosis", "build_diagnosis"]


@dataclass
class Diagnosis:
    """What was found, most probable first.

    Attributes
    ----------
    findings : list of Finding
        Errors first, then warnings, then notes; within each the one that explains the others first.
    evidence : Evidence or None
        What was seen, in numbers.
    """

    findings: List[Finding] = field(default_factory=list)
    evidence: Optional[Evidence] = None

    @property
    def healthy(self) -> bool:
        """Whether nothing was found that is worse than a note."""
        return all(finding.severity == "note" for finding in self.findings)

    @property
    def in_doubt(self) -> bool:
        """Whether a note says that a fit may be in vain although no fault is proven."""
        return self.healthy and any(finding.cause in checks.DOUBTFUL_CAUSES for finding in self.findings)

    @property
    def causes(self) -> List[str]:
        """The findings' causes, in their order."""
        return [finding.cause for finding in self.findings]

    def at_least(self, severity: str) -> List[Finding]:
        """The findings of `severity` (``note``, ``warning`` or ``error``) or worse."""
        if severity not in SEVERITIES:
            raise FastaiHFError(f"severity {severity!r} was given; expected one of {', '.join(SEVERITIES)}.")
        limit = SEVERITIES.index(severity)
        return [finding for finding in self.findings if SEVERITIES.index(finding.severity) >= limit]

    def __str__(self) -> str:
        from fastai_hf_callback.report.text import diagnosis_to_text
        return diagnosis_to_text(self)

    def to_json(self) -> str:
        """Findings and evidence as strict JSON."""
        from fastai_hf_callback.report.json import diagnosis_to_json
        return diagnosis_to_json(self)

    def to_html(self, path: Any = None, title: str = "") -> str:
        """Verdict, findings with their fixes, metrics and curves as one self-contained page; needs jinja2.

        Parameters
        ----------
        path : path-like, optional
            Where to write the page.
        title : str
            What was examined, in the page's own words.

        Returns
        -------
        str
            The page. It loads nothing and works without scripts; with them, buttons copy the fixes and the arrow
            keys read the curves.
        """
        from fastai_hf_callback.report.page import diagnosis_to_page, write_page
        return write_page(diagnosis_to_page(self, title), path)

    def _repr_html_(self) -> str:
        from fastai_hf_callback.report.page import diagnosis_to_fragment
        return diagnosis_to_fragment(self)


def build_diagnosis(evidence: Evidence, cures: Optional[Callable[[Finding], Any]] = None,
              phrases: Sequence[Tuple[str, str]] = ()) -> Diagnosis:
    """Judge what was seen.

    Parameters
    ----------
    evidence : Evidence
    cures : callable, optional
        Gives a finding the function that ``finding.apply(learn)`` calls, or None where no mechanical
        and safe cure exists.
    phrases : sequence of (str, str)
        What the checks say in fastai 1's terms, and how it is said in another's.

    Returns
    -------
    Diagnosis
    """
    found = [finding for check in checks.ALL_CHECKS for finding in _run_check(check, evidence)]
    figures = {f.cause for f in found if "said" not in f.evidence}  # better than the exception of the same cause
    found = [f for f in found if "said" not in f.evidence or f.cause not in figures]
    causes = {finding.cause for finding in found if finding.severity != "note"}
    reported = [finding for finding in found if not causes & set(checks.EXPLAINED_BY.get(finding.cause, ()))]
    known = [f for f in reported if f.cause != "unknown-failure"]
    reported = known if any(f.severity == "error" for f in known) else reported  # what failed is then explained
    reported.sort(key=lambda finding: (-SEVERITIES.index(finding.severity), _rank(finding.cause)))
    reported = [f for i, f in enumerate(reported)  # a cause once, but several metrics may have the same
            if f.cause.startswith("metric-") or f.cause not in {g.cause for g in reported[:i]}]
    for finding in reported:
        translate_finding(phrases, finding).cure = cures(finding) if cures is not None else None
    return Diagnosis(reported, evidence)


def translate_finding(phrases: Sequence[Tuple[str, str]], finding: Finding) -> Finding:
    """The same finding, its message and fix said as another fastai's users know them."""
    finding.message, finding.fix = _replace_phrases(phrases, finding.message), _replace_phrases(phrases, finding.fix)
    return finding


def _replace_phrases(phrases: Sequence[Tuple[str, str]], text: str) -> str:
    for known, instead in phrases:
        text = text.replace(known, instead)
    return text


def _rank(cause: str) -> int:
    return checks.CAUSE_ORDER.index(cause) if cause in checks.CAUSE_ORDER else len(checks.CAUSE_ORDER)


def _run_check(check: Callable[[Evidence], Any], evidence: Evidence) -> List[Finding]:
    found = check(evidence)
    return [] if found is None else [found] if isinstance(found, Finding) else list(found)
