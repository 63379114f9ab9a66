"""The worked examples of CONTRIBUTING.md, followed to the letter in a copy of the package: they do what it says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installed_stack import FASTAI_2

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(heading):
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, flags=re.S | re.M).group(1)
    return re.findall(r"```python\n(.*?)```", section, flags=re.S)


@pytest.fixture
def copy(tmp_path):
    """Copy the package and what its tests need."""
    shutil.copytree(
        str(ROOT / "fastai_hf_callback"),
        str(tmp_path / "fastai_hf_callback"),
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (tmp_path / "tests").mkdir()
    for name in ("__init__.py", "recorded_evidence.py"):
        shutil.copy(str(ROOT / "tests" / name), str(tmp_path / "tests" / name))
    return tmp_path


def python(code, folder):
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=str(folder), capture_output=True, text=True)


def append(path, code):
    path.write_text(path.read_text(encoding="utf-8") + "\n\n" + code, encoding="utf-8")


def test_a_check_is_added_and_named(copy):
    check, its_test = blocks("A new check")
    before = python(its_test, copy)
    assert before.returncode == 1 and "AssertionError" in before.stderr, before.stderr
    append(copy / "fastai_hf_callback" / "diagnosis" / "checks" / "labels.py", check)
    after = python(its_test, copy)
    assert after.returncode == 0, after.stderr


@pytest.mark.skipif(not FASTAI_2, reason="the example is an architecture of transformers 5 on fastai 2")
def test_an_architecture_is_added_and_equal(monkeypatch):
    from tests import tiny_models as tiny

    monkeypatch.setattr(tiny, "_TRANSFORMERS_CLASSES", dict(tiny._TRANSFORMERS_CLASSES))
    monkeypatch.setattr(tiny, "_SIZES", dict(tiny._SIZES))
    line, cell = blocks("A new architecture")
    exec(line, {})
    exec(cell, {})


def test_a_fastai_gets_a_room(copy):
    told, callback = blocks("A new fastai")
    (copy / "fastai").mkdir()  # one that has what the text names, and nothing else
    for name in ("__init__.py", "training.py"):
        (copy / "fastai" / name).write_text("", encoding="utf-8")
    ask = "from fastai_hf_callback import HFCallback; print(HFCallback.__module__)"
    assert "No fastai is installed here" in python(ask, copy).stderr

    public = copy / "fastai_hf_callback" / "__init__.py"
    source, changed = re.subn(
        r"^_FASTAI_MARKERS = .*\n", lambda _: told, public.read_text(encoding="utf-8"), flags=re.M
    )
    assert changed == 1
    public.write_text(source, encoding="utf-8")
    room = copy / "fastai_hf_callback" / "fastai3"
    room.mkdir()
    (room / "__init__.py").write_text('"""Everything that imports fastai 3."""\n', encoding="utf-8")
    (room / "callback.py").write_text(callback, encoding="utf-8")
    assert python(ask, copy).stdout.strip() == "fastai_hf_callback.fastai3.callback"
    assert "compare is not there for fastai 3 yet" in python("from fastai_hf_callback import compare", copy).stderr


def test_no_example_is_forgotten():
    assert len(re.findall("```python", TEXT)) == sum(
        len(blocks(heading)) for heading in ("A new check", "A new architecture", "A new fastai")
    )


def test_the_table_of_rooms_names_every_room_and_modules_that_are_there():
    package = ROOT / "fastai_hf_callback"
    rows = re.findall(r"^\| ((?:`[\w/]+/`(?:, )?)+) \| (.+?) \|", TEXT, flags=re.M)
    rooms = {room: text for names, text in rows for room in re.findall(r"`([\w/]+)/`", names)}
    there = {path.parent.relative_to(package).as_posix() for path in package.rglob("*.py")} - {"."}
    assert {room for room in there if not room.startswith("fastai")} <= set(rooms) | {"data"}
    for room, text in rooms.items():
        modules = {path.stem for path in (package / room).rglob("*.py")} | {"heal", "trusted", "templates"}
        named = set(re.findall(r"`([a-z_0-9]+)`", text))
        assert named <= modules | {"diagnose", "compare"}, f"{room}/ has no {', '.join(sorted(named - modules))}"


def test_where_to_look_names_files_that_are_there():
    section = TEXT.split("| where is … | there |")[1].split("\n\n")[0]
    for path in re.findall(r"`([\w/]+\.py)`", section):
        assert list((ROOT / "fastai_hf_callback").rglob(path)), path
