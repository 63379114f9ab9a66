"""The advice of the catalogue of failures for the installed fastai; for errors of one line."""

import fastai_hf_callback
from fastai_hf_callback.diagnosis.checks.failures import classify_exception
from fastai_hf_callback.results.finding import Finding

__all__ = ["suggest_fix"]


def suggest_fix(exception: BaseException) -> str:
    """Return ``"; " + what to write`` where the catalogue knows this failure, else an empty string."""
    finding = _explain(exception)
    return f"; {finding.fix}" if finding.fix and finding.cause != "unknown-failure" else ""


def _explain(exception: BaseException) -> Finding:
    try:
        (finding,) = fastai_hf_callback.explain(exception).findings
    except Exception:  # the import that failed may be fastai's own
        return classify_exception(exception)
    return finding
