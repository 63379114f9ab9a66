"""A comparison or a diagnosis -> one HTML page that loads nothing, or a fragment of one for a notebook.

Imports jinja2 when it renders. What comes from the user reaches the templates as plain values, and jinja2 escapes
all of them.
"""

import contextlib
import re
from base64 import b64encode
from datetime import date
from functools import lru_cache
from hashlib import sha256
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any, Callable, Dict, List, Optional

from fastai_hf_callback import __version__
from fastai_hf_callback.results.comparison import ComparisonResult, Difference
from fastai_hf_callback.results.diagnosis import DiagnosisResult
from fastai_hf_callback.results.evidence import Evidence

from .chart import Chart, build_chart
from .curves import ArmSeries, build_gap_series, build_series
from .scope import describe_scope
from .tables import build_epoch_table, build_evidence_rows, build_metric_rows
from .text import comparison_to_text, diagnosis_to_text
from .wording import (
    build_diagnosis_headline,
    describe_arms,
    describe_training,
    explain_verdict,
    format_figure,
    format_figures,
    format_number,
    get_headline,
    list_remarks,
)

__all__ = ["comparison_to_fragment", "comparison_to_page", "diagnosis_to_fragment", "diagnosis_to_page", "write_page"]


def comparison_to_page(comparison: ComparisonResult, title: str = "") -> str:
    """Render a whole page, with a switch for dark and light."""
    return _render_page(_build_comparison_context(comparison), title)


def diagnosis_to_page(diagnosis: DiagnosisResult, title: str = "") -> str:
    """Render a whole page, with a switch for dark and light."""
    return _render_page(_build_diagnosis_context(diagnosis), title)


def comparison_to_fragment(comparison: ComparisonResult) -> str:
    """Render the same for a notebook's output; its CSS affects nothing outside. Without jinja2, return the text."""
    return _render_fragment(comparison, _build_comparison_context, comparison_to_text)


def diagnosis_to_fragment(diagnosis: DiagnosisResult) -> str:
    """Render the same for a notebook's output; its CSS affects nothing outside. Without jinja2, return the text."""
    return _render_fragment(diagnosis, _build_diagnosis_context, diagnosis_to_text)


def write_page(page: str, path: Any = None) -> str:
    """Return the page, and write it to `path` where one is given."""
    if path is not None:
        Path(path).write_text(page, encoding="utf-8")
    return page


# -- what the templates get ----------------------------------------------------------------------------------------

_TONES = {0: "good", 1: "bad", 3: "stuck"}


def _build_comparison_context(comparison: ComparisonResult) -> Dict[str, Any]:
    names, rows, base_rates = build_epoch_table(comparison)
    return {
        "body": "comparison.html",
        "headline": get_headline(comparison),
        "tone": _TONES[comparison.exit_code],
        "sentences": explain_verdict(comparison),
        "remarks": list_remarks(comparison),
        "training": describe_training(comparison),
        "arms": describe_arms(comparison),
        "difference": comparison.difference and _build_difference_context(comparison.difference),
        "movements": comparison.movements,
        "pictures": [_build_charts(series) for series in build_series(comparison)],
        "names": names,
        "rows": rows,
        "base_rates": base_rates,
    }


def _build_difference_context(difference: Difference) -> Dict[str, Any]:
    left, right = difference.values
    apart = left - right if isinstance(left, float) and isinstance(right, float) else None
    return {
        "where": difference.where,
        "quantity": difference.quantity,
        "apart": apart,
        "values": list(zip(difference.arms, map(repr, difference.values))),
    }


def _build_charts(series: ArmSeries) -> List[Chart]:
    apart = build_gap_series(series)
    return [build_chart(series)] + ([build_chart(apart)] if apart is not None else [])


