"""A training step of MiniLM's size through the callback and through the patched loop; the doctor beside them."""

from statistics import median

from section import Bar, Section, arms_table, ranged
from timing import in_turns, noise, ratios

from .fixed_cost import FASTAIS, versions_of

ROUNDS, BATCHES = 6, 6
ARMS = ("patched", "patched, again", "callback")


def measure(peers, options):
    rounds, batches, size, found = options.rounds or ROUNDS, BATCHES, "tiny" if options.dry else "minilm", {}
    for fastai, where in FASTAIS.items():
        arms = {arm: peers.asker(*where, "steps", kind=size, arm=arm, batches=batches) for arm in ARMS}
        in_turns(arms, 1)  # warm
        # The first of a fit holds the look at its first batch.
        found[fastai] = {
            arm: [median(turn["gaps"][1:]) / 1e3 for turn in turns] for arm, turns in in_turns(arms, rounds).items()
        }
    return {"rounds": rounds, "batches": batches, "found": found, "versions": versions_of(peers)}


def tell(raw):
    bars, lines = (
        [],
        [
            f"BERT of MiniLM's size (22.7 million weights), 8 rows of 32 tokens, fastai's own optimizer; "
            f"{raw['rounds']} rounds of {raw['batches']} batches, CPU time from one batch to the next, the "
            f"median of each round. Noise: how far from 1 the median of the A/A ratios may lie (bootstrap, "
            f"95 %)."
        ],
    )
    for fastai, found in raw["found"].items():
        ours, again = (ratios(found[arm], found["patched"]) for arm in ("callback", "patched, again"))
        far, middle = noise(again), median(ours)
        bars.append(
            Bar(
                f"MiniLM-sized training step ÷ patched loop, {fastai}",
                "inside the A/A noise",
                f"{middle:.3f} (A/A: 1 ± {far:.3f})",
                abs(middle - 1) <= far,
                "" if abs(middle - 1) <= far else f"rounds: {ranged(ours, '.3f')}",
            )
        )
        lines += ["", f"**{fastai}**", "", *arms_table("ms per step", found, "patched", ".0f")]
    return Section("A training step", bars, lines)
