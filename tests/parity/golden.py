"""A hundred steps of one cell, exact, in a process whose arithmetic does not depend on the CPU's make.

oneDNN picks its kernels by the CPU, so it is left out; with it two makes of CPU parted by one bit after twenty steps.

    python -m tests.parity.golden            # prints the losses
    python -m tests.parity.golden --write    # stores them for the stack at hand
"""

import json
import os
import subprocess
import sys
from pathlib import Path

# torch's plain x86-64 kernels, and MKL's code path that all CPUs have.
ENVIRONMENT = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"}
ROOT = Path(__file__).resolve().parents[2]
STEPS = 102


def path_of(stack: str) -> Path:
    return Path(__file__).parent / "golden" / f"{stack}.json"


def compute_in_subprocess():
    """Exact losses of both arms as hexadecimal floats, and a digest of the CPU's arithmetic: name -> value."""
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.parity.golden", "--inside"],
        check=True,
        stdout=subprocess.PIPE,
        env=environment,
    )
    return json.loads(done.stdout.decode().splitlines()[-1])


def computed():
    import torch

    from fastai_hf_callback import compare
    from tests.parity.arithmetic import digest_of_arithmetic
    from tests.parity.matrix import make_learner

    if hasattr(torch.backends, "mkldnn"):  # torch 1.4 has no such switch, and asks oneDNN for convolutions alone
        torch.backends.mkldnn.set_flags(False)
    arithmetic = digest_of_arithmetic()
    comparison = compare(
        lambda: make_learner("bert", "labels"),
        lambda learn: learn.fit_one_cycle(17, 5e-3),
        arms=("callback", "patched"),
        progress=False,
    )
    return {
        "arithmetic": arithmetic,
        **{arm: [step.loss.hex() for step in trace.steps] for arm, trace in comparison.traces.items()},
    }


def _as_json(found):
    return json.dumps({"arithmetic": found["arithmetic"], "losses": found["patched"]}, indent=0) + "\n"


def main(arguments) -> None:
    if "--inside" in arguments:
        print(json.dumps(computed()))
        return
    found = compute_in_subprocess()
    if "--write" in arguments:
        from tests.parity.matrix import stack_name

        path_of(stack_name()).parent.mkdir(exist_ok=True)
        path_of(stack_name()).write_text(_as_json(found), encoding="utf-8")
    print("\n".join(found["callback"]))


if __name__ == "__main__":
    main(sys.argv[1:])
