"""``make reported``: every reported fault, judged on the fastai that is installed.

    python -m tests.faults.reported.page [--only NAME] [--jobs 2] [--rows FILE] [--out docs/evidence/faults-reported.md]

With ``--rows`` each result is written as soon as it is there, and a run that was broken off goes on. ``--first COMMIT``
writes ``first_run.json`` instead of the page: once, of the package as it was when the catalogue was written.
"""

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch

from tests.faults.page import evaluate_all, pretrain_all, share
from tests.faults.reported.catalogue import KINDS, all_cases
from tests.faults.reported.evaluation import (
    MODES,
    Row,
    causes,
    evaluate_kind,
    hurts,
    is_found,
    is_part_first,
    measure_harm,
)
from tests.faults.reported.kind import PARTS, Kind
from tests.faults.stacks import stack

FIRST_RUN = Path(__file__).with_name("first_run.json")
LATER_RUNS = Path(__file__).with_name("later_runs.json")
WANTED = {("diagnose", is_found): ".9", ("deep", is_found): ".97", ("diagnose", is_part_first): ".9"}
KEPT = ("name", "architecture", "part", "broke")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; all cores unless told")
    parser.add_argument("--rows", type=Path, help="where the single results are written, a line of JSON each")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--first", default="", help="the commit whose figures the first run's are")
    arguments = parser.parse_args()
    cases = [case for case in all_cases() if arguments.only in case[0]]
    pretrain_all([architecture for _, architecture in cases], arguments.jobs)
    rows = judged(evaluate_kind, "said", cases, arguments)
    if arguments.first:
        FIRST_RUN.write_text(first_run(rows, arguments.first), encoding="utf-8")
    page = written(rows, judged(measure_harm, "harm", cases, arguments))
    print(page.split("## The kinds")[0])
    if arguments.out:
        arguments.out.write_text(page, encoding="utf-8")


def judged(judge: Any, what: str, cases: List[Any], arguments: Any) -> List[Row]:
    """What `judge` says of each case; the results of each kind of judgement in a file of their own."""
    rows = arguments.rows and arguments.rows.with_suffix(f".{what}{arguments.rows.suffix}")
    found = evaluate_all(_Case(judge), cases, arguments.jobs, rows)
    return [{**row, "name": name, "architecture": a, "part": _part(name)} for row, (name, a) in zip(found, cases)]


class _Case:
    """`judge` of a case, for another process."""

    def __init__(self, judge: Any):
        self.judge = judge

    def __call__(self, case: Any) -> Row:
        return self.judge(*case)


def _part(name: str) -> str:
    return next(one.part for one in KINDS if one.name == name)


def first_run(rows: List[Row], commit: str) -> str:
    """Of each case its causes and parts, without the messages."""
    kept = [
        {**{key: row[key] for key in KEPT if key in row}, **{m: [f[:2] for f in row[m]] for m in MODES if m in row}}
        for row in rows
    ]
    lines = ",\n".join(json.dumps(row) for row in kept)
    return f'{{"commit": {json.dumps(commit)}, "stack": {json.dumps(stack.NAME)}, "rows": [\n{lines}\n]}}\n'


# -- the page ----------------------------------------------------------------------------------------------------


def written(rows: List[Row], harm: List[Row]) -> str:
    first: Dict[str, Any] = json.loads(FIRST_RUN.read_text(encoding="utf-8")) if FIRST_RUN.is_file() else {}
    kinds = {row["name"] for row in rows}
    lines = [
        f"# Faults that were reported, on {stack.NAME}",
        "",
        "A second catalogue, of faults that people met: each from a public report or from a library's own "
        "documentation, none of which [the first catalogue](faults-fastai2.md) holds. It was written and committed "
        "before anything was mended for it. Below the figures of `make reported STACK=v2`: "
        f"{len(kinds)} kinds on two architectures each ({len(rows)} cases), each planted in a learner that learns "
        "without it. `diagnose` is asked after the fit. *Found*: it says more than notes. *Right part first*: "
        "its first finding points to the part of the learner in which the fault is. "
        f"Python {platform.python_version()}, torch {torch.__version__}{stack.VERSIONS}.",
        "",
        "## Figures",
        "",
        *_figures(rows),
        "",
        "By part:",
        "",
        *_by_part(rows),
        "",
        "What was missed, or pointed elsewhere:",
        "",
        *_misses(rows),
        "",
        "## The first run",
        "",
        *_first(first),
        "",
        "## Later runs",
        "",
        *_later(),
        "",
        "## The kinds",
        "",
        "*Sound* and *broken*: what the learner is worth after the same fit without the fault and with it (accuracy, "
        "mean recall or explained variance; for a metric, what it printed beside what is so).",
        "",
        "| kind | part | reported | what was seen | sound, broken | said first |",
        "|---|---|---|---|---|---|",
        *[_line(one, rows, harm) for one in KINDS if one.name in kinds],
    ]
    return "\n".join(lines) + "\n"


