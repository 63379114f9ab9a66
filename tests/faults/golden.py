"""What the doctor says of a handful of faulty learners, exact, in a process whose arithmetic is every CPU's.

python -m tests.faults.golden            # prints it
python -m tests.faults.golden --write    # stores it for the stack at hand
"""

import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, Dict, List

from tests.parity.golden import ENVIRONMENT, ROOT

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


def path_of(stack: str) -> Path:
    return Path(__file__).parent / "golden" / f"{stack}.json"


def diagnose_in_subprocess() -> Dict[str, List[List[str]]]:
    """Fault -> findings, most probable first: cause, severity, fix."""
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.faults.golden", "--inside"],
        check=True,
        stdout=subprocess.PIPE,
        env=environment,
    )
    return json.loads(done.stdout.decode().splitlines()[-1])


def said() -> Dict[str, List[List[str]]]:
    import torch

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

    if hasattr(torch.backends, "mkldnn"):  # it picks its kernels by the CPU; torch 1.4 has no such switch
        torch.backends.mkldnn.set_flags(False)
    logging.disable(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {fault.name: findings(fault) for fault in FAULTS if fault.name in GOLDEN_FAULTS}


def main(arguments: List[str]) -> None:
    if "--inside" in arguments:
        print(json.dumps(said()))
        return
    found = json.dumps(diagnose_in_subprocess(), indent=1)
    if "--write" in arguments:
        from tests.parity.matrix import stack_name

        path_of(stack_name()).parent.mkdir(exist_ok=True)
        path_of(stack_name()).write_text(found + "\n", encoding="utf-8")
    print(found)


if __name__ == "__main__":
    main(sys.argv[1:])
