"""``Substitution``: which parts of a learner had to be replaced until it learned a planted signal."""

from dataclasses import dataclass, field
from typing import List, Optional

__all__ = ["LEARNED", "PlantedRun", "ReplaceablePart", "Substitution"]

LEARNED = 0.9  # of the score: with 64 rows, chance comes this far from a half once in ten million
# By this part the planted targets cost less than the others: a step of any size in the right direction tells the
# sides apart, and a step too small to matter does not come this far.
LEARNED_GAP = 0.1


@dataclass
class ReplaceablePart:
    """A part of the learner that can be replaced by a known-good one.

    Attributes
    ----------
    kind : str
        ``callback``, ``optimizer``, ``loss`` and so on: the cause of a finding is ``substitution-`` and this.
    label : str
        How a sentence names it: "callback `Noise`".
    where : str
        The file and line of its class or function; "" for what is no code of its own.
    stand_in : str
        What takes its place, as in "left out" or "cross entropy in its place".
    """

    kind: str
    label: str
    where: str = ""
    stand_in: str = ""

    def __str__(self) -> str:
        return f"{self.label} ({self.where})" if self.where else self.label


@dataclass
class PlantedRun:
    """A fit on batches with a planted signal.

    Attributes
    ----------
    replaced : list of str
        The parts that were replaced, by their labels.
    lr : float
        The highest rate.
    costs : list of float
        What the planted targets cost at each step, by the known-good loss; the loss itself where that cannot be told.
    score : float
        How well the outputs tell the planted sides on newly planted rows: 0.5 by chance, 1 always.
    gap : float
        By how much the planted targets cost less than those of the other side, as a part of what both cost.
    steps : int
        Optimizer steps that were made.
    error : str
        What the run raised.
    """

    replaced: List[str]
    lr: float = 0.0
    costs: List[float] = field(default_factory=list)
    score: float = 0.5
    gap: float = 0.0
    steps: int = 0
    error: str = ""

    @property
    def learned(self) -> bool:
        """Whether the outputs tell the sides apart, and by more than a trifle."""
        return self.is_on_its_way and self.gap >= LEARNED_GAP

    @property
    def is_on_its_way(self) -> bool:
        """Whether the outputs tell the sides apart at all."""
        return not self.error and self.score >= LEARNED


@dataclass
class Substitution:
    """What a diagnosis by substitution did and found.

    Attributes
    ----------
    signal : str
        What was planted, in words.
    parts : list of ReplaceablePart
        All that could have been replaced.
    found : list of ReplaceablePart
        The smallest set found that had to be replaced; empty where the learner learned, or nothing helped.
    own : PlantedRun or None
        The run of the learner as it is.
    cured : PlantedRun or None
        The run with `found` replaced.
    runs : int
        How many fits were made.
    is_smallest : bool
        Whether the search came to its end: with each part of `found` left as it is, nothing was learned.
    proves_fault : bool
        Whether `found` is a fault for sure: a rate that is low, or a body that is frozen, may be on purpose.
    blind_metrics : list of str
        Metrics that score the learned outputs alike for right and for exchanged targets.
    seconds : float
    """

    signal: str = ""
    parts: List[ReplaceablePart] = field(default_factory=list)
    found: List[ReplaceablePart] = field(default_factory=list)
    own: Optional[PlantedRun] = None
    cured: Optional[PlantedRun] = None
    runs: int = 0
    is_smallest: bool = False
    proves_fault: bool = True
    blind_metrics: List[str] = field(default_factory=list)
    seconds: float = 0.0
