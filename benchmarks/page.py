"""Stored results -> docs/evidence/benchmarks.md and its plot. Measures nothing and knows no figure of its own."""

import json
from importlib import import_module
from statistics import median

from section import table

# What stands on the page without figures, until they are there.
BARS = {
    "fixed_cost": "fixed cost of the callback per batch ÷ fastai's own no-op callback, ≤ 1.02",
    "step": "MiniLM-sized training step ÷ patched loop, inside the A/A noise",
    "varied": "samples per second, a small model",
    "minilm": "samples per second, MiniLM's size",
    "padding": "tokens computed per real token, ≤ 1.03, and accuracy",
    "memory": "peak memory ÷ patched loop, ≤ 1.01, also with hidden states and attentions returned",
    "tokenising": "tokenising 100,000 comments ÷ the fast tokenizer's own call, ≤ 1.2, memory linear",
    "growth": "growth: time per row, flat ± 10 %",
    "imports": "import of the package without fastai, ≤ torch's own + 20 ms",
    "doctor": "Doctor's share of an epoch of 120 steps of MiniLM's size, median ≤ 1 %, worst ≤ 5 %",
}

HEAD = """# Speed and scale, measured

Made by `make bench` from the raw results in `benchmarks/results/`; no figure is typed by hand.
Arms take turns within each round, each under the interpreter of its own environment. Figures are medians with the
lowest and highest of all rounds; a ratio is that of one round, and then the median of the rounds' ratios. On a CPU time
is the process's own CPU time unless a line says otherwise, torch with one thread.
"""


def write(order, results, out):
    """The page to `out` and its plot beside it, as far as parts of `order` lie in the folder `results`."""
    raws = stored(order, results)
    plot(raws, out.with_suffix(".png"))
    out.write_text(text(raws, order, out.stem), encoding="utf-8")


def stored(order, results):
    return {
        name: json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
        for name in order
        if (results / f"{name}.json").is_file()
    }


def text(raws, order, stem="benchmarks"):
    """The page, of raw results alone; what of `order` has none is said."""
    sections = {name: import_module(f"parts.{name}").tell(raw) for name, raw in raws.items()}
    missing = [name for name in order if name not in raws]
    lines = [HEAD, "## The bars", "", *bars_of(sections, missing), ""]
    if panels_of(raws):
        lines += [f"![samples per second, tokens computed, growth]({stem}.png)", ""]
    for name, section in sections.items():
        lines += [f"## {section.title}", "", *section.lines, "", f"*{about(raws[name])}*", ""]
    if "gpu" not in sections:
        lines += ["## On a GPU", "", "Not measured: there was none. `make bench-gpu` does it.", ""]
    return "\n".join(lines).rstrip() + "\n"


def bars_of(sections, missing):
    return table(
        "what | bar | measured | verdict",
        [
            (bar.what, bar.limit or "-", bar.figure, verdict_of(bar))
            for section in sections.values()
            for bar in section.bars
        ]
        + [
            (BARS[name], "", "-", f'**not measured**: `make bench ARGS="--only {name}"` does it')
            for name in missing
            if name in BARS
        ],
    )


def verdict_of(bar):
    if not bar.limit:
        return "no bar was set"
    verdict = {True: "met", False: "missed", None: "not measured"}[bar.met]
    return f"**{verdict}**" + (f": {bar.reason}" if bar.reason else "")


def about(raw):
    """When, where and with which versions a part was measured."""
    named = {}
    for versions in raw["versions"].values():
        for package, version in versions.items():
            named.setdefault(package, []).append(version)
    packages = ", ".join(
        f"{package} {' and '.join(sorted(set(map(str, found))))}"
        for package, found in named.items()
        if package not in ("cores", "threads")
    )
    where = raw["machine"]
    return (
        f"{raw['when']}, {where['processor']}, {where['cores']} cores, load {where['load']}, {raw['threads']} "
        f"torch thread(s), {raw['seconds_in_all']} s; {packages}"
    )


# -- the plot --------------------------------------------------------------------------------------------------------


def panels_of(raws):
    return [
        (draw, raws[name])
        for name, draw in (("varied", speeds), ("padding", shares), ("growth", growth))
        if name in raws
    ]


def plot(raws, path):
    """A panel for each part that has one and was measured."""
    from matplotlib.figure import Figure

    panels = panels_of(raws)
    if not panels:
        return
    figure = Figure(figsize=(5.2 * len(panels), 4.4), layout="constrained")
    for axes, (draw, raw) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        draw(axes, raw)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=110)


OURS, OTHERS = "#1f6f8b", "#b8bec4"


def speeds(axes, raw):
    from parts.varied import gained

    rows, one = next(iter(raw["found"].items()))
    arms = one["arms"]
    names = sorted(arms, key=lambda arm: gained(arms, arm))
    figures = [gained(arms, arm) for arm in names]
    axes.barh(names, figures, color=[OURS if "text_data" in arm else OTHERS for arm in names])
    for at, figure in enumerate(figures):
        axes.text(figure, at, f" {figure:.2f}", va="center", fontsize=9)
    axes.set_xlim(0, max(figures) * 1.15)
    axes.set_title(f"Samples per second, raw loop = 1 ({int(rows):,} rows)", fontsize=10)


def shares(axes, raw):
    rows = [int(rows) for rows in raw["shares"]]
    for label, key, colour in (
        ("random batches", "random", OTHERS),
        ("Trainer, length grouping", "Trainer", "#d08c60"),
        ("text_data", "ours", OURS),
    ):
        known = [
            (n, sum(raw["shares"][str(n)][key]) / len(raw["shares"][str(n)][key]))
            for n in rows
            if raw["shares"][str(n)][key]
        ]
        axes.plot(*zip(*known), marker="o", label=label, color=colour)
    axes.axhline(1.03, color="black", linewidth=0.7, linestyle=":")
    axes.text(rows[-1], 1.04, "1.03", ha="right", va="bottom", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("training rows")
    axes.set_title("Tokens computed per real token", fontsize=10)
    axes.legend(frameon=False, fontsize=9)


def growth(axes, raw):
    top = 0
    for (fastai, found), colour in zip(raw["found"].items(), ("#d08c60", OURS)):
        rows = [int(n) for n in found]
        totals = {n: sorted((turn["making"] + turn["passing"]) * 1e6 / n for turn in found[str(n)]) for n in rows}
        middle = [median(totals[n]) for n in rows]
        top = max(top, *(totals[n][-1] for n in rows))
        axes.errorbar(
            rows,
            middle,
            [[m - totals[n][0] for n, m in zip(rows, middle)], [totals[n][-1] - m for n, m in zip(rows, middle)]],
            marker="o",
            capsize=3,
            label=fastai,
            color=colour,
        )
    axes.set_xscale("log")
    axes.set_ylim(0, 1.3 * top)
    axes.set_xlabel("rows")
    axes.set_title("From texts to batches, µs per row", fontsize=10)
    axes.legend(frameon=False, fontsize=9)
