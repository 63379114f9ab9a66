"""Tokenising many comments: the fast tokenizer's own call for all of them, and ours."""

from statistics import median

from section import Bar, Section, arms_table, table
from timing import in_turns, ratios

ROUNDS, ROWS, LIMIT, LINEAR = 3, 100_000, 1.2, 1.1
PARTS = (0.25, 0.5, 1.0)
ARMS = ("own call", "text_data's")


def measure(peers, options):
    rounds, rows = options.rounds or ROUNDS, 2_000 if options.dry else ROWS
    path = options.comments and str(options.comments)
    peers.ask("v2", "tokenising", "prepare", rows=rows, path=path)
    found = in_turns(
        {arm: lambda at, arm=arm: peers.ask("v2", "tokenising", "encode", arm=arm) for arm in ARMS}, rounds
    )
    memory = {
        arm: {
            int(rows * part): peers.ask_a_new_one(
                "v2", "tokenising", "peak_memory", arm=arm, path=path, rows=int(rows * part)
            )
            for part in PARTS
        }
        for arm in ARMS
    }
    return {
        "rounds": rounds,
        "rows": rows,
        "found": found,
        "memory": memory,
        "texts": path and path.split("/")[-1],
        "versions": {"tokenizers": peers.ask("v2", "tokenising", "versions")},
    }


def tell(raw):
    clock, cpu = ({arm: [turn[of] for turn in turns] for arm, turns in raw["found"].items()} for of in ("clock", "cpu"))
    on_clock, on_cpu = (median(ratios(seconds[ARMS[1]], seconds[ARMS[0]])) for seconds in (clock, cpu))
    per_row = {
        arm: {int(rows): (one["peak"] - one["before"]) * 1024 / int(rows) for rows, one in parts.items()}
        for arm, parts in raw["memory"].items()
    }
    ours = list(per_row[ARMS[1]].values())
    growth = ours[-1] / ours[1] if ours[1] > 0 else None
    cores = raw["versions"]["tokenizers"]["cores"]
    tokens = {turn["tokens"] for turns in raw["found"].values() for turn in turns}
    return Section(
        f"Tokenising {raw['rows']:,} comments",
        [
            Bar(
                f"tokenising {raw['rows']:,} comments ÷ the fast tokenizer's own call, on {cores} cores",
                f"≤ {LIMIT}",
                f"{on_clock:.2f} on the clock, {on_cpu:.2f} of CPU time",
                max(on_clock, on_cpu) <= LIMIT,
                "" if max(on_clock, on_cpu) <= LIMIT else "see the tables",
            ),
            Bar(
                "… its memory linear",
                "per row ± 10 % from half of the rows to all",
                *(("nothing was seen to grow", None) if growth is None else (f"{growth:.2f}", growth <= LINEAR)),
                "" if growth is None or growth <= LINEAR else "see the table",
            ),
        ],
        [
            f"{'`' + raw['texts'] + '`' if raw['texts'] else 'The bundled comments'}, over and over, 128 "
            "tokens at most, a "
            f"WordPiece tokenizer of 8,000 pieces; {raw['rounds']} rounds in one process. Both give "
            f"{'the same number of tokens' if len(tokens) == 1 else 'DIFFERENT numbers of tokens'}.",
            "",
            "On the clock:",
            "",
            *arms_table("seconds", clock, ARMS[0]),
            "",
            "CPU time, all threads together:",
            "",
            *arms_table("seconds", cpu, ARMS[0]),
            "",
            "Memory that encoding adds at its most to that of a fresh process:",
            "",
            *table(
                "arm | " + " | ".join(f"{rows:,} rows, KiB per row" for rows in per_row[ARMS[0]]),
                [(arm, *(f"{figure:.2f}" for figure in parts.values())) for arm, parts in per_row.items()],
            ),
        ],
    )
