"""``make faults``: every seeded fault and the healthy controls, judged on the fastai that is installed.

    python -m tests.faults.page [--controls 320] [--only NAME] [--jobs 2] [--rows FILE] [--out docs/evidence/faults.md]

It takes an hour and more. With ``--rows`` each result is written as soon as it is there, and what the file has already
is not judged again: a run that was broken off goes on. The file is of one state of the code; begin another after a
change.
"""

import argparse
import ast
import json
import logging
import os
import re
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

import torch

from tests.faults.catalogue import FAULTS, all_cases, held_out_cases
from tests.faults.cause_descriptions import CAUSES
from tests.faults.evaluation import Row, evaluate_control, evaluate_fault
from tests.faults.healthy_runs import controls
from tests.faults.one_fastai_only import ONLY_ON
from tests.faults.stacks import stack
from tests.faults.synthetic_texts import PRETRAINED, pretrain

CONTROLS, ALL_OF_THEM = 320, 99
DOCS = Path(__file__).resolve().parents[2] / "docs" / "evidence"
# For the tests of the documentation (tests/docs/code_blocks.py).
MARK = (
    "<!-- every block: not run: a fix as the doctor prints it, with the reader's own names; `make faults` applies "
    "those it can -->"
)
BASELINES = {"did the weights change?": "changed", "is the metric flat?": "flat"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=stack.SEED, help="of the healthy controls; drawn after the freeze")
    parser.add_argument("--controls", type=int, default=CONTROLS)
    parser.add_argument("--held-out", action="store_true", help="the architectures that were never looked at, instead")
    parser.add_argument("--only", default="", help="faults whose name contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; all cores unless told")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--each", type=int, default=ALL_OF_THEM, help="architectures for each fault; all unless told")
    parser.add_argument("--rows", type=Path, help="where the single results are written, a line of JSON each")
    arguments = parser.parse_args()
    wanted = {fault.name for fault in FAULTS if arguments.only in fault.name}
    cases = sorted(
        (f.name, a)
        for f, a in (held_out_cases() if arguments.held_out else all_cases())
        if f.name in wanted and a in f.architectures[: arguments.each] + stack.HELD_OUT
    )
    pretrain_all([a for _, a in cases] + [a for a in stack.ALL if stack.available(a)], arguments.jobs)
    faults = evaluate_all(_evaluate_case, cases, arguments.jobs, arguments.rows)
    seeds = [(arguments.seed, arguments.controls, i) for i in range(arguments.controls)]
    healthy = evaluate_all(_evaluate_seed, seeds, arguments.jobs, arguments.rows)
    page = written(faults, healthy, arguments)
    print(page.split("## The catalogue")[0])
    if arguments.out:
        arguments.out.write_text(page, encoding="utf-8")


def pretrain_all(architectures: Iterable[str], jobs: int) -> None:
    """Once, for all the processes that are forked later."""
    names = sorted(set(architectures))
    with ProcessPoolExecutor(jobs, initializer=_alone) as pool:
        PRETRAINED.update(zip(names, pool.map(pretrain, names)))


def evaluate_all(judge: Callable[..., Row], cases: List[Any], jobs: int, rows: Optional[Path]) -> List[Row]:
    """All cases in `jobs` processes, with a line of progress; in the order of `cases`."""
    found = {case: row for case, row in _known(rows) if case in set(cases)}
    with ProcessPoolExecutor(jobs, initializer=_alone) as pool:
        waiting = {pool.submit(judge, case): case for case in cases if case not in found}
        for done in as_completed(waiting):
            case = waiting[done]
            found[case] = _result(done, case)
            _keep(rows, case, found[case])
            print(f"\r{len(found)} of {len(cases)}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return [found[case] for case in cases]


def _known(rows: Optional[Path]) -> List[Tuple[Any, Row]]:
    lines = rows.read_text(encoding="utf-8").splitlines() if rows and rows.is_file() else []
    return [(tuple(case), row) for case, row in map(json.loads, lines)]


def _keep(rows: Optional[Path], case: Any, row: Row) -> None:
    if rows:
        with rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps([case, row]) + "\n")


