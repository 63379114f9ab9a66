"""The architecture: which room may import which, no side effects, no clash of names; and that these tests can fail.

``python -m tests.test_architecture`` prints the rooms, their arrows and their circles.
"""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastai_hf_callback
from tests import import_graph
from tests.mutants import MUTANTS

PACKAGE = Path(fastai_hf_callback.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 430

# What the core must not import until it is used, and what it must never import.
HEAVY = {
    "fastai",
    "pytorch_transformers",
    "transformers",
    "datasets",
    "pandas",
    "sklearn",
    "matplotlib",
    "rich",
    "jinja2",
}
FASTAI_ROOMS = {"fastai1", "fastai2"}


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def in_fastai_room(path):
    return path.relative_to(PACKAGE).parts[0] in FASTAI_ROOMS


CORE = [path for path in FILES if not in_fastai_room(path)]
every_file = pytest.mark.parametrize("path", FILES, ids=name_of)
every_core_file = pytest.mark.parametrize("path", CORE, ids=name_of)


# -- the walk --------------------------------------------------------------------------------------


def imports(source, module_level_only):
    """Return top-level names of the modules that `source` imports; relative ones begin with a dot."""
    waiting, found = [ast.parse(source)], set()
    while waiting:
        node = waiting.pop()
        if module_level_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        found |= imported_by(node)
        waiting.extend(ast.iter_child_nodes(node))
    return found


def imported_by(node):
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.level:
        names = [node.module] if node.module else [alias.name for alias in node.names]
        return {"." + name.split(".")[0] for name in names}
    if isinstance(node, ast.ImportFrom):
        return {node.module.split(".")[0]}
    if (
        isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ):
        return {str(node.args[0].value).split(".")[0]}
    return set()


def heavy_at_module_level(source):
    return imports(source, module_level_only=True) & (HEAVY | {f".{room}" for room in FASTAI_ROOMS})


def fastai_anywhere(source):
    return "fastai" in imports(source, module_level_only=False)


def star_imports(source):
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
    ]


@every_core_file
def test_the_core_imports_nothing_heavy_at_module_level(path):
    assert not heavy_at_module_level(path.read_text(encoding="utf-8"))


@every_core_file
def test_only_the_fastai_rooms_import_fastai(path):
    assert not fastai_anywhere(path.read_text(encoding="utf-8"))


@every_file
def test_no_star_imports(path):
    assert not star_imports(path.read_text(encoding="utf-8"))


@every_file
def test_no_file_is_too_long_to_read(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize(
    "source",
    [
        "import pandas",
        "import pandas as pd",
        "import matplotlib.pyplot",
        "from sklearn.metrics import roc_auc_score",
        "try:\n    import transformers\nexcept ImportError:\n    pass",
        "if True:\n    from rich import print",
        "class A:\n    import fastai",
        "import torch, fastai",
        "from .fastai1.callback import HFCallback",
        "from . import fastai1",
        "import importlib\nx = importlib.import_module('pytorch_transformers.modeling_bert')",
        "with open('x') as f:\n    import pandas",
    ],
)
def test_the_walk_sees_what_must_not_be_there(source):
    assert heavy_at_module_level(source)


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "from .errors import FastaiHFError",
        "def f():\n    import pandas",
        "import fastai_hf_callback",
        "async def f():\n    from sklearn import metrics",
        "x = lambda: __import__('rich')",
        "'import fastai'",
    ],
)
def test_the_walk_lets_pass_what_may_be_there(source):
    assert not heavy_at_module_level(source)


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    import fastai",
        "def f():\n    from fastai.basic_train import Learner",
        "import fastai.text",
        "def f():\n    __import__('fastai')",
    ],
)
def test_fastai_is_seen_inside_functions_too(source):
    assert fastai_anywhere(source)


def test_a_star_import_is_seen():
    assert star_imports("import os\nfrom os.path import *") == [2]


def test_the_walk_walks_over_something():
    assert {"model/output.py", "data/batches/padding.py", "__init__.py"} <= {name_of(path) for path in CORE}
    assert any(in_fastai_room(path) and fastai_anywhere(path.read_text(encoding="utf-8")) for path in FILES)


