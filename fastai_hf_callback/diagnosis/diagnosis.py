"""``Evidence`` -> ``Diagnosis``: the checks' findings, ranked, and how they are shown."""

import os
from dataclasses import replace
from typing import List, Optional, Union

from fastai_hf_callback.report.json import diagnosis_to_json
from fastai_hf_callback.report.page import diagnosis_to_fragment, diagnosis_to_page, write_page
from fastai_hf_callback.report.text import diagnosis_to_text
from fastai_hf_callback.results.diagnosis import DiagnosisResult
from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import SEVERITIES, Finding

from . import checks
from .checks.failures import classify_exception
from .fixes.adapter_fixes import keep_base_frozen
from .fixes.fix_table import FixTable, resolve_fix

__all__ = ["Diagnosis", "build_diagnosis", "explain_exception"]


class Diagnosis(DiagnosisResult):
    """What was found, most probable first.

    Attributes
    ----------
    findings : list of Finding
        Errors first, then warnings, then notes; within each the one that explains the others first.
    evidence : Evidence or None
        What was measured, in numbers.
    """

    def __str__(self) -> str:
        return diagnosis_to_text(self)

    def to_json(self) -> str:
        """Return findings and evidence as strict JSON."""
        return diagnosis_to_json(self)

    def to_html(self, path: Union[str, "os.PathLike[str]", None] = None, title: str = "") -> str:
        """Render verdict, findings with their fixes, metrics and curves as one self-contained page; needs jinja2.

        Parameters
        ----------
        path : path-like, optional
            Where to write the page.
        title : str
            The page's title: what was examined.

        Returns
        -------
        str
            The page. It loads nothing and works without scripts; with them, buttons copy the fixes and the arrow
            keys read the curves.
        """
        return write_page(diagnosis_to_page(self, title), path)

    def _repr_html_(self) -> str:
        return diagnosis_to_fragment(self)


def build_diagnosis(evidence: Evidence, fixes: Optional[FixTable] = None) -> Diagnosis:
    """Run the checks on the evidence and rank their findings.

    Parameters
    ----------
    evidence : Evidence
    fixes : mapping of str to Fix, optional
        The fastai's table: how an action is written there, and what ``finding.apply(learn)`` calls. Without a table a
        finding's fix is the name of its action, and nothing can be applied.

    Returns
    -------
    Diagnosis
    """
    adapted = evidence.weights is not None and evidence.weights.has_adapters
    found = [resolve_fix(finding, fixes) for check in checks.ALL_CHECKS for finding in _run_check(check, evidence)]
    found = [keep_base_frozen(finding, adapted) for finding in found]
    measured = {f.cause for f in found if "message" not in f.evidence}  # better than the exception of the same cause
    found = [f for f in found if "message" not in f.evidence or f.cause not in measured]
    found = _drop_if_seen_now(found, evidence)
    causes = {finding.cause for finding in found if finding.severity != "note"}
    reported = [finding for finding in found if not causes & set(checks.EXPLAINED_BY.get(finding.cause, ()))]
    known = [f for f in reported if f.cause != "unknown-failure"]
    reported = known if any(f.severity == "error" for f in known) else reported  # the failure is then explained
    reported.sort(key=lambda finding: (-SEVERITIES.index(finding.severity), _rank(finding.cause)))
    reported = [
        f
        for i, f in enumerate(reported)  # each cause once, but several metrics may have the same
        if f.cause.startswith("metric-") or f.cause not in {g.cause for g in reported[:i]}
    ]
    return Diagnosis(reported, evidence)


def _drop_if_seen_now(found: List[Finding], evidence: Evidence) -> List[Finding]:
    """Leave out what ``Doctor`` saw in the last fit where one of its causes is seen now, too."""
    again = set(evidence.watched or []) & {finding.cause for finding in found}
    return [finding for finding in found if not (again and finding.cause == "seen-in-the-last-fit")]


def _rank(cause: str) -> int:
    return checks.CAUSE_ORDER.index(cause) if cause in checks.CAUSE_ORDER else len(checks.CAUSE_ORDER)


def _run_check(check: checks.Check, evidence: Evidence) -> List[Finding]:
    found = check(evidence)
    return [] if found is None else [found] if isinstance(found, Finding) else list(found)


def explain_exception(exception: BaseException, fixes: Optional[FixTable] = None) -> Diagnosis:
    """Explain an exception with one finding; parameters as in :func:`build_diagnosis`."""
    finding = resolve_fix(classify_exception(exception, fixes), fixes)
    # Nothing was seen of the learner itself, so nothing is offered that would change it.
    return Diagnosis([replace(finding, fix_function=None)])
