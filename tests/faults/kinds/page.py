"""Asks about healthy learners of the other kinds, and writes ``docs/evidence/healthy-kinds.md``.

    python -m tests.faults.kinds.page [--runs 240] [--seed N] [--only KIND] [--jobs 2] [--rows FILE] [--out FILE]

Each result is written to ``--rows`` as soon as it is there, and what the file has already is not asked again: a run
that was broken off goes on. The file is of one state of the code; begin another after a change.
"""

import argparse
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, Dict, List, Tuple

import torch

from tests.faults.page import DOCS, MARK, evaluate_all

from .registry import KINDS
from .runs import Row, evaluate_run, make_runs

RUNS = 240
# Every draw before the one shown: seed, runs, false alarms, what was raised and mended.
EARLIER_DRAWS = [
    (4711, 240, 0, "none"),
    (
        233326693,
        104,
        2,
        "`metric-at-other-positions` of spans' two ends, which are no positions; `weights-diverged` of a model that "
        "gave the first rows, all of one target, the right answer",
    ),
]
Case = Tuple[int, int, str, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; all cores unless told")
    parser.add_argument("--rows", type=Path, help="where the single results are written, a line of JSON each")
    parser.add_argument("--out", type=Path, default=DOCS / "healthy-kinds.md")
    arguments = parser.parse_args()
    rows = arguments.rows or Path("build") / f"healthy-kinds-{arguments.seed}.jsonl"
    rows.parent.mkdir(parents=True, exist_ok=True)
    cases = [(arguments.seed, arguments.runs, arguments.only, i) for i in range(arguments.runs)]
    results = evaluate_all(_evaluate_case, cases, arguments.jobs, rows)
    page = write_page(results, arguments)
    print(page.split("## Every draw")[0])
    arguments.out.write_text(page, encoding="utf-8")


_made: Dict[Tuple[int, int, str], List[Any]] = {}


def _evaluate_case(case: Case) -> Row:
    *drawn, i = case
    key = tuple(drawn)
    if key not in _made:
        _made[key] = make_runs(*drawn)
    return evaluate_run(_made[key][i])


# -- the page ----------------------------------------------------------------------------------------------------


def write_page(results: List[Row], arguments: Any) -> str:
    false = [row for row in results if is_false_alarm(row)]
    only = f" --only {arguments.only!r}" if arguments.only else ""
    lines = [
        "# The doctor on healthy learners of every other kind",
        "",
        MARK,
        "",
        f"{len(results)} healthy runs of {len(KINDS)} kinds, drawn by seed {arguments.seed}, each asked before the "
        f"fit, watched, and asked after it: **{len(false)} false alarms** (warnings or errors). Made by `python -m "
        f"tests.faults.kinds.page --runs {arguments.runs} --seed {arguments.seed}{only}`. Python "
        f"{platform.python_version()}, torch {torch.__version__}, fastai {version('fastai')}, transformers "
        f"{version('transformers')}.",
        "",
        "| kind | runs | with a false alarm | in which the loss fell | not all could be looked at |",
        "|---|---|---|---|---|",
        *(_summarize(kind.name, results) for kind in KINDS),
        "",
        "## False alarms",
        "",
        *([line for row in false for line in _describe_alarms(row)] or ["None."]),
        "",
        "## Earlier draws",
        "",
        "Each with the state of its day; what raised an alarm was mended, and all drawn anew.",
        "",
        "| seed | runs | with a false alarm | alarms |",
        "|---|---|---|---|",
        *(f"| {seed} | {runs} | {alarms} | {mended} |" for seed, runs, alarms, mended in EARLIER_DRAWS),
        "",
        "## Every draw",
        "",
        "Alarms before, while and after; the training loss (fastai's, smoothed), of the first steps and the last.",
        "",
        "| | kind | drawn | alarms | loss | notes |",
        "|---|---|---|---|---|---|",
        *(_list_draw(i, row) for i, row in enumerate(results, 1)),
    ]
    return "\n".join(lines) + "\n"


def is_false_alarm(row: Row) -> bool:
    """Whether a warning or an error was raised; a judge that breaks has judged wrongly."""
    return "broke" in row or any(row["alarms"].values())


def _summarize(kind: str, results: List[Row]) -> str:
    mine = [row for row in results if "broke" not in row and row["spec"]["kind"] == kind]
    fell, doubts = sum(row["loss"][1] < row["loss"][0] for row in mine), sum(bool(row["not looked at"]) for row in mine)
    return f"| {kind} | {len(mine)} | {sum(map(is_false_alarm, mine))} | {fell} | {doubts} |"


def _describe_alarms(row: Row) -> List[str]:
    if "broke" in row:
        return [f"- {row['case']}: {row['broke']}"]
    spec = ", ".join(f"{name} {value}" for name, value in row["spec"].items())
    return [f"- {spec}", *(f"  - {when}: {line}" for when, lines in row["alarms"].items() for line in lines)]


def _list_draw(i: int, row: Row) -> str:
    if "broke" in row:
        return f"| {i} | {row['case']} | | broke | | {row['broke']} |"
    drawn = ", ".join(f"{name} {value}" for name, value in row["spec"].items() if name != "kind")
    alarms = " / ".join(str(len(lines)) for lines in row["alarms"].values())
    loss = " > ".join(map(str, row["loss"]))
    return f"| {i} | {row['spec']['kind']} | {drawn} | {alarms} | {loss} | {', '.join(row['notes'])} |"


if __name__ == "__main__":
    main()
