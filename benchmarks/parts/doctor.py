"""What the doctor costs during a fit."""

from statistics import median

from section import Bar, Section, ranged, table

from .fixed_cost import FASTAIS, versions_of

ROUNDS, STEPS = 3, 120
LIMIT, WORST = 0.01, 0.05


def measure(peers, options):
    """Each fit in a process of its own: what is imported for the first look counts."""
    rounds, steps, size = options.rounds or ROUNDS, 6 if options.dry else STEPS, "tiny" if options.dry else "minilm"
    question = dict(kind=size, arm="doctor", batches=steps)
    found = {
        fastai: [peers.ask_a_new_one(*where, "steps", **question) for _ in range(rounds)]
        for fastai, where in FASTAIS.items()
    }
    return {"rounds": rounds, "steps": steps, "found": found, "versions": versions_of(peers)}


def tell(raw):
    shares = {fastai: [turn["doctor"] for turn in turns] for fastai, turns in raw["found"].items()}
    return Section(
        "The doctor",
        [bar_of(fastai, found, raw["steps"]) for fastai, found in shares.items()],
        [
            f"Fits of {raw['steps']} steps of MiniLM's size, 8 rows of 32 tokens, {raw['rounds']} of each "
            "fastai, each in "
            "a new process: the CPU time spent inside the doctor's own methods, as a share of the fit's. "
            "Nearly all of it "
            "is its look at the first batch and at the first epoch's end, whose cost does not grow with the epoch.",
            "",
            *table(
                "fastai | share of the fit | seconds in the doctor | seconds of the fit",
                [
                    (
                        fastai,
                        ranged([100 * share for share in shares[fastai]]) + " %",
                        ranged([turn["seconds"] * turn["doctor"] for turn in turns]),
                        ranged([turn["seconds"] for turn in turns], ".1f"),
                    )
                    for fastai, turns in raw["found"].items()
                ],
            ),
        ],
    )


def bar_of(fastai, shares, steps):
    met = median(shares) <= LIMIT and max(shares) <= WORST
    return Bar(
        f"Doctor's share of an epoch of {steps} steps of MiniLM's size, {fastai}",
        f"median ≤ {LIMIT:.0%}, worst ≤ {WORST:.0%}",
        f"{median(shares):.2%}, worst {max(shares):.2%}",
        met,
        ""
        if met
        else "its look at the first batch sets the weights aside, forwards a few rows a dozen times, "
        "and costs the same in an epoch of any length",
    )
