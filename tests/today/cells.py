"""The cells of ``docs/evidence/today.md``: a checkpoint's precision, how and on what it is trained; which are run."""

from importlib.util import find_spec
from itertools import combinations, product
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

__all__ = ["AXES", "Cell", "all_cells", "cell_of", "chosen_cells", "impossible", "pairwise_cover"]

AXES: Dict[str, Tuple[str, ...]] = {
    "precision": ("float32", "bf16", "fp16"),
    "training": ("full", "LoRA", "frozen body"),
    "family": ("encoder", "decoder padded right", "decoder padded left", "encoder-decoder"),
    "task": ("classes", "labels", "number", "tokens"),
    "loss": ("fastai's loss", "torch's loss", "weighted loss"),
}
RUN_WHOLE = ("float32", "bf16")  # every cell of full fine-tuning from these


class Cell(NamedTuple):
    """One combination, one value of each axis."""

    precision: str
    training: str
    family: str
    task: str
    loss: str

    def __str__(self) -> str:
        return " - ".join(self)


def cell_of(name: str) -> Cell:
    """Return the cell that is written as `name`."""
    return Cell(*name.split(" - "))


def all_cells() -> List[Cell]:
    return [Cell(*values) for values in product(*AXES.values())]


def impossible(cell: Cell) -> Optional[str]:
    """Return why this cell cannot exist, or None."""
    if cell.training == "LoRA" and find_spec("peft") is None:
        return "peft is not installed"
    return None


def chosen_cells() -> List[Cell]:
    """Return the cells that are run: full fine-tuning from float32 and bf16, and of the rest a cover of every pair.

    First those which together hold every pair, so that a run that is interrupted has seen each.
    """
    possible = [cell for cell in all_cells() if not impossible(cell)]
    whole = [cell for cell in possible if cell.training == "full" and cell.precision in RUN_WHOLE]
    rest = pairwise_cover([cell for cell in possible if cell not in whole])
    first = pairwise_cover([*rest, *whole])
    return first + [cell for cell in [*rest, *whole] if cell not in first]


def pairwise_cover(cells: Sequence[Cell]) -> List[Cell]:
    """Choose few of `cells`, greedily, that together hold every pair of values that `cells` hold."""
    wanted = {pair for cell in cells for pair in pairs_in(cell)}
    chosen = []
    while wanted:
        best = max(cells, key=lambda cell: len(wanted.intersection(pairs_in(cell))))
        chosen.append(best)
        wanted.difference_update(pairs_in(best))
    return chosen


def pairs_in(cell: Cell) -> Iterator[Tuple[Tuple[int, str], ...]]:
    """Yield every pair of two axes' values, each with the number of its axis."""
    return combinations(enumerate(cell), 2)
