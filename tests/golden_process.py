"""Losses and findings of today against stored ones, exact: computed in a process whose arithmetic is every CPU's.

oneDNN picks its kernels by the CPU, so it is left out; with it two makes of CPU parted by one bit after twenty steps.
One process for both, ``tests/parity/golden.py`` and ``tests/faults/golden.py``: importing takes as long as computing.

    python -m tests.golden_process            # prints what is found
    python -m tests.golden_process --write    # stores it for the stack at hand
"""

import json
import logging
import os
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, Dict, List

ROOT = Path(__file__).resolve().parents[1]
# torch's plain x86-64 kernels, and MKL's code path that all CPUs have.
ENVIRONMENT = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"}
ROOMS = ("parity", "faults")


def path_of(room: str, stack: str) -> Path:
    return ROOT / "tests" / room / "golden" / f"{stack}.json"


def compute_in_subprocess() -> Dict[str, Any]:
    """What ``compute`` of each room's ``golden.py`` returns: room -> found."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.golden_process", "--inside"],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)},
    )
    return json.loads(done.stdout.decode().splitlines()[-1])


def _compute() -> Dict[str, Any]:
    import torch

    if hasattr(torch.backends, "mkldnn"):  # torch 1.4 has no such switch, and asks oneDNN for convolutions alone
        torch.backends.mkldnn.set_flags(False)
    logging.disable(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {room: _golden(room).compute() for room in ROOMS}


def _golden(room: str) -> Any:
    return import_module(f"tests.{room}.golden")


def main(arguments: List[str]) -> None:
    if "--inside" in arguments:
        print(json.dumps(_compute()))
        return
    for room, found in compute_in_subprocess().items():
        text = _golden(room).render(found)
        if "--write" in arguments:
            from tests.parity.matrix import stack_name

            path_of(room, stack_name()).parent.mkdir(exist_ok=True)
            path_of(room, stack_name()).write_text(text, encoding="utf-8")
        print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
