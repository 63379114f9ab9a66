"""What importing the package adds to importing torch, without fastai."""

import json
import os
import subprocess
from statistics import median

from section import Bar, Section, ranged, table
from timing import ROOT

ROUNDS, LIMIT = 5, 20
STEPS = {
    "torch": "import torch",
    "the package": "import fastai_hf_callback",
    "HFModel and unwrap": "from fastai_hf_callback import HFModel, unwrap",
    "every other name of its core": "[getattr(fastai_hf_callback, name) for name in fastai_hf_callback._CORE]",
}


def measure(peers, options):
    rounds = options.rounds or (2 if options.dry else ROUNDS)
    turns = [milliseconds(peers.pythons["v2"]) for _ in range(rounds)]
    return {
        "rounds": rounds,
        "found": {step: [turn[step] for turn in turns] for step in STEPS},
        "versions": {"fastai 2": peers.ask("v2", "raw_torch", "versions")},
    }


def milliseconds(python):
    """CPU time of each step in a new process, bytecode compiled before; no step may bring fastai."""
    lines = ["import json, sys, time", "found = {}"]
    for step, code in STEPS.items():
        lines += ["started = time.process_time()", code, f"found[{step!r}] = (time.process_time() - started) * 1e3"]
    lines += ["assert 'fastai' not in sys.modules", "print(json.dumps(found))"]
    done = subprocess.run(
        [str(python), "-W", "ignore", "-c", "\n".join(lines)],
        check=True,
        stdout=subprocess.PIPE,
        cwd=str(ROOT),
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout)


def tell(raw):
    found = raw["found"]
    added = median(found["the package"])
    return Section(
        "Import",
        [
            Bar(
                "import of the package without fastai",
                f"≤ torch's own + {LIMIT} ms",
                f"torch's own + {added:.1f} ms; with HFModel and unwrap "
                f"+ {added + median(found['HFModel and unwrap']):.1f} ms; with every name of its core "
                f"+ {sum(median(figures) for step, figures in found.items() if step != 'torch'):.1f} ms",
                added <= LIMIT,
                "" if added <= LIMIT else "see the table",
            )
        ],
        [
            f"CPU time of each step, one after the other in a new process, {raw['rounds']} processes.",
            "",
            *table(
                "step | ms: median (lowest - highest)",
                [(f"`{STEPS[step]}`", ranged(figures, ".1f")) for step, figures in found.items()],
            ),
        ],
    )