def _build_diagnosis_context(diagnosis: DiagnosisResult) -> Dict[str, Any]:
    evidence = diagnosis.evidence
    verdict, tone, sentences = build_diagnosis_headline(diagnosis)
    context: Dict[str, Any] = {
        "body": "diagnosis.html",
        "headline": verdict,
        "tone": tone,
        "sentences": sentences,
        "findings": [(finding, format_figures(finding.evidence)) for finding in diagnosis.findings],
        "scope": [],
        "metrics": [],
        "pictures": [],
        "planted": [],
        "planted_signal": "",
        "evidence": [],
    }
    if evidence is not None:
        context.update(
            scope=describe_scope(evidence),
            metrics=build_metric_rows(evidence),
            evidence=build_evidence_rows(evidence),
            pictures=[[build_chart(series)] for series in _build_history_series(evidence)],
            planted=[build_chart(series) for series in _build_planted_series(evidence)],
            planted_signal=evidence.substitution.signal if evidence.substitution else "",
        )
    return context


def _build_history_series(evidence: Evidence) -> List[ArmSeries]:
    """Build the series of what the last fit recorded."""
    if evidence.history is None:
        return []
    rates = {metric.name: metric.base_rate for metric in evidence.metrics}
    losses = evidence.history.losses
    steps = ArmSeries("train_loss", [(0, 0, i) for i in range(len(losses))], {"learner": list(losses)})
    epochs = [
        ArmSeries(name, [(0, i, -1) for i in range(len(values))], {"learner": list(values)}, rates.get(name))
        for name, values in evidence.history.metrics.items()
    ]
    return [series for series in [steps, *epochs] if series.positions]


def _build_planted_series(evidence: Evidence) -> List[ArmSeries]:
    """Build what the planted targets cost at each step, of the learner as it is and with parts replaced: one scale."""
    done = evidence.substitution
    if done is None or done.own is None or not done.own.costs:
        return []
    runs = {"learner": done.own.costs}
    if done.cured is not None:
        runs["replaced"] = done.cured.costs
    steps = max(len(costs) for costs in runs.values())
    arms = {arm: [costs[i] if i < len(costs) else None for i in range(steps)] for arm, costs in runs.items()}
    return [ArmSeries("what the planted targets cost", [(0, 0, i) for i in range(steps)], arms)]


# -- templates -----------------------------------------------------------------------------------------------------


def _render_page(context: Dict[str, Any], title: str) -> str:
    environment = _get_jinja_environment()
    script = environment.get_template("awake.js").render() + environment.get_template("theme.js").render()
    return environment.get_template("page.html").render(
        context, title=title, level=1, script=script, made=_describe_environment(), script_hash=_hash_script(script)
    )


def _describe_environment() -> Dict[str, str]:
    """Return the day and the versions that were installed: a page may be kept for years."""
    found = {"Python": python_version()}
    for package in ("torch", "fastai", "transformers", "pytorch-transformers"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return {
        "on": date.today().isoformat(),
        "by": __version__,
        "with_packages": ", ".join(f"{package} {its}" for package, its in found.items()),
    }


def _render_fragment(
    subject: Any, build_context: Callable[[Any], Dict[str, Any]], to_text: Callable[[Any], str]
) -> str:
    try:
        environment = _get_jinja_environment()
    except ImportError:
        return f"<pre>{escape(to_text(subject))}</pre>"
    return environment.get_template("fragment.html").render(build_context(subject), title="", level=3)


def _hash_script(script: str) -> str:
    """Hash a script: the page's content security policy allows the script with this hash and no other."""
    return "sha256-" + b64encode(sha256(script.encode("utf-8")).digest()).decode("ascii")


@lru_cache(maxsize=None)
def _get_jinja_environment() -> Any:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ImportError("a page is made with jinja2, which is not installed; write: pip install jinja2") from error
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_escape_control_characters,
    )
    environment.filters.update(format_number=format_number, format_figure=format_figure)
    return environment


_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def _escape_control_characters(value: Optional[Any]) -> Any:
    """Escape control characters, lone surrogates and marks that change the reading direction."""
    if isinstance(value, str) and _CONTROL_CHARACTERS.search(value):
        return type(value)(_CONTROL_CHARACTERS.sub(lambda found: ascii(found.group())[1:-1], value))
    return value
