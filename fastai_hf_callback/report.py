"""A ``Comparison`` or a ``Diagnosis`` -> text, JSON, HTML, a plot. Imports ``comparison``; matplotlib only to draw."""
import json
import math
import textwrap
from dataclasses import asdict
from html import escape
from typing import Any, Dict, List, Optional

from .comparison import Comparison, Movement

__all__ = ["comparison_as_text", "comparison_as_dict", "comparison_as_json", "comparison_as_html",
           "plot_comparison", "diagnosis_as_text", "diagnosis_as_json", "diagnosis_as_html"]


def comparison_as_text(comparison: Comparison) -> str:
    """Verdict, arms, and a table of what moved; plain text of about 100 columns."""
    return "\n".join([comparison.verdict, *_arm_lines(comparison), "", *_table(comparison), *_remarks(comparison)])


def comparison_as_dict(comparison: Comparison) -> Dict[str, Any]:
    """Everything, as plain dicts, lists and numbers."""
    return {
        "verdict": comparison.verdict,
        "exit_code": comparison.exit_code,
        "identical": comparison.identical,
        "moved": comparison.moved,
        "difference": comparison.difference and asdict(comparison.difference),
        "broken_difference": comparison.broken_difference and asdict(comparison.broken_difference),
        "noise": comparison.noise and asdict(comparison.noise),
        "movements": [asdict(movement) for movement in comparison.movements],
        "traces": {arm: trace.to_dict() for arm, trace in comparison.traces.items()},
    }


def comparison_as_json(comparison: Comparison) -> str:
    """Strict JSON; numbers that are not finite are the strings ``nan``, ``inf`` and ``-inf``."""
    return json.dumps(_strict(comparison_as_dict(comparison)), indent=1, allow_nan=False)


