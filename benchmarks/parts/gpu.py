"""On a GPU: BERT-base in bf16 on the lengths of real comments; parity; the doctor's cost. fastai 2 and Trainer."""

import sys
from statistics import median

from section import Bar, Section, ranged, table
from timing import in_turns, ratios
from workload import SIZES

ROUNDS, ROWS, BATCHES, LIMIT = 3, 8_192, (32, 64, 128, 256), 1.2
OURS, DOCTOR, TRAINER = "fastai 2 + text_data", "fastai 2 + text_data + doctor", "Trainer, length grouping"
ARMS = {
    OURS: ("on_fastai2", "text_data"),
    DOCTOR: ("on_fastai2", "text_data doctor"),
    TRAINER: ("hf_trainer", "grouped"),
}
LOSSES = ("text_data", "patched text_data", "patched text_data, again")


def measure(peers, options):
    if not options.dry and not peers.ask("v2", "on_fastai2", "has_gpu"):
        print("skipped: no GPU", file=sys.stderr)
        return None
    device, size, rows, batches = ("cpu", "tiny", 96, (16,)) if options.dry else ("cuda", "base", ROWS, BATCHES)
    drawn = peers.ask("v2", "tokenising", "lengths", rows=rows, path=options.comments and str(options.comments))
    where = dict(size=size, rows=rows, device=device, bf16=True, drawn=drawn)
    found = {}
    for batch in batches:
        arms = {
            arm: peers.asker("v2", script, "epoch", seeded=True, arm=kind, batch=batch, **where)
            for arm, (script, kind) in ARMS.items()
        }
        in_turns(arms, 1)  # warm
        found[batch] = in_turns(arms, options.rounds or ROUNDS)
    return {
        "found": found,
        "rows": rows,
        "size": size,
        "device": peers.ask("v2", "on_fastai2", "device_of", device=device),
        "lengths": {"median": median(drawn), "longest": max(drawn)},
        "texts": options.comments and options.comments.name,
        "parity": parity(peers, device, size),
        "versions": {script: peers.ask("v2", script, "versions") for script, _ in ARMS.values()},
    }


def parity(peers, device, size):
    """Losses and weights of each arm from the same start: deterministic in float32, and in bf16 as it comes."""

    def of(arm, **how):
        return peers.ask("v2", "on_fastai2", "losses", arm=arm.split(",")[0], size=size, rows=640, device=device, **how)

    return {
        "float32, deterministic": {arm: of(arm, bf16=False, deterministic=True) for arm in LOSSES},
        "bf16": {arm: of(arm, bf16=True, deterministic=False) for arm in LOSSES},
    }


def tell(raw):
    device, bars, rows = raw["device"], [], []
    for batch, arms in raw["found"].items():
        base = [turn["seconds"] for turn in arms[OURS]]
        for arm, turns in arms.items():
            seconds = [turn["seconds"] for turn in turns]
            reached = median(operations(turn, raw["size"]) / turn["seconds"] for turn in turns) / device["peak"]
            rows.append(
                (
                    batch,
                    arm,
                    ranged([raw["rows"] / s for s in seconds], ".0f"),
                    ranged(ratios(seconds, base)),
                    f"{reached:.1%}",
                )
            )
        ratio = median(ratios([turn["seconds"] for turn in arms[TRAINER]], base))
        cost = median(ratios([turn["seconds"] for turn in arms[DOCTOR]], base))
        bars += [
            Bar(
                f"on {device['name']}, batch {batch}: samples per second ÷ Trainer with length grouping",
                f"≥ {LIMIT}",
                f"{ratio:.2f}",
                ratio >= LIMIT,
                "" if ratio >= LIMIT else "see the table",
            ),
            Bar(f"on {device['name']}, batch {batch}: an epoch with the doctor ÷ without", "", f"{cost:.3f}", None),
        ]
    return Section(
        f"On a GPU: {device['name']}",
        bars + parity_bars(raw["parity"]),
        [
            f"BERT-{raw['size']} in bf16, {raw['rows']:,} rows of the lengths of "
            f"{'`' + raw['texts'] + '`' if raw['texts'] else 'bundled comments'} (median "
            f"{raw['lengths']['median']:.0f} "
            f"tokens, at most {raw['lengths']['longest']}), torch's AdamW, no clipping; the clock's seconds "
            "of an epoch. A "
            f"bf16 matrix product reached {device['peak'] / 1e12:.1f} TFLOP/s on the spot; a model's "
            "operations are 6 per "
            "weight of its layers and token, and 12 per width and pair of tokens that attention compares, "
            "layer by layer.",
            "",
            *table(
                "batch | arm | samples per second | seconds ÷ ours, median of rounds | share of the matmul's peak", rows
            ),
        ],
    )


def operations(turn, size):
    """Of one epoch, forward and backward."""
    config = SIZES[size]
    width, layers = config["hidden_size"], config["num_hidden_layers"]
    weights = layers * (4 * width * width + 2 * width * config["intermediate_size"])
    return 6 * weights * turn["tokens"] + 12 * layers * width * turn["pairs"]


def parity_bars(found):
    exact, rough = found["float32, deterministic"], found["bf16"]
    same = exact["text_data"] == exact["patched text_data"]
    floor, ours = (gap(rough["patched text_data"], rough[arm]) for arm in ("patched text_data, again", "text_data"))
    return [
        Bar(
            "callback and patched arm under deterministic algorithms",
            "equal bit for bit",
            "equal" if same else f"losses differ by up to {gap(exact[LOSSES[1]], exact[LOSSES[0]]):.1e}",
            same,
            "" if same else "see the figure",
        ),
        Bar(
            "… in bf16: largest difference of a loss",
            "inside the A/A floor",
            f"{ours:.1e} (A/A {floor:.1e})",
            ours <= floor,
            "" if ours <= floor else "see the figure",
        ),
    ]


def gap(one, other):
    return max(abs(a - b) for a, b in zip(one["losses"], other["losses"]))
