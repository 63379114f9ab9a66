"""Tokens computed per real token, and whether batches of like length cost accuracy against random ones."""

from statistics import median

from section import Bar, Section, ranged, table
from timing import in_turns
from workload import BATCH, lengths

SIZES = (640, 1_000, 2_400, 6_400, 20_000, 100_000)
PASSES, SEEDS, LIMIT, FROM_ROWS = 5, 10, 1.03, 2_400
ARMS = ("random batches", "text_data")


def measure(peers, options):
    shares = {rows: shares_of(rows, peers) for rows in (SIZES[:2] if options.dry else SIZES)}
    rows, epochs = (200, 1) if options.dry else (options.accuracy_rows, options.accuracy_epochs)
    question = dict(
        rows=rows,
        epochs=epochs,
        path=options.texts and str(options.texts),
        text=options.text_column,
        label=options.label_column,
    )

    def arm_of(arm):
        return lambda at: peers.ask("v2", "accuracy", "accuracy", arm=arm, seed=at, **question)

    found = in_turns({arm: arm_of(arm) for arm in ARMS}, 2 if options.dry else SEEDS)
    return {
        "shares": shares,
        "accuracy": found,
        "texts": peers.ask("v2", "accuracy", "about", **question),
        "versions": {"fastai 2": peers.ask("v2", "accuracy", "versions")},
    }


def shares_of(rows, peers):
    import numpy as np
    import torch

    from fastai_hf_callback.data.batches.sampler import LengthBucketSampler, padding_ratio

    drawn = lengths(rows)
    torch.manual_seed(0)
    given = {
        "real": int(drawn.sum()),
        "ours": [padding_ratio(drawn, LengthBucketSampler(drawn, BATCH).draw(), BATCH) for _ in range(PASSES)],
        "random": [padding_ratio(drawn, np.random.default_rng(at).permutation(rows), BATCH) for at in range(PASSES)],
        "sorted": padding_ratio(drawn, np.argsort(drawn), BATCH),
    }
    grouped = (
        [peers.ask("v2", "hf_trainer", "padded_tokens", lengths=drawn.tolist(), seed=at) for at in range(PASSES)]
        if rows <= 20_000
        else []
    )
    return {**given, "Trainer": [tokens / given["real"] for tokens in grouped]}


def tell(raw):
    shares = {int(rows): one for rows, one in raw["shares"].items()}
    lines = [
        'Lengths as above, 32 rows per batch, mean of five passes. "All sorted" is the least there is with 32 '
        "rows per batch, and has no chance in it.",
        "",
        *table(
            "rows | text_data | Trainer, length grouping | random batches | all sorted",
            [
                (f"{rows:,}", mean(one["ours"]), mean(one["Trainer"]), mean(one["random"]), f"{one['sorted']:.3f}")
                for rows, one in shares.items()
            ],
        ),
    ]
    ours, random = ([turn["accuracy"] for turn in raw["accuracy"][arm]] for arm in reversed(ARMS))
    about = raw["texts"]
    lines += [
        "",
        f"Accuracy: {about['what']}, {about['train']:,} rows to train and {about['valid']:,} to validate, "
        f"{about['model']}, {about['epochs']} epochs at a one-cycle rate of at most {about['lr']}; each seed "
        "draws weights and order anew, and both arms begin from the same.",
        "",
        *table(
            "arm | accuracy, median of seeds (lowest - highest) | each seed | tokens computed per real token",
            [
                (
                    arm,
                    ranged([turn["accuracy"] for turn in turns], ".4f"),
                    ", ".join(f"{turn['accuracy']:.4f}" for turn in turns),
                    f"{median(turn['share'] for turn in turns):.3f}",
                )
                for arm, turns in raw["accuracy"].items()
            ],
        ),
        "",
        f"A constant predictor: {about['base']:.4f}.",
    ]
    gaps = [a - b for a, b in zip(ours, random)]
    mean_gap = sum(gaps) / len(gaps)
    error = (sum((gap - mean_gap) ** 2 for gap in gaps) / max(len(gaps) - 1, 1) / len(gaps)) ** 0.5
    large = {rows: sum(one["ours"]) / PASSES for rows, one in shares.items() if rows >= FROM_ROWS}
    small = {rows: one for rows, one in shares.items() if sum(one["ours"]) / PASSES > LIMIT}
    met = bool(large) and all(share <= LIMIT for share in large.values())
    return Section(
        "Tokens computed per real token, and accuracy",
        [
            Bar(
                f"tokens computed per real token, from {FROM_ROWS:,} rows on",
                f"≤ {LIMIT}",
                "; ".join(f"{rows:,} rows: {share:.3f}" for rows, share in large.items()),
                met if large else None,
                "with fewer rows no order of batches of 32 gets there: "
                + "; ".join(
                    f"{rows:,} rows: {sum(one['ours']) / PASSES:.3f}, all sorted {one['sorted']:.3f}"
                    for rows, one in small.items()
                )
                if small
                else "",
            ),
            Bar(
                f"… with no worse accuracy over {len(gaps)} seeds than random batches",
                "not below by more than two standard errors",
                f"{mean_gap:+.4f} ± {error:.4f} (mean, standard error)",
                mean_gap >= -2 * error,
                "" if mean_gap >= -2 * error else "see each seed below",
            ),
        ],
        lines,
    )


def mean(shares):
    return f"{sum(shares) / len(shares):.3f}" if shares else "-"