def comparison_as_html(comparison: Comparison) -> str:
    """The same table for a notebook."""
    colour = {0: "#1a7f37", 1: "#cf222e", 3: "#9a6700"}[comparison.exit_code]
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
                   for row in _cells(comparison.movements))
    head = "".join(f"<th>{escape(cell)}</th>" for cell in _HEAD)
    lines = "".join(f"<div>{escape(line.strip())}</div>"
                    for line in _arm_lines(comparison) + _remarks(comparison) if line)
    return (f"<div><b style='color:{colour}'>{escape(comparison.verdict)}</b>{lines}"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>")


def plot_comparison(comparison: Comparison, path: Any = None) -> Any:
    """Both arms' losses and metrics, their differences below.

    Parameters
    ----------
    comparison : Comparison
    path : path-like, optional
        Where to write the picture.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    names = [m.quantity for m in comparison.movements if m.quantity != "train_loss"]
    figure = Figure(figsize=(4.6 * (1 + len(names)), 5.6), layout="constrained") if _has_layout(Figure) else \
        Figure(figsize=(4.6 * (1 + len(names)), 5.6), constrained_layout=True)
    grid = figure.add_gridspec(2, 1 + len(names), height_ratios=(3, 1))
    for column, name in enumerate(["train_loss", *names]):
        above = figure.add_subplot(grid[0, column])
        below = figure.add_subplot(grid[1, column], sharex=above)
        _draw(above, below, comparison, name)
    figure.axes[0].legend(frameon=False)
    figure.suptitle(_shortened(comparison.verdict, 110))
    if path is not None:
        figure.savefig(path, dpi=130)
    return figure


# -- text --------------------------------------------------------------------------------------------------------

_HEAD = ("", "before, then each epoch", "excursion", "broken arm", "moved", "base rate", "")


def _arm_lines(comparison: Comparison) -> List[str]:
    callback = comparison.traces["callback"]
    seen = f"{len(callback.steps)} steps, {len(callback.epochs)} epoch(s), {len(callback.final_weights)} weight tensors"
    lines = []
    if "patched" in comparison.traces:
        same = f"bit for bit equal over {seen}" if comparison.identical else f"differ - {comparison.difference}"
        lines.append(f"  callback / patched loop   {same}")
    if "broken" in comparison.traces:
        lines.append(f"  callback / broken arm     {'differ, as they must' if comparison.proven else 'EQUAL'}"
                     f"{f' - {comparison.broken_difference}' if comparison.proven else ''}")
    return lines


def _table(comparison: Comparison) -> List[str]:
    rows = [list(_HEAD), *_cells(comparison.movements)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _cells(movements: List[Movement]) -> List[List[str]]:
    return [[m.quantity, _values(m), _number(m.excursion), _number(m.null), "yes" if m.moved else "no",
             _number(m.base_rate), "= the base rate" if m.at_base_rate else ""] for m in movements]


def _values(movement: Movement) -> str:
    """Up to five values; of more, the first two and the last two."""
    shown = [_number(value) for value in movement.values]
    shown = shown if len(shown) < 6 else [*shown[:2], "...", *shown[-2:]]
    return " > ".join(["-" * 8] * (movement.quantity == "train_loss") + shown)


def _remarks(comparison: Comparison) -> List[str]:
    glued = [m for m in comparison.movements if m.at_base_rate and not m.moved]
    if not glued or not comparison.moved:
        return []
    return [""] + [f"  {m.quantity} stands at {_number(m.values[-1])}, what a predictor that never reads the text "
                   f"scores, while the model learns: this metric cannot see it." for m in glued]


def _number(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.6f}"


# -- a diagnosis ---------------------------------------------------------------------------------------------------


def diagnosis_as_text(diagnosis: Any) -> str:
    """A verdict, then a block per finding; plain text."""
    lines = [_diagnosis_verdict(diagnosis)]
    for number, finding in enumerate(diagnosis.findings, 1):
        lines += ["", f"{number}. {finding.severity.upper()}  {finding.cause}",
                  *textwrap.wrap(finding.message, 100, initial_indent="   ", subsequent_indent="   ")]
        if finding.evidence:
            lines += textwrap.wrap("seen: " + _figures(finding.evidence), 100, initial_indent="   ",
                                   subsequent_indent="         ", break_long_words=False)
        lines.append(f"   fix:  {finding.fix}{_APPLY if finding.can_apply else ''}")
    return "\n".join(lines)


def diagnosis_as_json(diagnosis: Any) -> str:
    """Strict JSON; numbers that are not finite are the strings ``nan``, ``inf`` and ``-inf``."""
    findings = [{"cause": f.cause, "severity": f.severity, "message": f.message, "evidence": f.evidence, "fix": f.fix,
                 "can_apply": f.can_apply} for f in diagnosis.findings]
    evidence = diagnosis.evidence.to_dict() if diagnosis.evidence is not None else None
    return json.dumps(_strict({"healthy": diagnosis.healthy, "findings": findings, "evidence": evidence}), indent=1,
                      allow_nan=False, default=str)


def diagnosis_as_html(diagnosis: Any) -> str:
    """The same for a notebook."""
    colours = {"error": "#cf222e", "warning": "#9a6700", "note": "#57606a"}
    blocks = "".join(
        f"<li><b style='color:{colours[f.severity]}'>{f.severity}: {escape(f.cause)}</b><div>{escape(f.message)}</div>"
        f"<div><small>{escape(_figures(f.evidence))}</small></div><pre>{escape(f.fix)}</pre></li>"
        for f in diagnosis.findings)
    return f"<div><b>{escape(_diagnosis_verdict(diagnosis))}</b>{f'<ol>{blocks}</ol>' if blocks else ''}</div>"


_APPLY = "   [finding.apply(learn) does it]"


def _diagnosis_verdict(diagnosis: Any) -> str:
    worst = [f for f in diagnosis.findings if f.severity != "note"]
    if worst:
        return f"{len(worst)} finding(s), the most probable first: {worst[0].cause}"
    evidence = diagnosis.evidence
    if evidence is None:
        return "HEALTHY" if not diagnosis.findings else diagnosis.findings[0].cause
    looked = ", ".join(dict.fromkeys(evidence.looked_at)) or "nothing yet"
    missed = f"; could not look at {', '.join(evidence.not_looked_at)}" if evidence.not_looked_at else ""
    return f"HEALTHY: looked at {looked} in {evidence.seconds:.1f} s and found nothing that keeps metrics still{missed}"


def _figures(evidence: Dict[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in evidence.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# -- JSON ----------------------------------------------------------------------------------------------------------


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


# -- plot ----------------------------------------------------------------------------------------------------------

_STYLES = {"callback": dict(color="#0969da", lw=2.4), "patched": dict(color="#fb8f44", lw=1.2, ls="--"),
           "broken": dict(color="#8c959f", lw=1.0, ls=":")}


def _draw(above: Any, below: Any, comparison: Comparison, name: str) -> None:
    series = {arm: _series(comparison, arm, name) for arm in comparison.traces}
    for arm, values in series.items():
        above.plot(range(len(values)), values, label=arm, marker="" if len(values) > 30 else "o", ms=3, **_STYLES[arm])
    rate = next((m.base_rate for m in comparison.movements if m.quantity == name), None)
    if rate is not None:
        above.axhline(rate, color="#57606a", lw=0.8)
        above.annotate("base rate", (0, rate), fontsize=8, color="#57606a", va="bottom")
    above.set_title(name, fontsize=10)
    if "patched" in series:
        gaps = [a - b for a, b in zip(series["callback"], series["patched"])]
        below.plot(range(len(gaps)), gaps, color="#cf222e", lw=1)
        below.set_ylabel("callback - patched", fontsize=8)
    below.xaxis.get_major_locator().set_params(integer=True)
    below.set_xlabel("step" if name == "train_loss" else "epoch (0: before training)", fontsize=8)


def _series(comparison: Comparison, arm: str, name: str) -> List[float]:
    trace = comparison.traces[arm]
    if name == "train_loss":
        return [step.loss for step in trace.steps]
    epochs = ([trace.before] if trace.before else []) + trace.epochs
    values = [e.valid_loss if name == "valid_loss" else e.metrics.get(name) for e in epochs]
    return [v for v in values if v is not None]


def _has_layout(figure_class: Any) -> bool:
    import inspect
    return "layout" in inspect.signature(figure_class.__init__).parameters


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit - 1] + "…"
