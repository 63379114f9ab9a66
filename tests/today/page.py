"""Runs what people bring today, cell by cell, and writes ``docs/evidence/today.md``.

    python -m tests.today.page [--workers 2] [--only TEXT ...] [--page]

Each cell has a process of its own, with limits on memory and processor time. At the end one new process loads all
exported learners. Rows are kept as they come, and a run that was interrupted goes on; `--page` writes the page of those
that are there. `--only` runs the cells again whose name holds one of the texts, such as "bf16 - LoRA".
"""

import argparse
import json
import platform
import shutil
import sys
import time
from collections import Counter
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from tests.installed_stack import FASTAI_2
from tests.models.result_rows import FAILED, PASSED, rows_of
from tests.today.cells import AXES, all_cells, cell_of, chosen_cells, impossible
from tests.today.new_process import check_exported

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "evidence" / "today.md"
RESULTS = Path(__file__).parent / "results.json"
WORK = ROOT / "build" / "today"
UNFINISHED = WORK / "rows.jsonl"
PRELOAD = "tests.today.preload"
VERSIONS = ("torch", "fastai", "transformers", "peft")

CHECKS = ("compare", "learned", "weights", "predict", "export", "batch mates", "pipeline")

Row = Dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="+", metavar="TEXT", default=[])
    parser.add_argument("--page", action="store_true", help="run nothing; write the page of an interrupted run")
    arguments = parser.parse_args()
    if not FASTAI_2:
        return _refused("today's checkpoints need fastai 2 and transformers; write make today STACK=v2")
    names = [str(cell) for cell in chosen_cells()]
    chosen = [name for name in names if not arguments.only or any(text in name for text in arguments.only)]
    if not chosen:
        return _refused(f"no cell's name holds {' or '.join(arguments.only)}; one is {names[0]!r}")
    if arguments.page:
        chosen = [name for name in names if name in _kept()]
    rows, minutes = run(chosen, arguments.workers, whole=not arguments.only)
    stored = _stored()
    if not arguments.only:
        _write(rows, minutes)
    elif stored:
        together = {**stored["rows"], **rows}
        _write({name: together[name] for name in names if name in together}, stored["minutes"])
    for row in rows.values():
        for check, why in row["failures"].items():
            print(f"{FAILED} {row['name']} | {check} | {why}")
    print(f"{dict(Counter(row['outcome'] for row in rows.values()))} in {minutes} minutes")
    return int(any(row["outcome"] == FAILED for row in rows.values()))


def _refused(why: str) -> int:
    print(f"tests.today.page: {why}", file=sys.stderr)
    return 2


# -- running -----------------------------------------------------------------------------------------------------------


def run(names: Sequence[str], workers: int, whole: bool) -> Tuple[Dict[str, Row], float]:
    """Run cells, and then load what they exported in one new process.

    A whole run goes on where one was interrupted. Returns the rows in the order of `names`, and the minutes of all of
    them together.
    """
    kept = _kept() if whole else {}
    if not kept:
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir(parents=True)
    rows = {name: kept[name] for name in names if name in kept}
    started = time.perf_counter()
    for row in rows_of([name for name in names if name not in rows], workers, partial(_in_folder, WORK), PRELOAD):
        minutes = (time.perf_counter() - started) / 60
        rows[row["name"]] = {**_completed(row), "minutes": minutes}
        _keep(rows[row["name"]])
        started = time.perf_counter()
        said = f"{len(rows)} of {len(names)}  {row['name']}: {row['outcome']}"
        print(f"\r{said:110}", end="", file=sys.stderr, flush=True)
    print("\nexported learners in a new process", file=sys.stderr, flush=True)
    _note_exports(rows)
    total = round(sum(row.pop("minutes") for row in rows.values()) + (time.perf_counter() - started) / 60, 1)
    if len(rows) == len(chosen_cells()):
        shutil.rmtree(WORK, ignore_errors=True)
    return {name: rows[name] for name in names}, total


def _keep(row: Row) -> None:
    with UNFINISHED.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"versions": _versions(), "row": row}) + "\n")


def _kept() -> Dict[str, Row]:
    """Return the rows of a run that was interrupted, of these very versions."""
    lines = UNFINISHED.read_text(encoding="utf-8").splitlines() if UNFINISHED.exists() else []
    return {kept["row"]["name"]: kept["row"] for kept in map(json.loads, lines) if kept["versions"] == _versions()}


def _in_folder(folder: Path, name: str) -> Row:
    from tests.today.run_cell import row_of

    return row_of(name, folder)


def _completed(row: Row) -> Row:
    """Give the row of a process that died what the others have."""
    if "checks" in row:
        return row
    return {
        **{key: row[key] for key in ("name", "outcome", "why", "seconds")},
        "checks": {},
        "failures": {"process": row["why"]},
    }


