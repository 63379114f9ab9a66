"""Runs every class of transformers with one of three heads through the witness and writes ``docs/evidence/models.md``.

    python -m tests.models.page [--workers 2] [--only CLASS ...]

Each class has a process of its own, with limits on memory and processor time: one that crashes or hangs ends with its
row. Rows are kept as they come, and a run that was interrupted goes on; `--only` runs again what it names.
"""

import argparse
import json
import platform
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any, Dict, Iterable, List

from tests.installed_stack import FASTAI_2
from tests.models.head_classes import HEADS, head_of, names_of_classes
from tests.models.result_rows import CANNOT, FAILED, PASSED, rows_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "evidence" / "models.md"
RESULTS = Path(__file__).parent / "results.json"
UNFINISHED = ROOT / "build" / "models.jsonl"
VERSIONS = ("torch", "fastai", "transformers")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="+", metavar="CLASS", default=[])
    parser.add_argument("--rows", type=Path, help="write the rows there, and no page: for another transformers")
    arguments = parser.parse_args()
    if not FASTAI_2:
        return _refused("the witness needs fastai 2 and transformers; write make models STACK=v2")
    unknown = sorted(set(arguments.only) - set(names_of_classes()))
    if unknown:
        return _refused(f"transformers {version('transformers')} has no {', '.join(unknown)}")
    whole = not (arguments.only or arguments.rows)
    rows = run(arguments.only or names_of_classes(), arguments.workers, whole)
    if arguments.rows:
        arguments.rows.write_text(_as_text(rows), encoding="utf-8")
    elif whole or _stored_rows():  # a few rows make no page where the stored ones are of other versions
        written({**_stored_rows(), **rows} if arguments.only else rows)
    for row in rows.values():
        if row["outcome"] != PASSED or arguments.only:
            print(" | ".join(str(value) for value in row.values()))
    print(dict(Counter(row["outcome"] for row in rows.values())))
    return int(any(row["outcome"] == FAILED for row in rows.values()))


def run(names: List[str], workers: int, whole: bool) -> Dict[str, Dict[str, Any]]:
    """A row for each class, in their order; a whole run goes on where one was interrupted, and notes how far it is."""
    rows = _kept() if whole else {}
    if rows:
        print(f"going on: {len(rows)} rows are there (to begin anew, remove {UNFINISHED})", file=sys.stderr)
    for row in rows_of([name for name in names if name not in rows], workers):
        rows[row["name"]] = row
        if whole:
            _keep(row)
        print(
            f"\r{len(rows)} of {len(names)}  {row['name']}: {row['outcome']} {row['why'][:40]:40}",
            end="",
            file=sys.stderr,
        )
    print(file=sys.stderr)
    return {name: rows[name] for name in names}


def _refused(why: str) -> int:
    print(f"tests.models.page: {why}", file=sys.stderr)
    return 2


# -- what is kept ------------------------------------------------------------------------------------------------------


def _versions() -> Dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name).split("+")[0] for name in VERSIONS}}


def _keep(row: Dict[str, Any]) -> None:
    UNFINISHED.parent.mkdir(exist_ok=True)
    with UNFINISHED.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"versions": _versions(), "row": row}) + "\n")


def _kept() -> Dict[str, Dict[str, Any]]:
    """Rows of a run that was interrupted, of these very versions."""
    lines = UNFINISHED.read_text(encoding="utf-8").splitlines() if UNFINISHED.exists() else []
    return {kept["row"]["name"]: kept["row"] for kept in map(json.loads, lines) if kept["versions"] == _versions()}


def _stored_rows() -> Dict[str, Dict[str, Any]]:
    """Rows of the last whole run, if it was of these very versions."""
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return stored["rows"] if stored.get("versions") == _versions() else {}


def _as_text(rows: Dict[str, Dict[str, Any]]) -> str:
    return json.dumps({"versions": _versions(), "rows": rows}, indent=1) + "\n"


def written(rows: Dict[str, Dict[str, Any]]) -> None:
    """Store the rows of a whole run and write the page."""
    RESULTS.write_text(_as_text(rows), encoding="utf-8")
    PAGE.write_text(page(_versions(), list(rows.values())), encoding="utf-8")
    UNFINISHED.unlink(missing_ok=True)


# -- the page ----------------------------------------------------------------------------------------------------------


def page(versions: Dict[str, str], rows: List[Dict[str, Any]]) -> str:
    """The whole page, from the rows."""
    stack = ", ".join(f"{name} {number}" for name, number in versions.items() if name != "python")
    lines = [
        "# transformers' own models as the witness",
        "",
        f"Python {versions['python']}, {stack}; `make models STACK=v2` runs all of it and writes this page.",
        "",
        f"Every `*For{'`, `*For'.join(HEADS)}` class is built from a tiny config, 32 wide and two to four layers "
        f"deep, and trained two steps through `HFCallback` and through the article's patched loop, each with "
        f"fastai's own `Learner`. It *passed* where losses, gradient norms, final weights and predictions are "
        f"equal bit for bit, the weights changed, and an arm with a cut output was seen to differ. *Cannot* is "
        f"said only of a class that cannot be built, or cannot be trained a step without fastai and this package.",
        "",
        "*Groups*: how many `layer_groups(model)` makes, together every parameter once. *Doctor*: the "
        "warnings and errors of `diagnose(learn)` before any training.",
        "",
        *_totals(rows),
    ]
    for head in HEADS:
        lines += _section(head, [row for row in rows if head_of(row["name"]) == head])
    return "\n".join(lines) + "\n"


def _totals(rows: List[Dict[str, Any]]) -> List[str]:
    lines = ["| head | classes | passed | cannot | FAILED | three groups or more | doctor silent |", "|---" * 7 + "|"]
    for head in [*HEADS, "all"]:
        of_head = [row for row in rows if head in ("all", head_of(row["name"]))]
        asked = [row for row in of_head if row["outcome"] != CANNOT]
        kinds = Counter(row["outcome"] for row in of_head)
        lines.append(
            f"| {head} | {len(of_head)} | {kinds[PASSED]} | {kinds[CANNOT]} | {kinds[FAILED]} "
            f"| {sum(row['groups'].isdigit() and int(row['groups']) > 2 for row in asked)} of {len(asked)} "
            f"| {sum(row['doctor'] == 'silent' for row in asked)} of {len(asked)} |"
        )
    return [*lines, ""]


def _section(head: str, rows: Iterable[Dict[str, Any]]) -> List[str]:
    lines = [f"## For{head}", "", "| class | witness | groups | doctor | remark |", "|---" * 5 + "|"]
    for row in rows:
        name = row["name"].replace(f"For{head}", "")
        remark = "; ".join(filter(None, (row["why"][:300], row["special"]))).replace("|", "\\|")
        lines.append(f"| {name} | {row['outcome']} | {row['groups']} | {row['doctor']} | {remark} |")
    return [*lines, ""]


if __name__ == "__main__":
    sys.exit(main())
