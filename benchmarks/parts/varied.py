"""Samples per second on texts of varied length: raw loop, Trainer, blurr, both fastais."""

from statistics import median

from section import Bar, Section, ranged, table
from timing import in_turns, ratios

ROUNDS, SIZE = 3, "small"
NAMES = {"small": "a small model (2 layers, 128 wide)", "minilm": "MiniLM's size", "tiny": "a tiny model"}
RAW, ORACLE, TRAINER, GROUPED = "raw loop", "raw loop, our batches", "Trainer", "Trainer, length grouping"
BLURR, FT1, FT2 = "blurr", "fastai 1 + text_data", "fastai 2 + text_data"
OURS = (FT1, FT2)
ARMS = {
    RAW: ("v2", "raw_torch", dict(arm="random")),
    ORACLE: ("v2", "raw_torch", dict(arm="our batches")),
    TRAINER: ("v2", "hf_trainer", dict(arm="random")),
    GROUPED: ("v2", "hf_trainer", dict(arm="grouped")),
    BLURR: ("peer-blurr", "with_blurr", {}),
    "fastai 1, patched": ("v1", "on_fastai1", dict(arm="patched")),
    "fastai 1 + callback": ("v1", "on_fastai1", dict(arm="callback")),
    FT1: ("v1", "on_fastai1", dict(arm="text_data")),
    "fastai 2 + callback": ("v2", "on_fastai2", dict(arm="callback")),
    FT2: ("v2", "on_fastai2", dict(arm="text_data")),
}
# Where the loops differ by what they compute and by little else, the plain ones are left out.
THAT_SORT = (RAW, ORACLE, GROUPED, BLURR, *OURS)
ROWS = {640: tuple(ARMS), 2_560: THAT_SORT}


def measure(peers, options, size=SIZE, many=ROWS, rounds=ROUNDS):
    size, many = ("tiny", {96: tuple(ARMS)}) if options.dry else (size, many)
    found = {}
    for rows, wanted in many.items():
        there = {arm: ARMS[arm] for arm in wanted if peers.has(ARMS[arm][0])}
        arms = {
            arm: peers.asker(*where, "epoch", seeded=True, size=size, rows=rows, **given)
            for arm, (*where, given) in there.items()
        }
        found[rows] = {
            "real": peers.ask("v2", "raw_torch", "real_tokens", rows=rows),
            "arms": in_turns(arms, options.rounds or rounds),
        }
    return {
        "found": found,
        "size": size,
        "versions": {
            script: peers.ask(environment, script, "versions")
            for environment, script, _ in ARMS.values()
            if peers.has(environment)
        },
    }


def tell(raw):
    found, lines = {int(rows): one for rows, one in raw["found"].items()}, []
    for rows, one in found.items():
        arms, base = one["arms"], seconds(one["arms"][RAW])
        lines += [
            "",
            f"**{rows:,} rows, {len(base)} round(s)**",
            "",
            *table(
                "arm | samples per second | raw loop ÷ this, median of rounds | tokens computed per real token | "
                "what its padding allows",
                [
                    (
                        arm,
                        ranged([rows / s for s in seconds(turns)], ".1f"),
                        ranged(ratios(base, seconds(turns))),
                        f"{share(one, arm):.3f}",
                        f"{allowed(arms, arm):.2f}",
                    )
                    for arm, turns in arms.items()
                ],
            ),
        ]
    model = NAMES[raw["size"]]
    bars = [bar_of_padding(arm, found, model) for arm in OURS]
    bars += [
        bar_against(arm, other, limit, found, model) for other, limit in ((GROUPED, 1.4), (BLURR, 1.05)) for arm in OURS
    ]
    return Section(
        f"Samples per second on varied lengths, {model}",
        bars,
        [
            "One epoch of texts of 5 - 120 tokens (log-normal, median 25, sigma 0.6), 32 rows per batch, "
            "torch's AdamW in "
            "every arm, no clipping, constant rate; CPU time of the epoch, what was tokenised beforehand not counted "
            "(blurr tokenises each batch as it is made). What the padding allows: tokens that the raw loop computes ÷ "
            'tokens that the arm computes, as the model itself counted them. "Our batches": the raw loop in the order '
            "that `text_data` draws.",
            *lines,
        ],
    )


def seconds(turns):
    return [turn["seconds"] for turn in turns]


def tokens(turns):
    return [turn["tokens"] for turn in turns]


def share(one, arm):
    """Tokens computed per real token."""
    return median(tokens(one["arms"][arm])) / one["real"]


def allowed(arms, arm):
    return median(ratios(tokens(arms[RAW]), tokens(arms[arm])))


def gained(arms, arm, over=RAW):
    return median(ratios(seconds(arms[over]), seconds(arms[arm])))


def bar_of_padding(arm, found, model):
    of_allowed = {rows: gained(one["arms"], arm) / allowed(one["arms"], arm) for rows, one in found.items()}
    met = all(part >= 0.95 for part in of_allowed.values())
    reached = "; ".join(
        f"{rows:,} rows: {gained(one['arms'], arm):.2f} of {allowed(one['arms'], arm):.2f} = {of_allowed[rows]:.1%}"
        for rows, one in found.items()
    )
    reason = (
        ""
        if met
        else (
            "what a step costs whatever its length (optimizer, loop) is not saved with the padding; of what "
            "the raw loop "
            "reaches on the same batches "
            + "; ".join(f"{rows:,} rows {gained(one['arms'], arm, ORACLE):.1%}" for rows, one in found.items())
        )
    )
    return Bar(
        f"samples per second ÷ raw loop padded to the batch's maximum, {model}, {arm}",
        "≥ 95 % of what the saved padding allows",
        reached,
        met,
        reason,
    )


def bar_against(arm, other, limit, found, model):
    there = {rows: gained(one["arms"], arm, other) for rows, one in found.items() if other in one["arms"]}
    what = f"… ÷ {other}, {model}, {arm}"
    if not there:
        return Bar(what, f"≥ {limit}", "-", None, "its environment is not there")
    met, reason = all(ratio >= limit for ratio in there.values()), ""
    if not met and other == GROUPED:
        reason = (
            "Trainer sorts windows of a quarter of the batches, at most 50: the more rows, the less it pads, and "
            "both spend their time in the same model. Tokens computed per real token: "
            + "; ".join(
                f"{rows:,} rows {share(found[rows], other):.2f} there, {share(found[rows], arm):.2f} here"
                for rows in there
            )
        )
    elif not met:
        reason = "its batches are of like length too: " + "; ".join(
            f"{rows:,} rows {share(found[rows], other):.3f} tokens per real token there, {share(found[rows], arm):.3f} "
            "here"
            for rows in there
        )
    figures = "; ".join(f"{rows:,} rows: {ratio:.2f}" for rows, ratio in there.items())
    return Bar(what, f"≥ {limit}", figures, met, reason)
