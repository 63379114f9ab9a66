"""A hundred steps of one cell, exact; run by ``tests/golden_process.py``."""

import json

STEPS = 102


def compute():
    """Exact losses of both arms as hexadecimal floats, and a digest of the CPU's arithmetic: name -> value."""
    from fastai_hf_callback import compare
    from tests.parity.arithmetic import digest_of_arithmetic
    from tests.parity.matrix import make_learner

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


def render(found):
    """What is stored of it."""
    return json.dumps({"arithmetic": found["arithmetic"], "losses": found["patched"]}, indent=0) + "\n"
