"""The site shows the code as it is: its drawing names files that are there, its API every public name."""

import re

import fastai_hf_callback
from tests.docs.code_blocks import ROOT

PACKAGE = ROOT / "fastai_hf_callback"
DRAWING = (ROOT / "docs" / "way-of-the-data.svg").read_text(encoding="utf-8")
API = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "api").glob("*.md")))


def test_the_drawing_names_files_that_are_there():
    names = set(re.findall(r"\b(\w+\.py)\b", DRAWING))
    there = {path.name for path in PACKAGE.rglob("*.py")}
    in_both_fastais = {path.name for path in (PACKAGE / "fastai1").rglob("*.py")} & {
        path.name for path in (PACKAGE / "fastai2").rglob("*.py")
    }
    assert len(names) > 15 and names <= there
    assert {"callback.py", "compare.py", "diagnose.py", "doctor.py", "text_data.py", "patched_loop.py"} <= (
        names & in_both_fastais
    )


def test_every_public_name_is_in_the_api_for_each_fastai_that_has_it():
    documented = set(re.findall(r"autoapi\w+:: fastai_hf_callback\.([\w.]+)", API))
    for name, module in fastai_hf_callback._CORE.items():
        assert f"{module}.{name}" in documented
    for name, module in fastai_hf_callback._PER_FASTAI.items():
        for room in ("fastai1", "fastai2"):
            path = PACKAGE / room / (module.replace(".", "/") + ".py")
            assert not path.exists() or f"{room}.{module}.{name}" in documented | handed_on(path, room, module, name)


def handed_on(path, fastai, module, name):
    """The name where a room hands on the core's own, or its signature, and the core's is documented."""
    source = path.read_text(encoding="utf-8")
    imported = re.search(rf"^from fastai_hf_callback\.([\w.]+) import {name}$", source, flags=re.M)
    cores = {f"{imported[1]}.{name}"} if imported else set()
    modules = re.findall(r"^from fastai_hf_callback\.([\w.]+) import (\w+)(?: as (\w+))?$", source, flags=re.M)
    cores |= {f"{room}.{module}.{name}" for room, module, alias in modules if f"{alias or module}.{name}" in source}
    return {f"{fastai}.{module}.{name}"} if any(core in API for core in cores) else set()


def test_every_page_of_the_api_names_code_that_is_there():
    for path in re.findall(r"autoapi\w+:: fastai_hf_callback\.([\w.]+)", API):
        module, _, name = path.rpartition(".")
        source = (PACKAGE / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")
        assert re.search(rf"^(class|def) {name}\b", source, flags=re.M), path


def test_every_name_of_the_table_is_public():
    table = (ROOT / "docs" / "api" / "index.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w+.*?) \| ", table, flags=re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)", row)}
    assert len(named) >= 20 and named <= set(fastai_hf_callback.__all__)
