"""A comparison or a diagnosis -> plain text of about 100 columns."""

import textwrap
from typing import List, Tuple

from fastai_hf_callback.results.comparison import ComparisonResult, Movement
from fastai_hf_callback.results.diagnosis import DiagnosisResult

from .scope import describe_gaps, describe_scope
from .wording import (
    build_diagnosis_verdict,
    describe_arms,
    format_figures,
    format_number,
    list_remarks,
    offer_deep_diagnosis,
)

__all__ = ["comparison_to_text", "diagnosis_to_text"]


def comparison_to_text(comparison: ComparisonResult) -> str:
    """Format the verdict, the arms, and a table of what moved."""
    arms = [f"  {arms:23}   {description}" for arms, description in describe_arms(comparison)]
    below = [f"  {remark}" for remark in list_remarks(comparison)]
    return "\n".join([comparison.verdict, *arms, "", *_format_table(comparison), *([""] if below else []), *below])


def diagnosis_to_text(diagnosis: DiagnosisResult) -> str:
    """Format the verdict; where nothing worse than a note was found, what was examined; then a block per finding."""
    lines = [build_diagnosis_verdict(diagnosis)]
    if diagnosis.evidence is not None:
        scope = describe_scope if not diagnosis.at_least("warning") else describe_gaps
        lines += _format_scope(scope(diagnosis.evidence))
        offer = offer_deep_diagnosis(diagnosis)
        lines += _format_scope([("in doubt", offer)] if offer else [])
    for position, finding in enumerate(diagnosis.findings, 1):
        lines += [
            "",
            f"{position}. {finding.severity.upper()}  {finding.cause}",
            *textwrap.wrap(finding.message, 100, initial_indent="   ", subsequent_indent="   "),
        ]
        if format_figures(finding.evidence):
            measured = ", ".join(f"{name} {figure}" for name, figure in format_figures(finding.evidence))
            lines += textwrap.wrap(
                "seen: " + measured, 100, initial_indent="   ", subsequent_indent="         ", break_long_words=False
            )
        lines.append(f"   fix:  {finding.fix}{_APPLY_HINT if finding.can_apply else ''}")
        if finding.tried:
            lines += textwrap.wrap(finding.tried, 100, initial_indent="   trial: ", subsequent_indent="          ")
    return "\n".join(lines)


def _format_scope(scope: List[Tuple[str, str]]) -> List[str]:
    return [
        line
        for name, description in scope
        for line in textwrap.wrap(f"{name:12}  {description}", 100, initial_indent="  ", subsequent_indent=" " * 16)
    ]


_APPLY_HINT = "   [finding.apply(learn) does it]"

_HEADER = ("", "before, then each epoch", "range", "broken arm", "moved", "base rate", "")


def _format_table(comparison: ComparisonResult) -> List[str]:
    rows = [list(_HEADER), *_format_rows(comparison.movements)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _format_rows(movements: List[Movement]) -> List[List[str]]:
    return [
        [
            m.quantity,
            _format_values(m),
            format_number(m.value_range),
            format_number(m.broken_range),
            "yes" if m.moved else "no",
            format_number(m.base_rate),
            "= the base rate" if m.at_base_rate else "",
        ]
        for m in movements
    ]


def _format_values(movement: Movement) -> str:
    """Format up to five values; of more, the first two and the last two."""
    shown = [format_number(value) for value in movement.values]
    shown = shown if len(shown) < 6 else [*shown[:2], "...", *shown[-2:]]
    return " > ".join(["-" * 8] * (movement.quantity == "train_loss") + shown)
