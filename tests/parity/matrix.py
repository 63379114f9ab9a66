"""The matrix of the proof: workflows x architectures x losses, and how one cell of it is run.

``python -m tests.parity.matrix`` runs every cell and writes ``docs/evidence/parity.md``; the tests run a pairwise
cover of it.
"""

import os
from itertools import combinations, product
from typing import Any, Iterator, List, NamedTuple, Optional

import torch

from fastai_hf_callback import Comparison, compare, layer_groups
from tests.installed_stack import FASTAI_1
from tests.tiny_models import WITH_ADAPTER

if FASTAI_1:
    from tests.fastai1.learners import TASKS, make_learner
    from tests.fastai1.workflows import MODELS as ARCHITECTURES
    from tests.fastai1.workflows import WORKFLOWS, Flipped
else:
    from tests.fastai2.learners import MODELS as ARCHITECTURES
    from tests.fastai2.learners import TASKS, make_learner
    from tests.fastai2.workflows import WORKFLOWS, Flipped

__all__ = ["MODELS", "TASKS", "WORKFLOWS", "Cell", "Flipped", "make_learner"]

STEPS_AT_LEAST = 6
VALID_ROWS = 20  # whole batches and a shorter one; every path after the fit reads them again
MODELS = (*ARCHITECTURES, WITH_ADAPTER)


# -- cells -------------------------------------------------------------------------------------------------------


class Cell(NamedTuple):
    """One combination."""

    workflow: str
    model: str
    task: str

    def __str__(self) -> str:
        return " - ".join(self)


def cell_of(name: str) -> Cell:
    """The cell that is written as `name`."""
    return Cell(*name.split(" - "))


def all_cells() -> List[Cell]:
    return [Cell(*values) for values in product(WORKFLOWS, MODELS, TASKS)]


def impossible(cell: Cell) -> Optional[str]:
    """Why this cell cannot exist on the stack at hand, or None."""
    old_torch = torch.__version__.startswith("1.")
    if cell.workflow == "half_precision" and old_torch:
        return "torch 1.4 has no half-precision matrix product on the CPU"
    if cell.model in ("bert of transformers 5", WITH_ADAPTER) and old_torch:
        return "transformers 5 needs Python 3.10 and a newer torch"
    return None


def run(cell: Cell, **kwargs: Any) -> Comparison:
    """Both arms and the broken one."""
    return compare(lambda: _make_learner_of(cell), WORKFLOWS[cell.workflow], progress=False, **kwargs)


def _make_learner_of(cell: Cell) -> Any:
    learn = make_learner(cell.model, cell.task, valid_rows=VALID_ROWS)
    if cell.model == WITH_ADAPTER and FASTAI_1:
        learn.split(layer_groups)  # whose groups leave the base frozen
    elif cell.model == WITH_ADAPTER:
        learn.splitter = layer_groups
    return learn


def fault_of(comparison: Comparison) -> Optional[str]:
    """What is wrong with a cell: arms that differ, a broken arm that does not, nothing trained. None: it passed."""
    if not comparison.identical:
        return str(comparison.difference)
    if not comparison.broken_arm_differs:
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


def stack_name() -> str:
    return os.environ.get("STACK") or ("v2" if not FASTAI_1 else "era" if torch.__version__.startswith("1.") else "v1")


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
