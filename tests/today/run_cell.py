"""One cell, from its checkpoint to what the saved folder says elsewhere."""

import logging
import time
import warnings
from pathlib import Path
from typing import Any, Callable, Dict

from fastai_hf_callback import compare
from fastai_hf_callback.utils.rng import seed_everything
from tests.models.result_rows import CANNOT, FAILED, PASSED
from tests.today import checks
from tests.today.cells import Cell, cell_of, impossible
from tests.today.learners import Setting, fit, setting_of

__all__ = ["row_of", "run_checks"]


def row_of(name: str, folder: Path) -> Dict[str, Any]:
    """Run a cell.

    Returns
    -------
    dict
        ``name``; ``outcome`` (passed, cannot, FAILED); ``why``; ``checks``, each check's figure, and ``failures``, the
        last line of those that failed; ``seconds`` of processor time. Whether the exported learner predicts the same
        in a new process is asked afterwards, of all cells at once.
    """
    cell, started = cell_of(name), time.process_time()
    row: Dict[str, Any] = {"name": name, "outcome": CANNOT, "why": impossible(cell) or "", "checks": {}, "failures": {}}
    if not row["why"]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
            run_checks(cell, folder, row)
        row["outcome"] = FAILED if row["failures"] else PASSED
    row["seconds"] = round(time.process_time() - started, 1)
    return row


def run_checks(cell: Cell, folder: Path, row: Dict[str, Any]) -> None:
    """Ask everything of a cell; what fails is noted, and the rest is asked all the same."""

    def note(check: str, ask: Callable[[], Any]) -> Any:
        try:
            answer = ask()
        except Exception as error:  # the other checks, and cells, go on
            row["failures"][check] = last_line(error)
            return None
        row["checks"][check] = answer if isinstance(answer, str) else ""
        return answer

    setting = note("trains", lambda: setting_of(cell, folder))
    learn = setting and note("trains", lambda: train(setting))
    if not learn:
        return
    comparison = note("compare", lambda: compare(setting.make_learner, lambda it: fit(it, cell), progress=False))
    if comparison:
        note("compare", lambda: checks.check_comparison(comparison))
        note("learned", lambda: checks.check_learned(comparison, cell.task))
    note("weights", lambda: checks.check_weights(learn, setting))
    note("predict", lambda: checks.check_predict(learn, cell.task))
    note("export", lambda: checks.write_export(learn, cell.task, export_folder(folder, cell)))
    learn = as_float32(learn)
    note("batch mates", lambda: checks.check_batch_mates(learn, setting))
    note("pipeline", lambda: checks.check_pipeline(learn, setting, folder / "saved" / slug(cell)))


def train(setting: Setting) -> Any:
    """Make a learner and train it."""
    seed_everything(0)
    learn = setting.make_learner()
    fit(learn, setting.cell)
    return learn


def as_float32(learn: Any) -> Any:
    """Return the learner with what is left of a half-precision body in float32: both sides compute in it."""
    learn.model.float()
    return learn


def export_folder(folder: Path, cell: Cell) -> Path:
    return folder / "exported" / slug(cell)


def slug(cell: Cell) -> str:
    return str(cell).replace("'", "").replace(" ", "_")


def last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1].strip() if lines else ''}"[:400]
