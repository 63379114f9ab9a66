"""Runs the whole matrix on the stack at hand and writes ``docs/evidence/parity.md`` from the results of all stacks.

python -m tests.parity.page [--workers 2]
"""

import argparse
import contextlib
import io
import json
import logging
import multiprocessing
import os
import platform
import sys
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch

from tests.parity import matrix

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "docs" / "evidence" / "parity.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    cells = matrix.all_cells()
    outcomes = {}
    # Not multiprocessing's Pool: its daemons may not have the loader workers that some cells are about.
    with ProcessPoolExecutor(arguments.workers, multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_outcome, cell) for cell in cells]):
            cell, outcome = done.result()
            outcomes[str(cell)] = outcome
            print(f"\r{len(outcomes)} of {len(cells)}  {cell}: {outcome[:60]:60}", end="", file=sys.stderr)
    print(file=sys.stderr)
    RESULTS.mkdir(exist_ok=True)
    result = {
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "outcomes": {str(cell): outcomes[str(cell)] for cell in cells},
    }
    (RESULTS / f"{matrix.stack_name()}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    failed = {cell: outcome for cell, outcome in outcomes.items() if not _fine(outcome)}
    for cell, outcome in failed.items():
        print(f"FAILED {cell}: {outcome}")
    print(f"{Counter(map(_kind, outcomes.values()))}")
    return 1 if failed else 0


def _outcome(cell):
    torch.set_num_threads(1)
    # A spawned process would spawn its loader workers too, each of which imports everything anew.
    multiprocessing.set_start_method("fork", force=True)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        try:
            return cell, matrix.outcome(cell)
        finally:
            os.chdir(str(ROOT))


def page() -> str:
    """The page, from the stored results of every stack."""
    lines = [
        "# Parity, cell by cell",
        "",
        "Callback arm against the article's patched loop, bit for bit: every step's loss, gradient norm and "
        "learning rates, every epoch's losses and metrics, the final weights, and what `validate`, `get_preds` "
        "with and without loss, and fastai 1's `pred_batch` return after the fit. In every cell the broken arm "
        "was run too, and differed, in the weights and in what the paths return.",
        "",
        "`make parity` runs all of it and writes this page; `make test` runs a pairwise cover.",
        "",
    ]
    for path in sorted(RESULTS.glob("*.json"), reverse=True):
        result = json.loads(path.read_text(encoding="utf-8"))
        lines += _stack_section(path.stem, result)
    return "\n".join(lines)


def _stack_section(stack, result):
    outcomes = result["outcomes"]
    counts = Counter(map(_kind, outcomes.values()))
    workflows, models, tasks = (list(dict.fromkeys(values)) for values in zip(*map(matrix.cell_of, outcomes)))
    lines = [
        f"## {stack}: Python {result['python']}, torch {result['torch']}",
        "",
        ", ".join(f"{number} {kind}" for kind, number in counts.items()) + f", of {len(outcomes)} cells.",
        "",
        "| workflow | " + " | ".join(models) + " |",
        "|---" * (1 + len(models)) + "|",
    ]
    for workflow in workflows:
        row = [" ".join(_mark(outcomes[str(matrix.Cell(workflow, model, task))]) for task in tasks) for model in models]
        lines.append(f"| {workflow.replace('_', ' ')} | " + " | ".join(row) + " |")
    lines += [
        "",
        f"Three marks a cell: {', '.join(tasks)} (cross-entropy, multi-label BCE, MSE). "
        "= equal, · cannot exist, X differs.",
        "",
    ]
    reasons = sorted({o[len("cannot exist: ") :] for o in outcomes.values() if _kind(o) == "cannot exist"})
    return lines + ([f"- cannot exist: {reason}" for reason in reasons] + [""] if reasons else [])


def _kind(outcome: str) -> str:
    return outcome if outcome == "passed" else "cannot exist" if outcome.startswith("cannot exist") else "failed"


def _mark(outcome: str) -> str:
    return {"passed": "=", "cannot exist": "·", "failed": "X"}[_kind(outcome)]


def _fine(outcome: str) -> bool:
    return _kind(outcome) != "failed"


if __name__ == "__main__":
    sys.exit(main())
