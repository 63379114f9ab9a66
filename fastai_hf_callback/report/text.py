"""A ``Comparison`` or a ``Diagnosis`` -> plain text of about 100 columns. Imports ``words``, ``looks``."""
import textwrap
from typing import Any, List

from fastai_hf_callback.comparison.comparison import Comparison, Movement
from fastai_hf_callback.results.evidence import Evidence
from .scope import looks
from .wording import arm_lines, diagnosis_verdict, figures, number, remarks

__all__ = ["comparison_as_text", "diagnosis_as_text"]


def comparison_as_text(comparison: Comparison) -> str:
    """Verdict, arms, and a table of what moved."""
    arms = [f"  {arms:23}   {said}" for arms, said in arm_lines(comparison)]
    below = [f"  {remark}" for remark in remarks(comparison)]
    return "\n".join([comparison.verdict, *arms, "", *_table(comparison), *([""] if below else []), *below])


def diagnosis_as_text(diagnosis: Any) -> str:
    """A verdict; where it is a healthy one, how far it reaches; then a block per finding."""
    lines = [diagnosis_verdict(diagnosis)]
    if diagnosis.healthy and diagnosis.evidence is not None:
        lines += _reach(diagnosis.evidence)
    for place, finding in enumerate(diagnosis.findings, 1):
        lines += ["", f"{place}. {finding.severity.upper()}  {finding.cause}",
                  *textwrap.wrap(finding.message, 100, initial_indent="   ", subsequent_indent="   ")]
        if figures(finding.evidence):
            seen = ", ".join(f"{name} {figure}" for name, figure in figures(finding.evidence))
            lines += textwrap.wrap("seen: " + seen, 100, initial_indent="   ", subsequent_indent="         ",
                                   break_long_words=False)
        lines.append(f"   fix:  {finding.fix}{_APPLY if finding.can_apply else ''}")
    return "\n".join(lines)


def _reach(evidence: Evidence) -> List[str]:
    return [line for name, said in looks(evidence)
            for line in textwrap.wrap(f"{name:12}  {said}", 100, initial_indent="  ", subsequent_indent=" " * 16)]


_APPLY = "   [finding.apply(learn) does it]"

_HEAD = ("", "before, then each epoch", "excursion", "broken arm", "moved", "base rate", "")


def _table(comparison: Comparison) -> List[str]:
    rows = [list(_HEAD), *_cells(comparison.movements)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _cells(movements: List[Movement]) -> List[List[str]]:
    return [[m.quantity, _values(m), number(m.excursion), number(m.null), "yes" if m.moved else "no",
             number(m.base_rate), "= the base rate" if m.at_base_rate else ""] for m in movements]


def _values(movement: Movement) -> str:
    """Up to five values; of more, the first two and the last two."""
    shown = [number(value) for value in movement.values]
    shown = shown if len(shown) < 6 else [*shown[:2], "...", *shown[-2:]]
    return " > ".join(["-" * 8] * (movement.quantity == "train_loss") + shown)
