"""What ``make test`` for all stacks runs once for v1 and v2: only what could not differ between them."""

import re
from pathlib import Path

import pytest

from tests import core_tests
from tests.core_tests import ROOT, is_core

# What the core, its tests and pytest stand on. Where a lock moves one of these alone, the two stacks part.
SHARED = "torch numpy pandas scipy scikit-learn matplotlib jinja2 rich transformers tokenizers peft datasets accelerate"
TOOLS = "pytest hypothesis pytest-xdist"


def read_lock(stack):
    text = (ROOT / "constraints" / f"{stack}.txt").read_text(encoding="utf-8")
    return {name.lower(): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, flags=re.M)}


def test_v1_and_v2_are_one_python_and_one_torch():
    v1, v2 = read_lock("v1"), read_lock("v2")
    for name in f"{SHARED} {TOOLS}".split():
        assert name in v1 and v1[name] == v2.get(name), name
    script = (ROOT / "scripts" / "setup_venv.sh").read_text(encoding="utf-8")
    assert re.search(r"v1\) want=(\S+)", script)[1] == re.search(r"v2\) want=(\S+)", script)[1]


def test_both_kinds_are_there():
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    core = {path.relative_to(ROOT / "tests").as_posix() for path in paths if is_core(path)}
    assert {"diagnosis/checks/test_checks.py", "model/test_output.py", "report/test_text.py"} <= core
    assert not any(name.startswith(("fastai1/", "fastai2/", "both_fastais/", "parity/", "faults/")) for name in core)
    assert not {"cli/test_main.py", "test_readme.py", "model/test_pretrained.py", Path(__file__).name} & core


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module ``tests/test_it.py`` of another tree, with a package next to it, and return whether it is core."""
    files = {
        "fastai_hf_callback/__init__.py": "from importlib.util import find_spec",
        "fastai_hf_callback/model/output.py": "import torch",
        "fastai_hf_callback/model/late.py": "def load():\n    from ..fastai1 import callback",
        "fastai_hf_callback/fastai1/callback.py": "",
        "tests/helper.py": "from tests.deeper import x",
        "tests/deeper.py": "import fastai.basics",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(core_tests, "ROOT", tmp_path)

    def write(text, folder="tests"):
        path = tmp_path / folder / "test_it.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_what_leads_to_no_fastai_is_core(module):
    assert is_core(
        module("import torch\nfrom fastai_hf_callback import unwrap\nfrom fastai_hf_callback.model import output")
    )


@pytest.mark.parametrize(
    "text",
    [
        "import fastai",
        "def test_it():\n    from fastai.learner import Learner",
        "pytest.importorskip('fastai.learner')",
        "for name in ('torch', 'fastai'):\n    pytest.importorskip(name)",
        "from fastai_hf_callback import compare",
        "from fastai_hf_callback.fastai1 import callback",
        "from fastai_hf_callback.model.late import load",
        "from tests.helper import x",
        "from importlib.util import find_spec",
        "import importlib\nimportlib.import_module('fastai')",
        "import subprocess",
    ],
)
def test_what_could_see_a_fastai_is_not(module, text):
    assert not is_core(module(text))


def test_a_conftest_next_to_it_counts(module, tmp_path):
    path = module("import torch", "tests/room")
    assert is_core(path)
    (path.parent / "conftest.py").write_text("import fastai")
    assert not is_core(path)
