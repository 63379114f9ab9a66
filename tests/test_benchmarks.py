"""docs/evidence/benchmarks.md holds what was measured, and what is computed from the figures is right."""

import copy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmarks(monkeypatch):
    """Import the benchmark's own modules for one test."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield
    for name in set(sys.modules) - before:
        if str(ROOT / "benchmarks") in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_the_page_is_what_the_stored_results_say(benchmarks):
    import page
    from run import ORDER

    raws = page.stored(ORDER, ROOT / "benchmarks" / "results")
    written = (ROOT / "docs" / "evidence" / "benchmarks.md").read_text(encoding="utf-8")
    assert raws and page.text(raws, ORDER) == written
    other = copy.deepcopy(raws)
    other["imports"]["found"]["the package"] = [1e4]
    assert page.text(other, ORDER) != written


def test_every_bar_says_met_missed_or_why_it_was_not_measured(benchmarks):
    import page
    from run import ORDER

    lines = page.text(page.stored(ORDER, ROOT / "benchmarks" / "results"), ORDER).splitlines()
    bars = [
        line
        for line in lines[lines.index("## The bars") : lines.index("## Fixed cost of the callback")]
        if line.startswith("|")
    ][2:]
    assert len(bars) >= 15
    for bar in bars:
        verdict = bar.split("|")[4].strip()
        assert verdict == "no bar was set" or verdict.startswith(("**met**", "**missed**: ", "**not measured**: ")), bar


def test_arms_come_in_turns_in_other_orders_and_each_once_per_round(benchmarks):
    from timing import in_turns

    asked = []
    found = in_turns({name: lambda at, name=name: asked.append((at, name)) or at for name in "abc"}, 20)
    rounds = [asked[at : at + 3] for at in range(0, 60, 3)]
    assert found == {name: list(range(20)) for name in "abc"}
    assert all({at for at, _ in one} == {n} and {name for _, name in one} == set("abc") for n, one in enumerate(rounds))
    assert len({tuple(name for _, name in one) for one in rounds}) > 1


def test_noise_is_that_of_a_median_and_grows_with_the_figures_spread(benchmarks):
    from timing import noise

    narrow, wide = ([1 + spread * step for step in range(-10, 11)] for spread in (0.001, 0.01))
    assert noise([1.0] * 9) == 0
    assert 0 < noise(narrow) < 0.01  # the ratios are up to 0.01 away from 1, their median is not
    assert noise(wide) == pytest.approx(10 * noise(narrow))


def test_a_difference_of_two_precisions_is_judged_by_its_own_error(benchmarks):
    for library in ("fastai.learner", "transformers", "peft"):
        pytest.importorskip(library)
    from half_precision_runs import TASKS, compared

    full = [0.80, 0.82, 0.78, 0.81, 0.79]
    lines = {
        shift: compared(TASKS["sst2"], {"float32": full, "bf16": [a + b + shift for a, b in zip(full, noise)]})
        for shift in (0.0, -0.02)
        for noise in [(0.004, -0.004, 0.002, -0.003, 0.001)]
    }
    assert lines[0.0][1] and "| yes |" in lines[0.0][0]
    assert not lines[-0.02][1] and "| -0.0200 |" in lines[-0.02][0] and "| NO |" in lines[-0.02][0]
    by_chance, within = compared(TASKS["sst2"], {"float32": [0.5] * 5, "bf16": [0.5] * 5})
    assert not within and "learned too little" in by_chance


def test_two_builds_take_turns_each_with_its_own_package(benchmarks, tmp_path, monkeypatch):
    import against_a_build
    from parts import fixed_cost

    package = tmp_path / "fastai_hf_callback"
    package.mkdir()
    (package / "__init__.py").write_text("COST = 200.0\n")
    answer = "print(json.dumps({'found': {'median': COST}}), flush=True)"
    script = f"import sys, json\nfrom fastai_hf_callback import COST\nfor _ in sys.stdin: {answer}\n"
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers" / "on_any.py").write_text(script)
    this = tmp_path / "this" / "fastai_hf_callback"
    this.mkdir(parents=True)
    (this / "__init__.py").write_text("COST = 210.0\n")
    monkeypatch.setattr("timing.HERE", tmp_path)
    monkeypatch.setattr(against_a_build, "ROOT", tmp_path / "this")
    monkeypatch.setitem(fixed_cost.FASTAIS, "fastai 2", ("any", "on_any"))
    python = tmp_path / "environments" / "any" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    found = against_a_build.measure("fastai 2", tmp_path, tmp_path / "environments", rounds=3)
    assert found == {"the other build": [200.0] * 3, "the other build, again": [200.0] * 3, "this build": [210.0] * 3}
