"""What the doctor says of a handful of faulty learners, exact; run by ``tests/golden_process.py``."""

import json
from typing import Any, Dict, List

# One of each family, and of each kind of cure: a call, a line to paste, a sentence.
GOLDEN_FAULTS = (
    "callback-detaches-output",
    "split-without-body",
    "rate-nought",
    "mask-inverted",
    "labels-all-the-first",
    "targets-with-targets",
    "patch-without-step",
    "nothing-unwraps",
)


def compute() -> Dict[str, List[List[str]]]:
    """Fault -> findings, most probable first: cause, severity, fix."""
    from fastai_hf_callback import diagnose
    from tests.faults.catalogue import FAULTS
    from tests.faults.stacks import stack

    def findings(fault: Any) -> List[List[str]]:
        try:
            found = diagnose(fault.ask(stack.named("bert"))).findings
            return [[f.cause, f.severity, f.fix] for f in found]
        finally:
            if fault.undo:
                fault.undo()

    return {fault.name: findings(fault) for fault in FAULTS if fault.name in GOLDEN_FAULTS}


def render(found: Dict[str, List[List[str]]]) -> str:
    """What is stored of it."""
    return json.dumps(found, indent=1) + "\n"
