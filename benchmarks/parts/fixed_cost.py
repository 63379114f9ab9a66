"""What the callback costs per batch over a nearly free model, beside fastai's own callback that does nothing."""

from section import Bar, Section, arms_table
from timing import in_turns, noise, ratios

ROUNDS, BATCHES = 60, 60
ARMS = ("patched", "patched no-op", "patched no-op, again", "callback")
BASE, AGAIN, LIMIT = ARMS[1], ARMS[2], 1.02
FASTAIS = {"fastai 1": ("v1", "on_fastai1"), "fastai 2": ("v2", "on_fastai2")}


def measure(peers, options):
    rounds, batches, found = options.rounds or ROUNDS, 8 if options.dry else BATCHES, {}
    for fastai, where in FASTAIS.items():
        arms = {arm: peers.asker(*where, "steps", kind="free", arm=arm, batches=batches) for arm in ARMS}
        in_turns(arms, 2)  # warm
        found[fastai] = {arm: [turn["median"] for turn in turns] for arm, turns in in_turns(arms, rounds).items()}
    return {"rounds": rounds, "batches": batches, "found": found, "versions": versions_of(peers)}


def versions_of(peers):
    return {fastai: peers.ask(*where, "versions") for fastai, where in FASTAIS.items()}


def tell(raw):
    bars, lines = (
        [],
        [
            f"A nearly free model, {raw['rounds']} rounds of {raw['batches']} batches per arm; CPU time "
            "from one batch to the next, the median of each round."
        ],
    )
    for fastai, found in raw["found"].items():
        ours, again = (sorted(ratios(found[arm], found[BASE])) for arm in ("callback", AGAIN))
        middle, far = ours[len(ours) // 2], noise(again)
        bars.append(
            Bar(
                f"fixed cost of the callback per batch ÷ fastai's own no-op callback, {fastai}",
                f"≤ {LIMIT}",
                f"{middle:.3f} (no-op against itself: 1 ± {far:.3f})",
                middle <= LIMIT,
                "" if middle <= LIMIT else "see the table",
            )
        )
        lines += ["", f"**{fastai}**", "", *arms_table("µs per batch", found, BASE, ".0f")]
    return Section("Fixed cost of the callback", bars, lines)
