"""What importing the package adds to importing torch, without fastai."""
import os
import subprocess
from statistics import median

from section import Bar, Section, arms_table
from timing import ROOT, in_turns

ROUNDS, LIMIT = 5, 20
CODE = {
    "torch": "import torch",
    "torch, again": "import torch",
    "the package": "import torch, fastai_hf_callback",
    "the package and its core names": "import sys, torch, fastai_hf_callback as f; [getattr(f, n) for n in f._CORE]; "
                                      "assert 'fastai' not in sys.modules",
}


def measure(peers, options):
    python = peers.pythons["v2"]
    found = in_turns({arm: lambda at, code=code: milliseconds(python, code) for arm, code in CODE.items()},
                     options.rounds or (2 if options.dry else ROUNDS))
    return {"rounds": len(found["torch"]), "found": found,
            "versions": {"fastai 2": peers.ask("v2", "raw_torch", "versions")}}


def milliseconds(python, code):
    """CPU time of a process that imports, its bytecode compiled before."""
    timed = f"{code}; import resource as r; u = r.getrusage(r.RUSAGE_SELF); print((u.ru_utime + u.ru_stime) * 1e3)"
    done = subprocess.run([str(python), "-W", "ignore", "-c", timed], check=True, stdout=subprocess.PIPE, cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    return float(done.stdout)


def tell(raw):
    found = raw["found"]
    added = {arm: median(a - b for a, b in zip(found[arm], found["torch"])) for arm in found}
    met = added["the package"] <= LIMIT
    return Section("Import", [
        Bar("import of the package without fastai", f"≤ torch's own + {LIMIT} ms",
            f"{added['the package']:+.1f} ms (torch against itself: {added['torch, again']:+.1f} ms); with every name "
            f"of its core looked up {added['the package and its core names']:+.1f} ms", met,
            "" if met else "see the table")],
        [f"CPU time of a new process, {raw['rounds']} of each.", "",
         *arms_table("ms", found, "torch", ".0f")])
