"""Peak memory of a process that trains, patched and with the callback; also with all outputs returned."""

from functools import partial
from statistics import median

from section import Bar, Section, arms_table
from timing import in_turns

from .fixed_cost import FASTAIS, versions_of

ROUNDS, LIMIT = 2, 1.01
ARMS = ("patched", "patched, again", "callback")
# glibc keeps freed blocks as it pleases, 150 MiB more or less from run to run. With blocks above 64 KiB mapped and
# unmapped one by one, what is resident is what is alive.
EXACT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "1000000"}
KINDS = {"logits alone": False, "hidden states and attentions too": True}


def measure(peers, options):
    rounds, found = options.rounds or (1 if options.dry else ROUNDS), {}
    for fastai, where in FASTAIS.items():
        for kind, returned in KINDS.items():
            ask = partial(peers.ask_a_new_one, *where, "peak_memory", EXACT, returned=returned)
            arms = {arm: lambda at, ask=ask, arm=arm: ask(arm=arm.split(",")[0]) for arm in ARMS}
            found[f"{fastai}, {kind}"] = in_turns(arms, rounds)
    return {"rounds": rounds, "found": found, "versions": versions_of(peers)}


def tell(raw):
    bars, lines = (
        [],
        [
            f"Peak resident memory of a process that trains a BERT of six layers, 128 wide, on 16 x 128 "
            f"tokens, {raw['rounds']} processes per arm, freed blocks given back at once."
        ],
    )
    for kind, found in raw["found"].items():
        ratio = median(found["callback"]) / median(found["patched"])
        bars.append(
            Bar(
                f"peak memory ÷ patched loop, {kind}",
                f"≤ {LIMIT}",
                f"{ratio:.4f}",
                ratio <= LIMIT,
                "" if ratio <= LIMIT else "see the table",
            )
        )
        lines += ["", f"**{kind}**", "", *arms_table("MiB", found, "patched", ".1f", of=".4f")]
    return Section("Peak memory", bars, lines)
