"""Runs every class of transformers with one of three heads through the witness and writes ``docs/models.md``.

    python -m tests.models.page [--workers 2] [--only CLASS ...]

Each class has a process of its own, with limits on memory and processor time: one that crashes or hangs ends with its
row. Rows are kept as they come, and a run that was interrupted goes on; `--only` runs again what it names.
"""
import argparse
import json
import multiprocessing
import os
import platform
import resource
import signal
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List

from tests.models.heads import HEADS, head_of, names_of_classes
from tests.stack import FASTAI_2

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "models.md"
RESULTS = Path(__file__).parent / "results.json"
UNFINISHED = ROOT / "build" / "models.jsonl"
MOST_SECONDS, MOST_BYTES = 120, 6 << 30  # of processor time, of memory; for one class
PATIENCE = 1200  # seconds on the clock: a hang that takes no processor time
PASSED, CANNOT, FAILED = "passed", "cannot", "FAILED"
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
    rows = run(arguments.only or names_of_classes(), arguments.workers, _kept() if whole else {}, keep=whole)
    if arguments.rows:
        arguments.rows.write_text(_as_text(rows), encoding="utf-8")
    else:
        written({**_stored_rows(), **rows} if arguments.only else rows)
    for row in rows.values():
        if row["outcome"] != PASSED or arguments.only:
            print(" | ".join(str(value) for value in row.values()))
    print(dict(Counter(row["outcome"] for row in rows.values())))
    return int(any(row["outcome"] == FAILED for row in rows.values()))


def _refused(why: str) -> int:
    print(f"tests.models.page: {why}", file=sys.stderr)
    return 2


# -- the run ---------------------------------------------------------------------------------------------------------


def run(names: List[str], workers: int, done: Dict[str, Dict[str, Any]], keep: bool) -> Dict[str, Dict[str, Any]]:
    """A row for each class, in their order; those in `done` are not run again, and `keep` writes down each new one."""
    rows = dict(done)
    if done:
        print(f"going on: {len(done)} rows are there (to begin anew, remove {UNFINISHED})", file=sys.stderr)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.models.warm"])
    with ThreadPoolExecutor(workers) as pool:
        for future in as_completed([pool.submit(row_from_a_process, context, name, _witness) for name in names if name not in done]):
            row = future.result()
            rows[row["name"]] = row
            if keep:
                _keep(row)
            print(f"\r{len(rows)} of {len(names)}  {row['name']}: {row['outcome']} {row['why'][:40]:40}", end="",
                  file=sys.stderr)
    print(file=sys.stderr)
    return {name: rows[name] for name in names}


def row_from_a_process(context, name: str, work: Callable[[str], Dict[str, Any]]) -> Dict[str, Any]:
    """What ``work(name)`` returns, done in a process of its own; if it dies, a row that says how."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_within_limits, args=(work, name, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(PATIENCE) else _ended(name, f"nothing came back in {PATIENCE} s")
    except EOFError:
        process.join()
        return _ended(name, _manner_of(process.exitcode))
    finally:
        process.kill()
        process.join()


def _within_limits(work: Callable[[str], Dict[str, Any]], name: str, connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS + 5))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        connection.send(work(name))


def _witness(name: str) -> Dict[str, Any]:
    from tests.models.witness import row_of
    return row_of(name)


def _manner_of(exitcode: int) -> str:
    if exitcode == -signal.SIGXCPU:
        return f"more than {MOST_SECONDS} s of processor time"
    return f"its process ended with {signal.Signals(-exitcode).name if exitcode < 0 else exitcode}"


def _ended(name: str, why: str) -> Dict[str, Any]:
    return {"name": name, "outcome": FAILED, "why": why, "groups": "", "doctor": "", "special": "", "seconds": 0.0}


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
    lines = ["# transformers' own models as the witness", "",
             f"Python {versions['python']}, {stack}; `make models STACK=v2` runs all of it and writes this page.", "",
             f"Every `*For{'`, `*For'.join(HEADS)}` class is built from a tiny config, 32 wide and two to four layers "
             f"deep, and trained two steps through `HFCallback` and through the article's patched loop, each with "
             f"fastai's own `Learner`. It *passed* where losses, gradient norms, final weights and predictions are "
             f"equal bit for bit, the weights changed, and an arm with a cut output was seen to differ. *Cannot* is "
             f"said only of a class that cannot be built, or cannot be trained a step without fastai and this package.",
             "", "*Groups*: how many `layer_groups(model)` makes, together every parameter once. *Doctor*: the "
             "warnings and errors of `diagnose(learn)` before any training.", "", *_totals(rows)]
    for head in HEADS:
        lines += _section(head, [row for row in rows if head_of(row["name"]) == head])
    return "\n".join(lines) + "\n"


def _totals(rows: List[Dict[str, Any]]) -> List[str]:
    lines = ["| head | classes | passed | cannot | FAILED | three groups or more | doctor silent |", "|---" * 7 + "|"]
    for head in [*HEADS, "all"]:
        of_head = [row for row in rows if head in ("all", head_of(row["name"]))]
        asked = [row for row in of_head if row["outcome"] != CANNOT]
        kinds = Counter(row["outcome"] for row in of_head)
        lines.append(f"| {head} | {len(of_head)} | {kinds[PASSED]} | {kinds[CANNOT]} | {kinds[FAILED]} "
                     f"| {sum(row['groups'].isdigit() and int(row['groups']) > 2 for row in asked)} of {len(asked)} "
                     f"| {sum(row['doctor'] == 'silent' for row in asked)} of {len(asked)} |")
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
