"""Samples per second on texts of varied length: raw loop, Trainer, blurr, both fastais."""
from statistics import median

from section import Bar, Section, ranged, table
from timing import in_turns, ratios

ROUNDS, SMALL_ROUNDS = 3, 3
ROWS = {"minilm": (640,), "small": (640, 2560, 6400)}
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
# At MiniLM's size the loops differ by what they compute and by little else: there the plain ones are left out.
AT_MINILM = (RAW, ORACLE, GROUPED, BLURR, *OURS)


def measure(peers, options):
    there = {arm: where for arm, where in ARMS.items() if peers.has(where[0])}
    found = {}
    for size, many in ({"tiny": (96,)} if options.dry else ROWS).items():
        arms = {arm: where for arm, where in there.items() if size != "minilm" or arm in AT_MINILM}
        for rows in many:
            def arm_of(environment, script, given):
                return lambda at: peers.ask(environment, script, "epoch", size=size, rows=rows, seed=at, **given)
            rounds = options.rounds or (ROUNDS if size == "minilm" else SMALL_ROUNDS)
            print(f"  {size}, {rows} rows", flush=True)
            found[f"{size}, {rows}"] = {"real": peers.ask("v2", "raw_torch", "real_tokens", rows=rows),
                                        "rows": rows, "size": size,
                                        "arms": in_turns({arm: arm_of(*where) for arm, where in arms.items()}, rounds)}
    return {"found": found, "versions": {script: peers.ask(environment, script, "versions")
                                         for environment, script, _ in there.values()}}


def seconds(turns):
    return [turn["seconds"] for turn in turns]


def tokens(turns):
    return [turn["tokens"] for turn in turns]


def tell(raw):
    bars, lines = [], []
    for key, one in raw["found"].items():
        arms, rows = one["arms"], one["rows"]
        base = seconds(arms[RAW])
        lines += ["", f"**{one['size']}, {rows} rows, {len(base)} rounds**", "", *table(
            "arm | samples per second | raw loop ÷ this, median of rounds | tokens computed per real token | "
            "what its padding allows", [
                (arm, ranged([rows / s for s in seconds(turns)], ".1f"), ranged(ratios(base, seconds(turns))),
                 f"{median(tokens(turns)) / one['real']:.3f}", f"{allowed(arms, arm):.2f}")
                for arm, turns in arms.items()])]
    for arm in OURS:
        bars += [bar_of_padding(arm, raw["found"])]
    bars += [bar_against(arm, GROUPED, 1.4, raw["found"], "") for arm in OURS]
    bars += [bar_against(arm, BLURR, 1.05, raw["found"], "") for arm in OURS]
    return Section("Samples per second on varied lengths", bars, [
        "One epoch of texts of 5 - 120 tokens (log-normal, median 25, sigma 0.6), 32 rows per batch, torch's AdamW in "
        "every arm, no clipping, constant rate; CPU time of the epoch, what was tokenised beforehand not counted (blurr "
        "tokenises each batch as it is made). What the padding allows: tokens that the raw loop computes ÷ tokens that "
        "the arm computes, as the model itself counted them. \"Our batches\": the raw loop in the order that `text_data` "
        "draws, so what it gains is what can be gained.", *lines])


def allowed(arms, arm):
    return median(ratios(tokens(arms[RAW]), tokens(arms[arm])))


def gained(arms, arm):
    return median(ratios(seconds(arms[RAW]), seconds(arms[arm])))


def bar_of_padding(arm, found):
    shares = {key: gained(one["arms"], arm) / allowed(one["arms"], arm) for key, one in found.items()}
    of_loop = {key: gained(one["arms"], arm) / gained(one["arms"], ORACLE) for key, one in found.items()}
    first = next(iter(found))
    met = all(share >= 0.95 for share in shares.values())
    reached = "; ".join(f"{key} rows: {gained(found[key]['arms'], arm):.2f} of {allowed(found[key]['arms'], arm):.2f} = "
                        f"{share:.1%}" for key, share in shares.items())
    reason = "" if met else "against the raw loop on the very same batches: " + "; ".join(
        f"{key} rows {share:.1%}" for key, share in of_loop.items())
    del first
    return Bar(f"samples per second on varied lengths ÷ raw loop padded to the batch's maximum, {arm}",
               "≥ 95 % of what the saved padding allows", reached, met, reason)


def bar_against(arm, other, limit, found, reason):
    there = {key: median(ratios(seconds(one["arms"][other]), seconds(one["arms"][arm])))
             for key, one in found.items() if other in one["arms"]}
    if not there:
        return Bar(f"… {arm} ÷ {other}", f"≥ {limit}", "not measured: no environment", None)
    met = all(ratio >= limit for ratio in there.values())
    if not met and other == GROUPED:
        reason = ("Trainer sorts windows of a quarter of the batches, 50 at most: the more rows, the nearer its batches "
                  "come to these, and then both spend their time in the same model. Its padding: " + "; ".join(
                      f"{key} rows {median(tokens(found[key]['arms'][other])) / found[key]['real']:.3f}, "
                      f"here {median(tokens(found[key]['arms'][arm])) / found[key]['real']:.3f}" for key in there))
    return Bar(f"… {arm} ÷ {other}", f"≥ {limit}", "; ".join(f"{key} rows: {ratio:.2f}" for key, ratio in there.items()),
               met, "" if met else reason)
