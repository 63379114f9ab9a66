"""All seeded faults, family by family, and each with each architecture on which it makes sense."""

from importlib import import_module
from typing import Dict, Iterator, List, Tuple

from tests.faults.catalogue import gradient, inputs, metric, optimizer, output, registration, state
from tests.faults.fault import Fault, joined
from tests.faults.stacks import stack

# Of what one fastai alone can hold, only the installed one's can be imported.
FAMILIES: Dict[str, List[Fault]] = {
    "gradient": gradient.FAULTS,
    "optimizer": optimizer.FAULTS,
    "state": state.FAULTS,
    "output": output.FAULTS,
    "inputs": inputs.FAULTS,
    "metric": metric.FAULTS,
    "registration": registration.FAULTS,
    f"only on {stack.NAME}": import_module(stack.ONLY_HERE).FAULTS,
}

FAULTS: List[Fault] = joined(*FAMILIES.values())


def held_out_cases() -> Iterator[Tuple[Fault, str]]:
    """Every fault that makes sense on the newest model, on the architectures that were held out, in turn."""
    for i, one in enumerate(f for f in FAULTS if stack.NEWEST in f.architectures):
        for j in range(2):
            yield one, stack.HELD_OUT[(i + 2 * j) % len(stack.HELD_OUT)]


def all_cases() -> Iterator[Tuple[Fault, str]]:
    """Each fault with each of its architectures."""
    for fault in FAULTS:
        for architecture in filter(stack.available, fault.architectures):
            yield fault, architecture
