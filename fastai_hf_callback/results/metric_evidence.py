"""``MetricEvidence``: one metric in figures, a part of ``Evidence``."""

from dataclasses import dataclass, field
from typing import List, Optional, Tuple

__all__ = ["MetricEvidence"]


@dataclass
class MetricEvidence:
    """One metric, on real outputs of ``rows`` validation rows and on synthetic ones.

    ``at_tenth``, ``at_tenfold``: of right numbers at such distances from their mean. ``distinct_predictions``: classes
    that real outputs predict. ``error``: what it raises whatever the targets; ``not_scored``: of these targets alone
    (one class where it needs two). ``ahead``: with a target for each token, it looks so many positions on.
    ``with_left_out``: right outputs on the rows, and with as many targets more that the loss leaves out.
    ``distinct_targets``: values among the rows' targets.
    """

    name: str
    value: Optional[float] = None
    base_rate: Optional[float] = None
    at_ideal: Optional[float] = None
    at_worst: Optional[float] = None
    at_random: Optional[float] = None
    at_other_random: Optional[float] = None
    at_tenth: Optional[float] = None
    at_tenfold: Optional[float] = None
    ideal_on_halves: List[float] = field(default_factory=list)
    with_rows_reordered: List[Tuple[float, float]] = field(default_factory=list)
    with_rows_repeated: List[Tuple[float, float]] = field(default_factory=list)
    on_single_rows: List[Tuple[float, ...]] = field(default_factory=list)
    with_rows_shifted: Optional[float] = None
    after_another_epoch: Optional[float] = None
    in_first_epoch: Optional[float] = None
    resolution: float = 0.0
    rows: int = 0
    distinct_predictions: Optional[int] = None
    error: str = ""
    shapes: str = ""
    not_scored: str = ""
    ahead: Optional[int] = None
    reads_targets: Optional[bool] = None
    with_left_out: Optional[Tuple[float, float]] = None
    distinct_targets: Optional[int] = None