def _result(done: Any, case: Any) -> Row:
    try:
        return done.result()
    except Exception as error:  # a judge that breaks has judged wrongly
        return {"case": list(case), "broke": f"{type(error).__name__}: {error}"}


def _alone() -> None:
    torch.set_num_threads(1)
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")
    sys.stdout = open(os.devnull, "w")  # fastai's bars


def _evaluate_case(case: Any) -> Row:
    name, architecture = case
    return evaluate_fault(next(f for f in FAULTS if f.name == name), architecture)


_drawn: Dict[Any, Any] = {}


def _evaluate_seed(case: Any) -> Row:
    seed, n, i = case
    if (seed, n) not in _drawn:
        _drawn[seed, n] = controls(seed, n)
    return evaluate_control(_drawn[seed, n][i])


# -- figures -----------------------------------------------------------------------------------------------------


def said(row: Row) -> List[str]:
    """What the user hears, who asks when a user would and has the doctor watch: loud failures are explained."""
    if "broke" in row:
        return []
    return row["diagnose"] or row["doctor"] or row["explain"]


def share(rows: Iterable[Row], right: Callable[[Row], bool]) -> str:
    rows = list(rows)
    good = sum(bool(right(row)) for row in rows)
    return f"{good / len(rows):.3f} ({good} of {len(rows)})" if rows else "-"


def first_right(row: Row, heard: Optional[Callable[[Row], List[str]]] = None) -> bool:
    causes = (heard or said)(row)
    return bool(causes) and causes[0] in row["causes"]


def three_right(row: Row, heard: Optional[Callable[[Row], List[str]]] = None) -> bool:
    return any(cause in row["causes"] for cause in (heard or said)(row)[:3])


def figures(faults: List[Row], healthy: List[Row]) -> List[List[str]]:
    silent = [r for r in faults if "broke" not in r and not r["loud"]]
    loud = [r for r in faults if "broke" not in r and r["loud"]]
    cures = [r for r in faults if r.get("cure") is not None]
    alarms = [r for r in healthy if "broke" in r or any(r["alarms"].values())]
    asked, watched = (lambda r: r["diagnose"]), (lambda r: r["doctor"])
    return [
        ["silent faults found", ".94", share(silent, said)],
        ["... by `diagnose` alone / by `Doctor` alone", "", f"{share(silent, asked)} / {share(silent, watched)}"],
        ["right cause first", ".63", share(silent, first_right)],
        ["right cause among the first three", "-", share(silent, three_right)],
        [
            "... first, `diagnose` alone / `Doctor` alone",
            "",
            f"{share(silent, lambda r: first_right(r, asked))} / {share(silent, lambda r: first_right(r, watched))}",
        ],
        [
            "loud failures: right cause first",
            "-",
            share(loud, lambda r: first_right(r) or first_right(r, lambda x: x["explain"])),
        ],
        ["false alarms (warning or error) on healthy runs", "< 2 %", f"{len(alarms)} of {len(healthy)}"],
        ["cures applied after which the metric moves", ".98", share(cures, lambda r: r["cure"])],
        *[
            [
                f'baseline "{name}": faults found / false alarms',
                "",
                f"{share(silent, lambda r, k=key: _baseline(r, k))} / "
                f"{share(healthy, lambda r, k=key: _baseline(r, k))}",
            ]
            for name, key in BASELINES.items()
        ],
    ]


def _baseline(row: Row, key: str) -> bool:
    return row[key] if key == "flat" else not row[key]


# -- the page ----------------------------------------------------------------------------------------------------


def _arguments_of(arguments: Any) -> str:
    given = [
        ("--held-out", arguments.held_out),
        (f"--each {arguments.each}", arguments.each != ALL_OF_THEM),
        (f"--controls {arguments.controls}", arguments.controls != CONTROLS),
    ]
    words = [word for word, said in given if said]
    return f' ARGS="{" ".join(words)}"' if words else ""


