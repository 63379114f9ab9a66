"""One small function per cause: ``Evidence`` -> ``Finding`` or None. Imports ``evidence`` and ``finding`` only.

A file per family. To add a check: write the function, list it in its file's ``CHECKS``, and give its cause a place
in ``CAUSE_ORDER``; where it is only the consequence of another cause, a line in ``EXPLAINED_BY``.
"""

from typing import Callable, Dict, List, Tuple

from . import gradient, inputs, labels, metrics, optimizer, outputs, precision, weights, wiring

__all__ = ["ALL_CHECKS", "CAUSE_ORDER", "EXPLAINED_BY"]

ALL_CHECKS: List[Callable] = [
    check
    for family in (wiring, weights, gradient, optimizer, precision, outputs, inputs, labels, metrics)
    for check in family.CHECKS
]

# Which cause comes first among findings of one severity: what makes the others moot, then the specific before the
# general, then the likelier. Seen from the gradient's way: wiring, weights, graph, step, output, input, metric.
_BY_FAMILY: List[str] = [
    cause
    for family in (wiring, weights, gradient, precision, optimizer, outputs, inputs, labels, metrics)
    for cause in family.CAUSES
] + ["unknown-failure"]
# What a fit came to stands after all that may have kept it there.
CAUSE_ORDER: List[str] = sorted(_BY_FAMILY, key=lambda cause: cause == "nothing-learned-yet")

# A finding is left out where one of these was found: it is only its consequence.
EXPLAINED_BY: Dict[str, Tuple[str, ...]] = {
    cause: by
    for family in (wiring, weights, gradient, optimizer, precision, outputs, inputs, labels, metrics)
    for cause, by in family.EXPLAINED_BY.items()
}
