"""All reported kinds, and each with each architecture on which it makes sense."""

from typing import Iterator, List, Tuple

from tests.faults.reported import callbacks, loaders, losses, metrics, models, optimizers, targets, texts, weights
from tests.faults.reported.kind import PARTS, Kind

FAMILIES = (models, weights, optimizers, callbacks, losses, texts, targets, metrics, loaders)
KINDS: List[Kind] = sorted((one for family in FAMILIES for one in family.KINDS), key=lambda one: PARTS.index(one.part))


def named(name: str) -> Kind:
    return next(one for one in KINDS if one.name == name)


def all_cases() -> Iterator[Tuple[str, str]]:
    """Names of kinds and architectures."""
    return ((one.name, architecture) for one in KINDS for architecture in one.architectures)
