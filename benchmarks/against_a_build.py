"""What HFModel and HFCallback cost per batch over a nearly free model, next to another build of this package.

    python benchmarks/against_a_build.py CHECKOUT [--rounds 60] [--environments .venvs] [--only "fastai 2"]

CHECKOUT is a clone of this repository at another commit. Both builds run the same script in the same environment and
take turns; the other build runs twice, so that the noise is seen. Ends with 1 where a ratio is above the limit.
"""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from parts.fixed_cost import FASTAIS
from section import arms_table
from timing import ROOT, Peers, in_turns, noise, ratios

OTHER, AGAIN, THIS = "the other build", "the other build, again", "this build"
LIMIT, BATCHES = 1.02, 60


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--environments", type=Path, default=ROOT / ".venvs")
    parser.add_argument("--only", choices=list(FASTAIS))
    arguments = parser.parse_args()
    if not (arguments.checkout / "fastai_hf_callback").is_dir():
        parser.error(f"{arguments.checkout} holds no fastai_hf_callback; expected a clone of this repository")
    within = [_told(name, arguments) for name in FASTAIS if arguments.only in (None, name)]
    return 0 if all(within) else 1


def _told(name, arguments):
    """Print one fastai's table; return whether the limit was kept."""
    found = measure(name, arguments.checkout, arguments.environments, arguments.rounds)
    ratio, far = median(ratios(found[THIS], found[OTHER])), noise(ratios(found[AGAIN], found[OTHER]))
    of_medians = median(found[THIS]) / median(found[OTHER])
    print(f"\n{name}: this build ÷ the other {of_medians:.3f} (ratio of medians), {ratio:.3f} (median of ratios)")
    print(f"the other build against itself: 1 ± {far:.3f}; limit {LIMIT}\n")
    print("\n".join(arms_table("µs per batch", found, OTHER, ".0f")), flush=True)
    return of_medians <= LIMIT


def measure(name, checkout, environments, rounds, batches=BATCHES):
    """Return each arm's median microseconds from one batch to the next, one figure per round."""
    environment, script = FASTAIS[name]
    pythons = {environment: environments / environment / "bin" / "python"}
    with ExitStack() as stack:
        arms = {}
        for arm, root in ((OTHER, checkout), (AGAIN, checkout), (THIS, ROOT)):
            peers = stack.enter_context(Peers(pythons, root=root.resolve()))
            arms[arm] = peers.asker(environment, script, "steps", kind="free, named", arm="callback", batches=batches)
        in_turns(arms, 3)  # warm
        return {arm: [turn["median"] for turn in turns] for arm, turns in in_turns(arms, rounds).items()}


if __name__ == "__main__":
    sys.exit(main())
