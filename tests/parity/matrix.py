"""The matrix of the proof: workflows x architectures x losses, and how one cell of it is run.

``python -m tests.parity.matrix`` runs every cell and writes ``docs/parity.md``; the tests run a pairwise
cover of it.
"""
import os
from functools import partial
from itertools import combinations, product
from typing import Any, Iterator, List, NamedTuple, Optional

import torch

from fastai_hf_callback import Comparison, compare
from tests.fastai1.learners import TASKS, make_learner

MODELS = ("bert", "roberta", "distilbert", "xlnet", "xlm", "gpt2", "transfoxl", "bert of transformers 5")
STEPS_AT_LEAST = 6


# -- workflows: each trains, and returns what the paths after it say --------------------------------------


def after(learn) -> List[Any]:
    """What ``validate``, ``get_preds`` with and without loss, and ``pred_batch`` say."""
    return [learn.validate(), learn.get_preds(), learn.get_preds(with_loss=_has_flat_loss(learn)), learn.pred_batch()]


def fit(learn):
    learn.fit(1, 1e-2)
    return after(learn)


def fit_one_cycle(learn):
    learn.fit_one_cycle(1, 1e-2)
    return after(learn)


def lr_find_then_fit(learn):
    learn.lr_find(num_it=5)
    learn.fit_one_cycle(1, 1e-2)
    return after(learn)


def freeze_then_unfreeze(learn):
    learn.freeze()
    learn.fit_one_cycle(1, 1e-2)
    learn.unfreeze()
    learn.fit_one_cycle(1, slice(1e-3, 1e-2))
    return after(learn)


def gradient_clipping(learn):
    from fastai.train import GradientClipping
    learn.callback_fns.append(partial(GradientClipping, clip=0.05))
    learn.fit(1, 1e-2)
    return after(learn)


def saved_stopped_and_logged(learn):
    from fastai.callbacks import CSVLogger, EarlyStoppingCallback, SaveModelCallback
    learn.callback_fns += [CSVLogger, partial(SaveModelCallback, name="best"),
                           partial(EarlyStoppingCallback, patience=1, min_delta=1.0)]
    learn.fit(3, 1e-2)
    rows = learn.csv_logger.read_logged_file().drop(columns="time")
    return after(learn) + [rows.to_csv()]


def two_workers(learn):
    learn.data.train_dl = learn.data.train_dl.new(num_workers=2)
    learn.fit(1, 1e-2)
    return after(learn)


def half_precision(learn):
    learn.to_fp16(loss_scale=128.0, dynamic=False)
    learn.fit(1, 1e-3)
    return after(learn)


WORKFLOWS = {function.__name__: function for function in (
    fit, fit_one_cycle, lr_find_then_fit, freeze_then_unfreeze, gradient_clipping, saved_stopped_and_logged,
    two_workers, half_precision)}


# -- cells -------------------------------------------------------------------------------------------------------


class Cell(NamedTuple):
    """One combination."""

    workflow: str
    model: str
    task: str

    def __str__(self) -> str:
        return " - ".join(self)


def all_cells() -> List[Cell]:
    return [Cell(*values) for values in product(WORKFLOWS, MODELS, TASKS)]


def impossible(cell: Cell) -> Optional[str]:
    """Why this cell cannot exist on the stack at hand, or None."""
    old_torch = torch.__version__.startswith("1.")
    if cell.workflow == "half_precision" and old_torch:
        return "torch 1.4 has no half-precision matrix product on the CPU"
    if cell.model == "bert of transformers 5" and old_torch:
        return "transformers 5 needs Python 3.10 and a newer torch"
    return None


def run(cell: Cell, **kwargs: Any) -> Comparison:
    """Both arms and the broken one."""
    return compare(lambda: make_learner(cell.model, cell.task), WORKFLOWS[cell.workflow], progress=False, **kwargs)


def fault_of(comparison: Comparison) -> Optional[str]:
    """What is wrong with a cell: arms that differ, a broken arm that does not, nothing trained. None: it passed."""
    if not comparison.identical:
        return str(comparison.difference)
    if not comparison.proven:
        return "the broken arm did not differ"
    callback, broken = comparison.traces["callback"], comparison.traces["broken"]
    if len(callback.steps) < STEPS_AT_LEAST:
        return f"only {len(callback.steps)} steps"
    if callback.returned == broken.returned or callback.final_weights == callback.initial_weights:
        return "the fit changed nothing that its paths could show"
    return None


def pairwise_cover(cells: List[Cell]) -> List[Cell]:
    """Few cells in which every pair of values of two axes occurs that occurs in `cells` at all."""
    wanted, chosen = {pair for cell in cells for pair in _pairs(cell)}, []
    while wanted:
        best = max(cells, key=lambda cell: len(wanted.intersection(_pairs(cell))))
        chosen.append(best)
        wanted.difference_update(_pairs(best))
    return chosen


def _pairs(cell: Cell) -> Iterator[Any]:
    return combinations(enumerate(cell), 2)


def _has_flat_loss(learn) -> bool:
    # fastai 1 asks the loss for one value per row, which a mean over several columns cannot give.
    return type(learn.loss_func).__name__ == "CrossEntropyLoss"


def stack_name() -> str:
    return os.environ.get("STACK") or ("era" if torch.__version__.startswith("1.") else "v1")


# -- the whole matrix, and its page ---------------------------------------------------------------------------


def outcome(cell: Cell) -> str:
    """``passed``, ``cannot exist: why``, or what is wrong."""
    reason = impossible(cell)
    if reason:
        return f"cannot exist: {reason}"
    try:
        return fault_of(run(cell)) or "passed"
    except Exception as error:  # a cell that fails must not hide the others
        return f"{type(error).__name__}: {error}"
