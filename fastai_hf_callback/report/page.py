"""A ``Comparison`` or a ``Diagnosis`` -> one HTML page that loads nothing, or a piece of one for a notebook.

Imports ``chart``, ``looks``, ``tables``, ``words``; jinja2 when it renders. What comes from the user reaches the
templates as plain values, and jinja2 escapes every one.
"""
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
from fastai_hf_callback.comparison.comparison import Comparison, Difference
from .chart import Chart, chart_of
from .scope import looks
from .curves import Series, gap, series_of
from .tables import epoch_table, evidence_rows, metric_rows
from .wording import arm_lines, diagnosis_headline, figures, headline, meaning, number, remarks, short, training

__all__ = ["comparison_as_fragment", "comparison_as_page", "diagnosis_as_fragment", "diagnosis_as_page", "written"]


def comparison_as_page(comparison: Comparison, title: str = "") -> str:
    """A whole page, with a switch for dark and light."""
    return _page(_told_of_comparison(comparison), title)


def diagnosis_as_page(diagnosis: Any, title: str = "") -> str:
    """A whole page, with a switch for dark and light."""
    return _page(_told_of_diagnosis(diagnosis), title)


def comparison_as_fragment(comparison: Comparison) -> str:
    """The same for a notebook's output; its rules reach nothing outside. Without jinja2, the text."""
    return _fragment(comparison, _told_of_comparison)


def diagnosis_as_fragment(diagnosis: Any) -> str:
    """The same for a notebook's output; its rules reach nothing outside. Without jinja2, the text."""
    return _fragment(diagnosis, _told_of_diagnosis)


def written(page: str, path: Any = None) -> str:
    """The page, written to `path` where there is one."""
    if path is not None:
        Path(path).write_text(page, encoding="utf-8")
    return page


# -- what is told --------------------------------------------------------------------------------------------------

_TONES = {0: "good", 1: "bad", 3: "stuck"}


def _told_of_comparison(comparison: Comparison) -> Dict[str, Any]:
    names, rows, base_rates = epoch_table(comparison)
    return {"body": "comparison.html", "headline": headline(comparison), "tone": _TONES[comparison.exit_code],
            "sentences": meaning(comparison), "remarks": remarks(comparison), "training": training(comparison),
            "arms": arm_lines(comparison),
            "difference": comparison.difference and _told_of_difference(comparison.difference),
            "movements": comparison.movements, "pictures": [_pictures(series) for series in series_of(comparison)],
            "names": names, "rows": rows, "base_rates": base_rates}


def _told_of_difference(difference: Difference) -> Dict[str, Any]:
    left, right = difference.values
    apart = left - right if isinstance(left, float) and isinstance(right, float) else None
    return {"where": difference.where, "quantity": difference.quantity, "apart": apart,
            "values": list(zip(difference.arms, map(repr, difference.values)))}


def _pictures(series: Series) -> List[Chart]:
    apart = gap(series)
    return [chart_of(series)] + ([chart_of(apart)] if apart is not None else [])


def _told_of_diagnosis(diagnosis: Any) -> Dict[str, Any]:
    evidence = diagnosis.evidence
    said, tone, sentences = diagnosis_headline(diagnosis)
    told = {"body": "diagnosis.html", "headline": said, "tone": tone, "sentences": sentences,
            "findings": [(finding, figures(finding.evidence)) for finding in diagnosis.findings],
            "looks": [], "metrics": [], "pictures": [], "evidence": []}
    if evidence is not None:
        told.update(looks=looks(evidence), metrics=metric_rows(evidence), evidence=evidence_rows(evidence),
                    pictures=[[chart_of(series)] for series in _history(evidence)])
    return told


def _history(evidence: Any) -> List[Series]:
    """What the last fit recorded."""
    if evidence.history is None:
        return []
    rates = {metric.name: metric.base_rate for metric in evidence.metrics}
    losses = evidence.history.losses
    steps = Series("train_loss", [(0, 0, i) for i in range(len(losses))], {"learner": list(losses)})
    epochs = [Series(name, [(0, i, -1) for i in range(len(values))], {"learner": list(values)}, rates.get(name))
              for name, values in evidence.history.metrics.items()]
    return [series for series in [steps, *epochs] if series.places]


# -- templates -----------------------------------------------------------------------------------------------------


def _page(told: Dict[str, Any], title: str) -> str:
    environment = _environment()
    script = environment.get_template("awake.js").render() + environment.get_template("theme.js").render()
    return environment.get_template("page.html").render(told, title=title, level=1, script=script, made=_made(),
                                                        script_hash=_hash(script))


def _made() -> Dict[str, str]:
    """The day, and what was installed: a page may be kept for years."""
    found = {"Python": python_version()}
    for package in ("torch", "fastai", "transformers", "pytorch-transformers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            pass
    return {"on": date.today().isoformat(), "by": __version__,
            "beside": ", ".join(f"{package} {its}" for package, its in found.items())}


def _fragment(subject: Any, tell: Callable[[Any], Dict[str, Any]]) -> str:
    try:
        environment = _environment()
    except ImportError:
        return f"<pre>{escape(str(subject))}</pre>"
    return environment.get_template("fragment.html").render(tell(subject), title="", level=3)


def _hash(script: str) -> str:
    """By which the page's policy lets this script run, and no other."""
    return "sha256-" + b64encode(sha256(script.encode("utf-8")).digest()).decode("ascii")


@lru_cache(maxsize=None)
def _environment() -> Any:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ImportError("a page is made with jinja2, which is not installed; write: pip install jinja2") from error
    environment = Environment(loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, finalize=_writable)
    environment.filters.update(number=number, short=short)
    return environment


_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def _writable(value: Optional[Any]) -> Any:
    """Control characters, halves of surrogate pairs and marks that turn the reading direction, as they are written."""
    if isinstance(value, str) and _CONTROL.search(value):
        return type(value)(_CONTROL.sub(lambda found: ascii(found.group())[1:-1], value))
    return value