def _figures(rows: List[Row]) -> List[str]:
    modes = [mode for mode in ("diagnose", "deep") if any(mode in row for row in rows)]
    return [
        "| figure | wanted | here |",
        "|---|---|---|",
        *[
            f"| {what}, `{_call(mode)}` | {WANTED.get((mode, right), '')} | {share(rows, _judge(right, mode))} |"
            for mode in modes
            for what, right in (("found", is_found), ("right part first", is_part_first))
        ],
    ]


def _judge(right: Any, mode: str) -> Any:
    return lambda row: right(row, mode)


def _call(mode: str) -> str:
    return "diagnose(learn, deep=True)" if mode == "deep" else "diagnose(learn)"


def _by_part(rows: List[Row]) -> List[str]:
    lines = ["| part | cases | found | right part first |", "|---|---|---|---|"]
    for part in PARTS:
        mine = [row for row in rows if row["part"] == part]
        lines.append(f"| {part} | {len(mine)} | {share(mine, is_found)} | {share(mine, is_part_first)} |")
    return lines


def _misses(rows: List[Row]) -> List[str]:
    wrong: Dict[str, List[Row]] = {}
    for row in rows:
        if not is_part_first(row):
            wrong.setdefault(row["name"], []).append(row)
    return [f"- `{name}` ({found[0]['part']}): {_heard(found)}" for name, found in wrong.items()] or ["- nothing"]


def _heard(rows: List[Row]) -> str:
    return "; ".join(sorted({row.get("broke") or ", ".join(causes(row)[:3]) or "nothing" for row in rows}))


def _first(first: Dict[str, Any]) -> List[str]:
    if not first:
        return ["None is kept."]
    return [
        f"Of commit {first['commit']}, as the catalogue was written and before anything was mended, on "
        f"{first['stack']}:",
        "",
        *_figures(first["rows"]),
        "",
        *_by_part(first["rows"]),
        "",
        *_misses(first["rows"]),
    ]


def _later() -> List[str]:
    """Of each whole run since the first, in their order: when it was made, of what, and its figures."""
    runs = json.loads(LATER_RUNS.read_text(encoding="utf-8")) if LATER_RUNS.is_file() else []
    lines = [
        f"| {run['date']} | {run['mended']} | {share(run['rows'], is_found)} | {share(run['rows'], is_part_first)} |"
        for run in runs
    ]
    head = ["| date | what was mended since the run before | found | right part first |", "|---|---|---|---|"]
    return [*head, *lines] if lines else ["None yet."]


def _line(one: Kind, rows: List[Row], harm: List[Row]) -> str:
    worth = "; ".join(_worth(row) for row in harm if row["name"] == one.name)
    said = "; ".join(sorted({(causes(row) or ["nothing"])[0] for row in rows if row["name"] == one.name}))
    return f"| `{one.name}` | {one.part} | {one.source} | {one.saw} | {worth} | {said} |"


def _worth(row: Row) -> str:
    if "broke" in row:
        return str(row["broke"])
    shown: Optional[str] = f"{row['sound']:.2f}, {row['broken']:.2f}"
    if "broken printed" in row:
        shown = f"{row['broken']:.2f}, printed {row['broken printed']:.2f}"
    return f"{shown}{'' if hurts(row) else ' (no harm)'}"


if __name__ == "__main__":
    main()
