"""One small function per cause: ``Evidence`` -> ``Finding`` or None. Imports ``results/`` only.

One file per family. To add a check: write the function in its family's file, list it there in ``CHECKS``, and give its
cause a place in the file's ``CAUSES``; where it only follows from another cause, a line in the file's ``EXPLAINED_BY``.
The tables below are made of these.
"""

from types import ModuleType
from typing import Callable, Dict, Iterable, List, Tuple, Union

from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import Finding

from . import (
    gradient,
    inputs,
    labels,
    metrics,
    numeric,
    optimizer,
    outputs,
    pairing,
    precision,
    step_size,
    substitution,
    weights,
    wiring,
)

__all__ = ["ALL_CHECKS", "CAUSE_ORDER", "EXPLAINED_BY", "Check"]

Check = Callable[[Evidence], Union[Finding, Iterable[Finding], None]]

# In the order of ``CAUSE_ORDER``, below.
_FAMILIES: List[ModuleType] = [
    substitution,  # what an experiment has shown, where one was made
    wiring,
    weights,
    gradient,
    precision,
    optimizer,
    step_size,
    pairing,
    outputs,
    inputs,
    numeric,
    labels,
    metrics,
]
ALL_CHECKS: List[Check] = [check for family in _FAMILIES for check in family.CHECKS]

# Which cause comes first among findings of one severity: what makes the others irrelevant, then the specific before
# the general, then the likelier. In the order of the gradient's path: wiring, weights, graph, step, output, input,
# metric.
_BY_FAMILY: List[str] = [cause for family in _FAMILIES for cause in family.CAUSES] + ["unknown-failure"]
# The result of a fit comes after everything that may have caused it.
CAUSE_ORDER: List[str] = sorted(_BY_FAMILY, key=lambda cause: cause == "nothing-learned-yet")

# A finding is left out where one of these was found: it is only their consequence.
EXPLAINED_BY: Dict[str, Tuple[str, ...]] = {
    cause: by for family in _FAMILIES for cause, by in family.EXPLAINED_BY.items()
}
