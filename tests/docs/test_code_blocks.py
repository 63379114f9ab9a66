"""Every code block of README and docs/ runs, on each stack that it names, as it stands there; or says why not."""

import contextlib

import pytest
import torch

from tests.docs.code_blocks import ROOT, BadMark, blocks_of, chains
from tests.docs.run_blocks import commands, run_chain, steps, without_repeats
from tests.forked_command import run_in_a_copy
from tests.installed_stack import FASTAI_1, FASTAI_2

PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]
STACK = "era" if torch.__version__.startswith("1.4.") else "v1" if FASTAI_1 else "v2" if FASTAI_2 else ""


def _blocks(path):
    try:
        return blocks_of(path)
    except BadMark:
        return []  # the test below says so


BLOCKS = [block for path in PAGES for block in _blocks(path)]
CHAINS = [chain for path in PAGES for chain in chains(_blocks(path), STACK)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_says_who_runs_it(path):
    for block in blocks_of(path):
        if block.mark.kind == "run by":
            assert path.name in (ROOT / block.mark.said).read_text(encoding="utf-8"), (
                f"{block.where}: run by {block.mark.said}, which never names {path.name}"
            )


@pytest.mark.slow
@pytest.mark.parametrize("chain", without_repeats(CHAINS), ids=lambda chain: chain[0].where)
def test_the_block_runs(chain, monkeypatch):
    run_chain(chain, monkeypatch)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.mark.kind == "not run"], ids=lambda block: block.where)
def test_not_run(block):
    pytest.skip(block.mark.said)


# -- the runner itself ------------------------------------------------------------------------------------------------


@pytest.fixture
def page(tmp_path):
    def write(text):
        path = tmp_path / "page.md"
        path.write_text(text, encoding="utf-8")
        return blocks_of(path, "page.md")

    return write


def test_a_block_without_a_mark_is_told_what_to_write(page):
    with pytest.raises(BadMark, match=r"page.md:4: a block of python that says nowhere(.|\n)*<!-- runs: v1 v2"):
        page("# A page\n\n```python\n1 / 0\n```\n")


@pytest.mark.parametrize(
    "mark, said",
    [
        ("runs: v3", "v3: expected runs: v1 era v2"),
        ("runs: v1; gives: csv", "gives: expected"),
        ("run by: tests/no_such.py", "no such file"),
    ],
)
def test_a_mark_that_means_nothing_is_refused(page, mark, said):
    with pytest.raises(BadMark, match=said):
        page(f"<!-- {mark} -->\n```python\npass\n```\n")


def test_what_is_not_run_must_be_python_all_the_same(page):
    with pytest.raises(BadMark, match="page.md:4: no Python"):
        page("<!-- not run: only to be seen -->\n```python\nx = 1\nif x\n```\n")


def test_a_failing_block_fails_at_the_line_of_its_page(page, monkeypatch):
    blocks = page(f"# A page\n\n<!-- runs: {STACK} -->\n```python\nx = 1\nx / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as raised:
        run_chain(blocks, monkeypatch)
    assert raised.traceback[-1].lineno + 1 == 6 and str(raised.traceback[-1].path).endswith("page.md")


def test_blocks_that_continue_share_their_names_and_blocks_of_tabs_go_apart(page, monkeypatch):
    blocks = page(
        "<!-- runs: v1 v2 era -->\n```python\nx = 1\n```\n"
        "::::{tab-set}\n"
        ":::{tab-item} fastai 1\n<!-- runs: v1 era; continues -->\n```python\nx += 1\n```\n:::\n"
        ":::{tab-item} fastai 2\n<!-- runs: v2; continues -->\n```python\nx += 10\n```\n:::\n::::\n"
    )
    assert [len(chains(blocks, stack)[0]) for stack in ("v1", "era", "v2")] == [2, 2, 2]
    assert run_chain(chains(blocks, "v2")[0], monkeypatch)["x"] == 11


def test_a_test_that_is_shown_is_called(page, monkeypatch):
    with pytest.raises(AssertionError):
        run_chain(page(f"<!-- runs: {STACK} -->\n```python\ndef test_it():\n    assert 1 == 2\n```\n"), monkeypatch)


@pytest.mark.parametrize("exit_code", [0, 3])
def test_a_command_is_held_to_its_exit_code(page, monkeypatch, exit_code):
    blocks = page(
        f"<!-- runs: {STACK}; exit: 3 -->\n```console\n$ python -c \\\n  'raise SystemExit({exit_code})'\nseen\n```\n"
    )
    fails = pytest.raises(AssertionError, match="exit code 0, expected 3")
    with contextlib.nullcontext() if exit_code == 3 else fails:
        run_chain(blocks, monkeypatch)


def test_a_command_that_fails_in_a_copy_of_this_process_fails_and_is_quoted():
    ended, said = run_in_a_copy("fastai-hf compare no_such_file.py:make_learner")
    assert ended == 2 and "no_such_file.py" in said and said.count("\n") == 1


def test_what_is_printed_is_no_command():
    assert commands("$ one \\\n    two\nprinted\n$ three\n") == ["one two", "three"]


GITHUB = "```yaml\njobs:\n  a:\n    steps:\n      - run: one\n```\n"
GITLAB = "```yaml\na:\n  script:\n    - one\n```\n"


def test_two_workflows_of_the_same_commands_are_run_once_and_others_each(page):
    def run_of_two(mark="runs: v2; given: train.py", text=GITLAB):
        blocks = page(f"<!-- runs: v2; given: train.py -->\n{GITHUB}\n<!-- {mark} -->\n{text}")
        return len(without_repeats(chains(blocks, "v2")))

    assert run_of_two() == 1
    assert run_of_two(text=GITLAB.replace("one", "two")) == 2
    assert run_of_two(mark="runs: v2; given: train.csv") == 2
    assert run_of_two(mark="runs: v2; given: train.py; exit: 1") == 2
    assert run_of_two(text="```console\n$ one\n```\n") == 2


def test_the_commands_of_both_kinds_of_ci_are_found():
    assert steps({"jobs": {"a": {"steps": [{"uses": "x"}, {"run": "one"}]}}}) == ["one"]
    assert steps({"stages": ["a"], "a": {"before_script": ["one"], "script": ["two"]}}) == ["one", "two"]
