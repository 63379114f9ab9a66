"""Time per row of the way from texts to batches, without a model, from a thousand rows to a hundred thousand."""

from statistics import median

from section import Bar, Section, ranged, table
from timing import in_turns, ratios

from .fixed_cost import FASTAIS, versions_of

ROUNDS, LIMIT = 3, 0.10
# Small ones several times over, or they would be judged by a few milliseconds.
TIMES = {1_000: 5, 10_000: 1, 100_000: 1}


def measure(peers, options):
    rounds, found = options.rounds or ROUNDS, {}
    times = {100: 2, 1_000: 1} if options.dry else TIMES
    for fastai, where in FASTAIS.items():
        peers.ask(*where, "feeding", rows=1_000, times=1)  # warm
        found[fastai] = in_turns(
            {rows: peers.asker(*where, "feeding", rows=rows, times=many) for rows, many in times.items()}, rounds
        )
    return {"rounds": rounds, "found": found, "versions": versions_of(peers)}


def tell(raw):
    bars, lines = [], [f"`text_data` and one pass over its training batches, {raw['rounds']} rounds; CPU time per row."]
    for fastai, found in raw["found"].items():
        found = {int(rows): turns for rows, turns in found.items()}
        whole = {
            rows: [(turn["making"] + turn["passing"]) * 1e6 / rows for turn in turns] for rows, turns in found.items()
        }
        least, most = min(whole), max(whole)
        grown = {rows: median(ratios(whole[rows], whole[least])) for rows in whole}
        met = all(grown[rows] <= 1 + LIMIT for rows in grown)
        lowest = min(whole[most]) / min(whole[least])
        bars.append(
            Bar(
                f"growth: time per row, {least:,} to {most:,} rows, {fastai}",
                "flat ± 10 %",
                "; ".join(f"{rows:,}: {ratio:.2f}" for rows, ratio in grown.items() if rows != least)
                + f" (lowest of rounds: {lowest:.2f})",
                met,
                "see the table"
                if not met
                else "with more rows it is cheaper by more than that"
                if min(grown.values()) < 1 - LIMIT
                else "",
            )
        )
        lines += [
            "",
            f"**{fastai}**",
            "",
            *table(
                "rows | µs per row in all | tokenising and the rest | the pass | ÷ fewest rows",
                [
                    (
                        f"{rows:,}",
                        ranged(whole[rows], ".1f"),
                        ranged([turn["making"] * 1e6 / rows for turn in turns], ".1f"),
                        ranged([turn["passing"] * 1e6 / rows for turn in turns], ".1f"),
                        f"{grown[rows]:.2f}",
                    )
                    for rows, turns in found.items()
                ],
            ),
            "",
            f"A million rows, from that: {median(whole[most]):.0f} s.",
        ]
    return Section("Growth", bars, lines)
