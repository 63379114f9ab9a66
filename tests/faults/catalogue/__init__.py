"""All seeded faults, family by family, and each with each architecture on which it makes sense."""
from typing import Dict, Iterator, List, Tuple

from tests.faults.catalogue import gradient, inputs, metric, optimizer, output, registration, state
from tests.faults.fault import Fault, joined
from tests.faults.tasks import available

FAMILIES: Dict[str, List[Fault]] = {
    "gradient": gradient.FAULTS, "optimizer": optimizer.FAULTS, "state": state.FAULTS, "output": output.FAULTS,
    "inputs": inputs.FAULTS, "metric": metric.FAULTS, "registration": registration.FAULTS}

FAULTS: List[Fault] = joined(*FAMILIES.values())


def all_cases() -> Iterator[Tuple[Fault, str]]:
    """Each fault with each of its architectures."""
    for fault in FAULTS:
        for architecture in filter(available, fault.architectures):
            yield fault, architecture