def _note_exports(rows: Dict[str, Row]) -> None:
    from tests.today.run_cell import export_folder

    folders = {str(export_folder(WORK, cell_of(name))): row for name, row in rows.items() if "export" in row["checks"]}
    for folder, fault in check_exported([Path(folder) for folder in folders]).items() if folders else ():
        row = folders[folder]
        row["checks"]["export"] = "equal" if not fault else ""
        if fault:
            del row["checks"]["export"]
            row["failures"]["export"], row["outcome"] = fault, FAILED


def _stored() -> Dict[str, Any]:
    """Return the last whole run, if it was of these very versions."""
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return stored if stored.get("versions") == _versions() else {}


def _versions() -> Dict[str, str]:
    found = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _write(rows: Dict[str, Row], minutes: float) -> None:
    """Store the rows and write the page."""
    stored = {"versions": _versions(), "minutes": minutes, "rows": rows}
    RESULTS.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(stored), encoding="utf-8")


# -- the page ----------------------------------------------------------------------------------------------------------


def page(stored: Dict[str, Any]) -> str:
    """Return the whole page, from the stored rows."""
    rows, versions = list(stored["rows"].values()), stored["versions"]
    stack = ", ".join(f"{name} {number}" for name, number in versions.items() if name != "python")
    lines = [
        "# What people bring today",
        "",
        f"Python {versions['python']}, {stack}; `make today STACK=v2` runs all of it on two processes "
        f"({stored['minutes']} minutes) and writes this page.",
        "",
        f"A cell is one of each: {'; '.join(', '.join(values) for values in AXES.values())}. Full fine-tuning from "
        "float32 and from bf16 is run whole, the rest in a cover that holds every pair of values. Each cell is written "
        "as the quick start has it: a tiny checkpoint folder in its precision (BERT; Llama, padded right; GPT-2, "
        "padded left; BART, and T5 for tokens, as BART has no head for them), `from_pretrained`, `text_data`, "
        "`HFModel`, `HFCallback`, `layer_groups`.",
        "",
        *EXPLAINED,
        "",
        *_missing(rows),
        *_counts(rows),
        *_failed(rows),
        *_table(rows),
        *_cannot(),
    ]
    return "\n".join(lines).rstrip() + "\n"


EXPLAINED = [
    "- *learned*: the texts hold a planted signal; the error on new ones (wrong classes, labels, words; distance of a "
    "number) is at most half that of the best constant, and the broken arm's is not.",
    "- *compare*: callback and patched loop equal bit for bit, the broken arm not.",
    "- *weights*: what trains is float32 and moved; what is frozen (LoRA: the base; frozen body: all but the head) is "
    "the checkpoint's to the bit.",
    "- *predict*: `ordered_preds` gives probabilities, and `predict` the name that they say.",
    "- *export*: `learn.export`; one new process loads all of them and predicts the same, bit for bit.",
    "- *batch mates*: the outputs of a text alone and next to a text three times as long: the largest difference, at "
    "most 1e-4.",
    "- *pipeline*: `save_pretrained`, then transformers' `pipeline()` on the folder (an adapter goes onto its "
    "untouched base): the learner's own names, and its probabilities to 1e-5.",
    "",
    "*batch mates* and *pipeline* are computed in float32 on both sides.",
]


def _missing(rows: Sequence[Row]) -> List[str]:
    missing = len(chosen_cells()) - len(rows)
    return (
        [f"**{missing} cells have not been run yet**: this is the page of an interrupted run.", ""] if missing else []
    )


def _counts(rows: Sequence[Row]) -> List[str]:
    lines = ["| checkpoint | training | cells | passed | FAILED |", "|---" * 5 + "|"]
    for precision in AXES["precision"]:
        for training in AXES["training"]:
            some = [row["outcome"] for row in rows if row["name"].startswith(f"{precision} - {training} - ")]
            lines.append(f"| {precision} | {training} | {len(some)} | {some.count(PASSED)} | {some.count(FAILED)} |")
    outcomes = [row["outcome"] for row in rows]
    return [*lines, f"| all | | {len(rows)} | {outcomes.count(PASSED)} | {outcomes.count(FAILED)} |", ""]


def _failed(rows: Sequence[Row]) -> List[str]:
    said = [f"- {row['name']}: *{check}*: {_cell(why)}" for row in rows for check, why in row["failures"].items()]
    return ["## What failed", "", *said, ""] if said else []


def _table(rows: Sequence[Row]) -> List[str]:
    lines = ["## Cell by cell", "", f"| cell | {' | '.join(CHECKS)} |", "|---" * (1 + len(CHECKS)) + "|"]
    for row in rows:
        figures = [row["checks"].get(check) or ("FAILED" if check in row["failures"] else "–") for check in CHECKS]
        lines.append(f"| {row['name']} | {' | '.join(map(_cell, figures))} |")
    return [*lines, ""]


def _cannot() -> List[str]:
    reasons = Counter(filter(None, map(impossible, all_cells())))
    return [f"- {count} cells cannot exist: {reason}" for reason, count in reasons.items()]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
