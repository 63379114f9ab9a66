"""Measure everything, or some parts, and write the page.

    python benchmarks/run.py [--only NAME,NAME] [--rounds N] [--out docs/evidence/benchmarks.md]

Raw results go to benchmarks/results/NAME.json; the page and its plot are made from what lies there. `--page` makes them
anew and measures nothing; `--dry` runs every path with tiny sizes and writes into a temporary folder.
"""

import argparse
import datetime
import json
import platform
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import page
from timing import HERE, ROOT, Peers

sys.path.insert(0, str(ROOT))  # what lies here is measured, wherever the environment's own copy comes from

ORDER = (
    "fixed_cost",
    "step",
    "varied",
    "minilm",
    "padding",
    "memory",
    "tokenising",
    "growth",
    "imports",
    "doctor",
    "gpu",
)
ON_GPU = ("gpu",)


def main() -> None:
    options = parsed()
    results = Path(tempfile.mkdtemp()) if options.dry else options.results
    results.mkdir(exist_ok=True, parents=True)
    if not options.page:
        with Peers(pythons(options), options.threads) as peers:
            for name in options.only or [name for name in ORDER if name not in ON_GPU]:
                measure(name, peers, options, results)
    out = results / "benchmarks.md" if options.dry else options.out
    page.write(ORDER, results, out)
    print(out.read_text(encoding="utf-8") if options.dry else f"{out} written")


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=lambda names: names.split(","), help="some of: " + ", ".join(ORDER))
    parser.add_argument("--rounds", type=int, help="of each part; by default each has its own number")
    parser.add_argument("--page", action="store_true", help="write the page from the stored results")
    parser.add_argument("--dry", action="store_true", help="tiny sizes, nothing kept")
    parser.add_argument("--threads", type=int, default=1, help="of torch in each process")
    parser.add_argument("--texts", type=Path, help="a CSV to compare accuracies on; the bundled comments by default")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--accuracy-rows", type=int, default=3_000)
    parser.add_argument("--accuracy-epochs", type=int, default=3)
    parser.add_argument("--comments", type=Path, help="a CSV with comment_text; the bundled ones by default")
    parser.add_argument("--environments", type=Path, default=ROOT / ".venvs")
    parser.add_argument("--blurr", type=Path, help="the interpreter of blurr's environment, if it lies elsewhere")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "evidence" / "benchmarks.md")
    options = parser.parse_args()
    unknown = set(options.only or ()) - set(ORDER)
    if unknown:
        parser.error(f"--only {', '.join(sorted(unknown))} was given; there are {', '.join(ORDER)}")
    return options


def pythons(options):
    found = {name: options.environments / name / "bin" / "python" for name in ("v1", "v2", "peer-blurr")}
    return {**found, **({"peer-blurr": options.blurr} if options.blurr else {})}


def measure(name, peers, options, results):
    print(f"{name} ...", file=sys.stderr, flush=True)
    started = time.perf_counter()
    raw = import_module(f"parts.{name}").measure(peers, options)
    if raw is None:
        return
    raw.update(
        when=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        machine=machine(),
        threads=options.threads,
        seconds_in_all=round(time.perf_counter() - started),
    )
    (results / f"{name}.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")


def machine():
    """The processor, its cores and the memory, as Linux tells them."""
    import os

    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.is_file()
        else []
    )
    load = os.getloadavg()[0]
    return {"processor": names[0] if names else platform.processor(), "cores": os.cpu_count(), "load": round(load, 1)}


if __name__ == "__main__":
    main()