def written(faults: List[Row], healthy: List[Row], arguments: Any) -> str:
    import platform

    each = "one architecture" if arguments.each == 1 else "several architectures"
    title, elsewhere = f"# The doctor on architectures that were never looked at{stack.IN_TITLE}", ""
    if not arguments.held_out:
        title = f"# The doctor's catalogue{stack.IN_TITLE}"
        if (DOCS / stack.HELD_OUT_PAGE).is_file():
            elsewhere = (
                " Architectures that nobody looked at while the doctor was made: "
                f"[{stack.HELD_OUT_PAGE}]({stack.HELD_OUT_PAGE})."
            )
    lines = [
        title,
        "",
        MARK,
        "",
        "What may keep metrics from moving, how each cause is seen, and its cure. Below the figures of "
        f"`make faults{stack.IN_COMMAND}{_arguments_of(arguments)}`: "
        f"{len({r.get('fault') for r in faults})} seeded faults on {each} each ({len(faults)} cases), and "
        f"{len(healthy)} distinct healthy runs, each asked "
        f"before the fit, watched, and asked after it. Seed of the controls: {arguments.seed}. Python "
        f"{platform.python_version()}, torch {torch.__version__}{stack.VERSIONS}.{elsewhere}",
        "",
        "## Figures",
        "",
        "| figure | best published | here |",
        "|---|---|---|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in figures(faults, healthy)]
    lines += [
        "",
        "By architecture, silent faults:",
        "",
        "| architecture | found | right cause first |",
        "|---|---|---|",
    ]
    for name in sorted({r["architecture"] for r in faults if "architecture" in r}):
        mine = [r for r in faults if r.get("architecture") == name and not r["loud"]]
        lines.append(f"| {stack.shown(name)} | {share(mine, said)} | {share(mine, first_right)} |")
    lines += ["", "What was missed or named otherwise:", "", *_misses(faults), "", *_alarms(healthy)]
    if not arguments.held_out:
        lines += [
            "",
            f"Faults that cannot exist on {stack.NAME}, or only otherwise:",
            "",
            *[f"- `{name}`: {why}" for name, why in ONLY_ON[stack.OTHER].items()],
            "",
            "## The catalogue",
            "",
            *_catalogue(faults),
        ]
    return "\n".join(lines) + "\n"


def _misses(faults: List[Row]) -> List[str]:
    wrong: Dict[str, List[Row]] = {}
    for row in faults:
        if "broke" in row:
            wrong.setdefault(f"{row['case'][0]}: the judge broke ({row['broke']})", []).append(row)
        elif not first_right(row) and not (row["loud"] and first_right(row, lambda r: r["explain"])):
            wrong.setdefault(f"`{row['fault']}` (`{row['causes'][0]}`)", []).append(row)
    lines = [f"- {name}: {len(rows)} case(s); heard {_heard(rows)}" for name, rows in wrong.items()]
    bad = [r for r in faults if r.get("cure") is False]
    return lines + [f"- cure of `{r['fault']}` on {r['architecture']}: nothing moved" for r in bad] or ["- nothing"]


def _heard(rows: List[Row]) -> str:
    heard = {", ".join(said(row)[:3]) or "nothing" for row in rows if "broke" not in row}
    return "; ".join(sorted(heard))


def _alarms(healthy: List[Row]) -> List[str]:
    bad = [r for r in healthy if "broke" in r or any(r["alarms"].values())]
    return [
        "False alarms:",
        "",
        *([f"- {r.get('alarms') or r['broke']} on {r.get('spec') or r['case']}" for r in bad] or ["- none"]),
    ]


def _catalogue(faults: List[Row]) -> List[str]:
    lines = []
    for cause, (looks, seen) in CAUSES.items():
        example = next((r["says"] for r in faults if r.get("says") and r["says"]["cause"] == cause), None)
        lines += [f"### `{cause}`", "", f"**Looks like.** {looks}", "", f"**Seen by.** {seen}", ""]
        if example:
            message = re.sub(r"/\S*/(tests/)", r"\1", example["message"])  # where the project lies is nobody's business
            lines += [
                f"**Said.** {example['severity']}: {message}",
                "",
                "**Cure.**",
                "",
                f"```{_language(example['fix'])}",
                example["fix"],
                "```",
                "",
            ]
    return lines


def _language(fix: str) -> str:
    """Some cures take a sentence."""
    try:
        ast.parse(fix)
    except SyntaxError:
        return "text"
    return "python"


if __name__ == "__main__":
    main()
