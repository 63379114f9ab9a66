"""What a part of the benchmark says on the page: bars, tables, sentences."""

from statistics import median
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from timing import ratios


class Bar(NamedTuple):
    """One line of the first table.

    Attributes
    ----------
    what, figure : str
    limit : str
        Empty where none was set.
    met : bool, or None where nothing was measured
    reason : str
        Why it was missed, or under which condition it holds.
    """

    what: str
    limit: str
    figure: str
    met: Optional[bool]
    reason: str = ""


class Section(NamedTuple):
    title: str
    bars: List[Bar]
    lines: List[str]


class Plot(NamedTuple):
    """Bars or lines of one panel."""

    title: str
    draw: Callable[[Any], None]


def table(head: str, rows: Sequence[Sequence[Any]]) -> List[str]:
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1)]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]


def ranged(figures: Sequence[float], form: str = ".2f") -> str:
    """Median (lowest - highest)."""
    return f"{median(figures):{form}} ({min(figures):{form}} - {max(figures):{form}})"


def arms_table(
    what: str, found: Dict[str, Sequence[float]], base: str, form: str = ".2f", inverse: bool = False, of: str = ".3f"
) -> List[str]:
    """Each arm's median and range, and its ratio to `base` round by round (`base` over it where `inverse`)."""
    over = f"{base} ÷ this" if inverse else f"÷ {base}"
    rows = [
        (
            arm,
            ranged(figures, form),
            ranged(ratios(found[base], figures) if inverse else ratios(figures, found[base]), of),
        )
        for arm, figures in found.items()
    ]
    return table(f"arm | {what}: median (lowest - highest) | {over}: median of rounds (lowest - highest)", rows)
