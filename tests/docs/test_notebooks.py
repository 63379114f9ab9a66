"""The notebooks run on the stack that they name, tell the story that they tell, and are stored as they ran."""

import ast
import contextlib
import io
import json
import re
import sys
import types

import pytest
import torch

from tests.docs.code_blocks import ROOT
from tests.docs.test_code_blocks import STACK

pytest.importorskip("matplotlib").use("Agg")

FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.ipynb"))}


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def stack_of(notebook):
    return notebook["metadata"]["fastai_hf_callback"]["stack"]


@pytest.fixture
def ran(monkeypatch):
    """Runs a notebook's cells as a kernel would, but for the pictures: its names, and what each cell printed."""
    threads, module = torch.get_num_threads(), types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)

    def run(name):
        return vars(module), [
            printed_by("".join(cell["source"]), f"{name}[{number}]", vars(module))
            for number, cell in enumerate(code_cells(NOTEBOOKS[name]), 1)
        ]

    yield run
    torch.set_num_threads(threads)


def printed_by(source, where, namespace):
    tree, printed = ast.parse(source), io.StringIO()
    shown = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, where, "exec"), namespace)
        value = shown and eval(compile(ast.Expression(shown.value), where, "eval"), namespace)
    html = value._repr_html_() if hasattr(value, "_repr_html_") else None
    assert html is None or html.strip()  # None: a picture, which is shown another way
    return printed.getvalue()


def in_words(text):
    """Lines without their figures, which another CPU may round otherwise."""
    return [re.sub(r"[\d.]+(e-\d+)?", "#", line).strip() for line in text.splitlines() if line.strip()]


def held_to_what_is_stored(name, printed):
    for cell, said in zip(code_cells(NOTEBOOKS[name]), printed):
        stored = "".join("".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream")
        assert [line for line in in_words(stored) if line not in in_words(said)] == [], "run `make notebooks`"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_is_stored_as_it_ran(name):
    cells = code_cells(NOTEBOOKS[name])
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "run `make notebooks`"
    kinds = [output["output_type"] for cell in cells for output in cell["outputs"]]
    assert "error" not in kinds and kinds.count("execute_result") + kinds.count("display_data") > 5
    stored = json.dumps(NOTEBOOKS[name])
    assert '"stderr"' not in stored and str(ROOT) not in stored and len(stored) < 700_000


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_its_first_cell_installs_where_the_package_is_missing(name, monkeypatch):
    """And does nothing where it is there. Nothing is downloaded here: pip is asked for the words it would be given."""
    source, asked = "".join(code_cells(NOTEBOOKS[name])[0]["source"]), []
    monkeypatch.setattr("subprocess.run", lambda command, check: asked.append(command))
    exec(source, {})
    assert asked == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    exec(source, {})
    assert asked == [
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            f"fastai-hf-callback[fastai{stack_of(NOTEBOOKS[name])[-1]}]",
        ]
    ]


@pytest.mark.slow
@pytest.mark.skipif(STACK != "v1", reason="the notebook is for v1")
def test_the_article_redone(ran):
    names, printed = ran("the-article-redone.ipynb")
    held_to_what_is_stored("the-article-redone.ipynb", printed)
    assert all(abs(float(of[0]) - names["all_zeros"]) < 1e-6 for of in names["recipe"].recorder.metrics)
    assert names["comparison"].identical and names["comparison"].exit_code == 0
    assert float(names["learn"].recorder.metrics[-1][1]) > 0.75
    assert {"padding-in-front", "wrong-padding-id"} <= {finding.cause for finding in names["diagnosis"].findings}
    assert len(names["submission"]) == 100 and names["submission"].notna().all().all()


@pytest.mark.slow
@pytest.mark.skipif(STACK != "v2", reason="the notebook is for v2")
def test_fastai_2(ran):
    names, printed = ran("fastai2.ipynb")
    held_to_what_is_stored("fastai2.ipynb", printed)
    assert names["comparison"].identical and names["comparison"].exit_code == 0
    assert names["diagnosis"].findings[0].cause == "optimizer-holds-another-model"
    assert names["after"].healthy and names["mean_auc"] > 0.75
    assert len(names["submission"]) == 100 and names["submission"].notna().all().all()
