"""The import graph of the package: its rooms and their imports, read from the source.

A room is a folder with modules; a room's sub-rooms are rooms of their own. Every import counts, also one inside a
function or under ``TYPE_CHECKING``: a hidden circle is a circle, too.
"""

import ast
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, NamedTuple, Set, Tuple

PACKAGE = Path(__file__).resolve().parents[1] / "fastai_hf_callback"

# Room -> what it may import in addition to itself. `` `` (the root) is ``errors`` and ``__version__``; public names are
# for users.
# A room of a fastai may import what `EVERY_FASTAI_ROOM` lists, and the rooms of its own fastai that are listed here.
CORE = ("results", "utils", "data", "data/tables", "data/encoding", "data/batches")
EVERY_FASTAI_ROOM = (
    "",
    *CORE,
    "model",
    "model/inputs",
    "model/loss",
    "model/weights",
    "compat",
    "report",
    "comparison",
    "diagnosis",
    "diagnosis/probes",
    "diagnosis/probes/pairing",
    "diagnosis/checks",
    "diagnosis/fixes",
    "diagnosis/substitution",
    "demo",
)
MAY_IMPORT: Dict[str, Tuple[str, ...]] = {
    "": (),
    "__main__": ("cli",),
    "results": ("",),
    "utils": ("",),
    "data": ("", "data/tables", "data/encoding", "data/batches"),
    "data/tables": ("",),
    "data/encoding": ("", "data/tables"),
    "data/batches": ("", "data/tables", "data/encoding"),
    "model": ("", "utils", "data/batches", "model/inputs", "model/loss", "model/weights"),
    "model/inputs": ("", "data/batches"),
    "model/loss": ("", "utils", "data/batches"),
    "model/weights": ("",),
    "compat": ("", "utils"),
    "report": ("", "results", "utils"),
    "comparison": ("", "results", "utils", "model", "model/weights", "report"),
    "diagnosis/probes": ("", "results", "utils", "model", "model/weights"),
    "diagnosis/probes/pairing": ("", "results", "model", "diagnosis/probes"),
    "diagnosis/probes/numeric": ("", "results", "model", "diagnosis/probes"),
    "diagnosis/substitution": (
        "",
        "results",
        "utils",
        "data/batches",
        "model",
        "model/inputs",
        "diagnosis",
        "diagnosis/probes",
    ),
    "diagnosis/checks": ("", "results", "utils"),
    "diagnosis/fixes": ("results", "utils"),
    "diagnosis": (
        "",
        "results",
        "utils",
        "data/encoding",
        "model",
        "model/loss",
        "model/weights",
        "report",
        "diagnosis/probes",
        "diagnosis/probes/pairing",
        "diagnosis/probes/numeric",
        "diagnosis/checks",
        "diagnosis/fixes",
        "diagnosis/substitution",
    ),
    "demo": ("", "data/tables", "data/encoding", "data/batches", "model"),
    "cli": ("", "results", "utils", "data/tables", "model", "diagnosis/checks", "demo"),
}
# Within ``fastai1/`` and ``fastai2/``; ``.`` is the room itself: the callback, its metrics, layer groups, the demo.
WITHIN_A_FASTAI: Dict[str, Tuple[str, ...]] = {
    "compat": (),
    "data": ("compat",),
    "comparison": (".", "compat", "data"),
    "diagnosis": (".", "compat", "data", "comparison"),
    ".": ("compat", "data", "comparison"),
}
FASTAI_ROOMS = ("fastai1", "fastai2")


class Arrow(NamedTuple):
    """One module that imports another, by path without ``.py``."""

    source: str
    target: str


def find_modules(package: Path = PACKAGE) -> List[str]:
    """List every module as a path, such as ``data/batches/padding``; a folder's ``__init__`` counts as the folder."""
    paths = [path.relative_to(package).with_suffix("").as_posix() for path in sorted(package.rglob("*.py"))]
    return [path[: -len("/__init__")] if path.endswith("/__init__") else path for path in paths]


def room_of(module: str, modules: Iterable[str]) -> str:
    """Return the folder of a module; ``""`` is the root."""
    if module == "__main__":
        return module  # the start of the command line is above all rooms
    if any(other.startswith(f"{module}/") for other in modules):
        return module
    return module.rpartition("/")[0]


def find_arrows(package: Path = PACKAGE) -> List[Arrow]:
    """List every import of one module of the package by another."""
    modules = find_modules(package)
    return sorted({arrow for module in modules for arrow in _arrows_from(module, package, set(modules))})


