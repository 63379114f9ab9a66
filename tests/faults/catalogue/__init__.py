"""All seeded faults, family by family, and each with each architecture on which it makes sense."""
from typing import Dict, Iterator, List, Tuple

from tests.faults.catalogue import gradient, inputs, metric, optimizer, output, registration, state
from tests.faults.fault import Fault, joined
from tests.faults.tasks import HELD_OUT, NEWEST, available

FAMILIES: Dict[str, List[Fault]] = {
    "gradient": gradient.FAULTS, "optimizer": optimizer.FAULTS, "state": state.FAULTS, "output": output.FAULTS,
    "inputs": inputs.FAULTS, "metric": metric.FAULTS, "registration": registration.FAULTS}

FAULTS: List[Fault] = joined(*FAMILIES.values())


def held_out_cases() -> Iterator[Tuple[Fault, str]]:
    """Every fault that makes sense on transformers 5's BERT, on the architectures that were held out, in turn."""
    for i, one in enumerate(f for f in FAULTS if NEWEST in f.architectures):
        for j in range(2):
            yield one, HELD_OUT[(i + 2 * j) % len(HELD_OUT)]


def all_cases() -> Iterator[Tuple[Fault, str]]:
    """Each fault with each of its architectures."""
    for fault in FAULTS:
        for architecture in filter(available, fault.architectures):
            yield fault, architecture