# -- the rooms -------------------------------------------------------------------------------------


def test_no_room_imports_what_the_table_does_not_allow():
    assert import_graph.forbidden_arrows() == []


def test_the_table_names_every_room_and_no_other():
    modules = import_graph.find_modules()
    rooms = {import_graph.room_of(module, modules) for module in modules}
    core = {room for room in rooms if room.split("/")[0] not in import_graph.FASTAI_ROOMS}
    assert core == set(import_graph.MAY_IMPORT)
    for fastai in import_graph.FASTAI_ROOMS:
        inside = {room[len(fastai) + 1 :] or "." for room in rooms if room.split("/")[0] == fastai}
        assert inside == set(import_graph.WITHIN_A_FASTAI)


def test_there_is_no_circle_of_modules_and_none_of_rooms():
    arrows, modules = import_graph.find_arrows(), import_graph.find_modules()
    assert import_graph.find_circles(arrows) == []
    assert import_graph.find_circles(import_graph.room_arrows(arrows, modules)) == []


def test_the_root_and_every_room_can_be_taken_in_at_a_glance():
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= 5
    for room in [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())]:
        assert len([path for path in room.glob("*.py") if path.stem != "__init__"]) <= 14, room


@pytest.mark.parametrize(
    "file, line, seen",
    [
        (
            "results/trace.py",
            "from fastai_hf_callback.model.output import unwrap",
            "results/trace imports model/output",
        ),
        ("report/text.py", "def late():\n    from ..comparison import runner", "report/text imports comparison/runner"),
        (
            "data/columns.py",
            "import fastai_hf_callback.diagnosis.diagnosis",
            "data/columns imports diagnosis/diagnosis",
        ),
        (
            "model/losses.py",
            "if TYPE_CHECKING:\n    from ..fastai1.callback import HFCallback",
            "model/losses imports fastai1/callback",
        ),
    ],
)
def test_an_import_that_the_table_does_not_allow_is_seen(tmp_path, file, line, seen):
    copy = tmp_path / PACKAGE.name
    shutil.copytree(str(PACKAGE), str(copy), ignore=shutil.ignore_patterns("__pycache__"))
    (copy / file).parent.mkdir(parents=True, exist_ok=True)
    with (copy / file).open("a", encoding="utf-8") as source:
        source.write(f"\n\n{line}\n")
    assert import_graph.forbidden_arrows(copy) == [seen]


def test_a_circle_is_seen():
    arrows = [import_graph.Arrow(*pair) for pair in ("ab", "bc", "ca", "cd")]
    assert import_graph.find_circles(arrows) == [["a", "b", "c"]]
    assert import_graph.find_circles(arrows[1:]) == []


# -- importing has no side effects -----------------------------------------------------------------


def run(code):
    """Run code in a new interpreter, which must not fail, and return the lines it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=str(PACKAGE.parent), text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


IMPORTS = """
import importlib, logging, os, random, sys, warnings
import numpy, torch
from torch.utils.data import DataLoader

def world():
    return [DataLoader.__init__, torch.nn.Module.__call__, torch.load, numpy.array, sys.excepthook, sys.stdout,
            sys.stderr, list(warnings.filters), dict(os.environ), list(logging.getLogger().handlers), list(sys.path),
            random.getstate(), repr(numpy.random.get_state()), torch.initial_seed(),
            bytes(torch.get_rng_state().numpy()), torch.get_num_threads(), torch.get_default_dtype()]

def tell():
    changed = [i for i, (a, b) in enumerate(zip(before, world())) if a is not b and a != b]
    print(sorted({heavy} & {{name.split(".")[0] for name in sys.modules}}), changed)

before = world()
import fastai_hf_callback
tell()
for room in {rooms}:
    importlib.import_module("fastai_hf_callback." + room)
tell()
sys.modules["pandas"], DataLoader.__init__ = random, (lambda self: None)
tell()
"""


def test_importing_the_package_and_its_whole_core_loads_and_changes_nothing():
    rooms = [
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in CORE
        if path.stem not in ("__init__", "__main__")
    ]
    package, core, spoilt = run(IMPORTS.format(heavy=HEAVY, rooms=rooms))
    assert package == "[] []"
    assert core == "[] []"
    assert spoilt == "['pandas'] [0]", "and a side effect would be seen"


# -- public names ----------------------------------------------------------------------------------

NAMES = """
import importlib, random, sys, types

