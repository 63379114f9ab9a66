"""Which test modules cannot tell v1 from v2: what they import leads to no fastai and asks nowhere what is installed.

v1 and v2 are one Python, one torch, one transformers (``tests/test_core_tests.py`` holds the locks to it), and v1 has
all that v2 has but fastai 2. So ``make test`` for all stacks runs these tests on v1 and leaves them out on v2.
"""

import ast
from functools import lru_cache
from pathlib import Path
from typing import FrozenSet, Iterator, Set

from fastai_hf_callback import _PER_FASTAI
from tests.import_graph import FASTAI_ROOMS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "fastai_hf_callback"
# Who imports these depends on the stack, or starts processes, whose imports are not read here.
LIBRARIES = ("fastai", "subprocess")
ASKS_WHAT_IS_INSTALLED = ("find_spec", "import_module", "metadata", "_PER_FASTAI")
# The public names, which are resolved below; whether rich is there; what the page's foot lists.
ASK_FOR_THE_SAME = tuple(f"{PACKAGE}/{name}.py" for name in ("__init__", "utils/progress", "report/page"))


def is_core(path: Path) -> bool:
    """Return whether a test module, with the ``conftest.py`` next to it and above, is one of these."""
    folders = [folder for folder in path.parents if ROOT / "tests" in folder.parents]
    files = [path, *(folder / "conftest.py" for folder in folders if (folder / "conftest.py").is_file())]
    return not any(_reaches_the_stack(file) for file in files)


def _reaches_the_stack(path: Path) -> bool:
    """Return whether a module, or one that it leads to, sees which fastai there is."""
    waiting, seen = [path], set()
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            if _sees_the_stack(file):
                return True
            waiting += _list_imported_files(file)
    return False


@lru_cache(maxsize=None)
def _sees_the_stack(path: Path) -> bool:
    place = path.relative_to(ROOT)
    if place.parts[0] == PACKAGE and place.parts[1] in FASTAI_ROOMS:
        return True
    if place.as_posix() in ASK_FOR_THE_SAME:
        return False
    words = _words_of(path)
    return any(word.split(".")[0] in LIBRARIES or word.split(".")[-1] in ASKS_WHAT_IS_INSTALLED for word in words)


def _words_of(path: Path) -> Set[str]:
    """Return what a module imports, the public names of a fastai among it, calls by attribute, and skips without."""
    words = set(_imported_names(path))
    words |= {f"fastai.{name}" for name in _PER_FASTAI if f"{PACKAGE}.{name}" in words}
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.Attribute):
            words.add(node.attr)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "importorskip":
            words |= {given.value if isinstance(given, ast.Constant) else "import_module" for given in node.args}
    return words


def _list_imported_files(path: Path) -> Iterator[Path]:
    for name in _imported_names(path):
        file = ROOT / name.replace(".", "/")
        for candidate in (file.with_suffix(".py"), file / "__init__.py"):
            if candidate.is_file():
                yield candidate


@lru_cache(maxsize=None)
def _imported_names(path: Path) -> FrozenSet[str]:
    folder = path.relative_to(ROOT).parts[:-1]
    names = set()
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return frozenset(names)


@lru_cache(maxsize=None)
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