def _arrows_from(module: str, package: Path, modules: Set[str]) -> Iterator[Arrow]:
    is_folder = (package / module).is_dir()
    path = package / module / "__init__.py" if is_folder else package / f"{module}.py"
    folder = module.split("/") if is_folder else module.split("/")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for target in imported_modules(node, folder, package.name, modules):
            if target != module:
                yield Arrow(module, target)


def imported_modules(node: ast.AST, folder: List[str], package: str, modules: Set[str]) -> Iterator[str]:
    """Yield what one statement imports of the package, as paths."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            head, *rest = alias.name.split(".")
            if head == package:
                yield "/".join(rest) or "__init__"
    elif isinstance(node, ast.ImportFrom):
        base = _base_of(node, folder, package)
        if base is not None:
            for alias in node.names:
                full = "/".join([*base, alias.name])
                yield full if full in modules else "/".join(base) or "__init__"


def _base_of(node: ast.ImportFrom, folder: List[str], package: str) -> "List[str] | None":
    named = node.module.split(".") if node.module else []
    if node.level:
        return [*folder[: len(folder) - node.level + 1], *named]
    return named[1:] if named[:1] == [package] else None


def room_arrows(arrows: Iterable[Arrow], modules: Iterable[str]) -> Set[Arrow]:
    """Return the arrows between rooms."""
    modules = list(modules)
    pairs = {Arrow(room_of(a, modules), room_of(b, modules)) for a, b in arrows}
    return {arrow for arrow in pairs if arrow.source != arrow.target}


def may_import(source: str, target: str) -> bool:
    """Return whether the table allows this arrow between two rooms."""
    fastai, _, room = source.partition("/")
    if fastai not in FASTAI_ROOMS:
        return target in MAY_IMPORT[source]
    if target == fastai or target.startswith(f"{fastai}/"):
        return (target[len(fastai) + 1 :] or ".") in WITHIN_A_FASTAI[room or "."]
    return target in EVERY_FASTAI_ROOM


def forbidden_arrows(package: Path = PACKAGE) -> List[str]:
    """List the imports that the table does not allow, one line each."""
    modules = find_modules(package)
    return [
        f"{a} imports {b}"
        for a, b in find_arrows(package)
        if room_of(a, modules) != room_of(b, modules) and not may_import(room_of(a, modules), room_of(b, modules))
    ]


def find_circles(arrows: Iterable[Arrow]) -> List[List[str]]:
    """Find groups of at least two nodes in which each reaches all others."""
    after: Dict[str, Set[str]] = {}
    for a, b in arrows:
        after.setdefault(a, set()).add(b)
        after.setdefault(b, set())
    reached = {node: _reach(node, after) for node in after}
    circles = {frozenset({n for n in reached[node] if node in reached[n]} | {node}) for node in after}
    return sorted(sorted(circle) for circle in circles if len(circle) > 1)


def _reach(node: str, after: Dict[str, Set[str]]) -> Set[str]:
    waiting, found = [node], set()
    while waiting:
        for target in after[waiting.pop()] - found:
            found.add(target)
            waiting.append(target)
    return found


def summary(package: Path = PACKAGE) -> str:
    """Summarize the graph in figures, for ``python -m tests.test_architecture``."""
    modules, arrows = find_modules(package), find_arrows(package)
    rooms: Dict[str, List[str]] = {}
    for module in modules:
        if not (package / module).is_dir():
            rooms.setdefault(room_of(module, modules), []).append(module)
    between = room_arrows(arrows, modules)
    root = sorted(path.name for path in package.iterdir() if path.is_file())
    lines = [
        f"{room or '.':24} {len(held):2} modules, imports "
        f"{', '.join(sorted(b or '.' for a, b in between if a == room)) or '-'}"
        for room, held in sorted(rooms.items())
    ]
    widest = max(len(held) for held in rooms.values())
    return "\n".join(
        [
            *lines,
            "",
            f"rooms {len(rooms)} · arrows between rooms {len(between)} · between modules {len(arrows)}",
            f"circles of rooms {len(find_circles(between))} · of modules {len(find_circles(arrows))}",
            f"files in the root {len(root)}: {', '.join(root)} · modules in the fullest room {widest}",
            f"forbidden imports {len(forbidden_arrows(package))}",
        ]
    )


if __name__ == "__main__":
    print(summary())