def fresh():
    for name in [n for n in sys.modules if n.split(".")[0] == "fastai_hf_callback"]:
        del sys.modules[name]
    return importlib.import_module("fastai_hf_callback")

wrong = []
for seed in range(4):
    package = fresh()
    order = list(package.__all__) * 2
    random.Random(seed).shuffle(order)
    seen = {}
    for name in order:
        value = getattr(package, name)
        if isinstance(value, types.ModuleType) or seen.setdefault(name, value) is not value:
            wrong.append(name)
print(len(seen), sorted(set(wrong)))
"""


@pytest.mark.slow
def test_every_public_name_read_twice_in_any_order_is_the_same_object_and_no_module():
    pytest.importorskip("fastai")
    assert run(NAMES) == [f"{len(fastai_hf_callback.__all__)} []"]


FOUND = """
import importlib.util, sys
real, there = importlib.util.find_spec, {there}

def find_spec(name, package=None):
    if name.split(".")[0] != "fastai":
        return real(name, package)
    return object() if name in there else None

importlib.util.find_spec = find_spec
import fastai_hf_callback
try:
    print(fastai_hf_callback._detect_fastai())
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "there, said",
    [
        ({"fastai", "fastai.basic_train"}, "fastai1"),
        ({"fastai", "fastai.learner"}, "fastai2"),
        ({"fastai"}, "No fastai is installed"),
        (set(), "No fastai is installed"),
    ],
)
def test_the_room_is_that_of_the_fastai_that_is_installed(there, said):
    first = run(FOUND.format(there=there))[0]
    assert first.startswith(said)
    if said.startswith("No"):
        assert "pip install 'fastai-hf-callback[fastai1]'" in first
        assert "pip install 'fastai-hf-callback[fastai2]'" in first


def test_the_fastai_rooms_are_twins():
    """Modules of ``fastai2/`` exist in ``fastai1/`` under the same name."""
    ours, twins = (
        {path.relative_to(PACKAGE / room).as_posix() for path in (PACKAGE / room).rglob("*.py")}
        for room in ("fastai2", "fastai1")
    )
    assert ours - twins == {"compat/learner_state.py"}, "fastai 1's handler is made anew for each run"
    assert {"callback.py", "comparison/compare.py", "diagnosis/doctor.py", "data/text_data.py"} <= ours


def test_type_checkers_see_every_public_name_where_it_is():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    shown = {
        alias.asname: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    there = {name: f"fastai2.{module}" for name, module in fastai_hf_callback._PER_FASTAI.items()}
    assert shown == {**fastai_hf_callback._CORE, **there}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_can_be_made(mutant):
    assert (PACKAGE / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1


def test_nothing_directly_under_the_package_bears_a_public_name():
    """A module ``compare`` and a lazy ``fastai_hf_callback.compare`` would be the same attribute."""
    names = {path.stem for path in PACKAGE.iterdir()}
    assert not names & set(fastai_hf_callback.__all__)


def test_dir_lists_the_public_names_and_an_unknown_one_is_an_attribute_error():
    assert set(fastai_hf_callback.__all__) <= set(dir(fastai_hf_callback))
    with pytest.raises(AttributeError, match="module 'fastai_hf_callback' has no attribute 'nonsense'"):
        fastai_hf_callback.nonsense  # noqa: B018


@every_core_file
def test_every_name_a_room_offers_is_there(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    offered = next(
        (
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            and getattr(node.targets[0], "id", "") == "__all__"
            and isinstance(node.value, ast.List)
            and all(isinstance(item, ast.Constant) for item in node.value.elts)
        ),
        [],
    )
    assigned = [
        target
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in getattr(node, "targets", None) or [node.target]
    ]
    there = {getattr(node, "name", None) for node in tree.body} | {
        name.id for target in assigned for name in ast.walk(target) if isinstance(name, ast.Name)
    }
    assert set(offered) <= there


if __name__ == "__main__":
    print(import_graph.summary())
