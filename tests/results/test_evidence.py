"""Every field of the evidence is read: what no check, report or behaviour uses is not collected."""

import ast
from pathlib import Path

import pytest

import fastai_hf_callback

PACKAGE = Path(fastai_hf_callback.__file__).parent
EVIDENCE = "results/evidence.py"
FILLERS = (EVIDENCE, "diagnosis/probes/")
SOURCES = {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}


def find_unread_fields(sources):
    """The fields, as ``Class.field``, that no module reads but those that fill them."""
    classes = {node.name: node for node in ast.parse(sources[EVIDENCE]).body if isinstance(node, ast.ClassDef)}
    fields = {
        (kind, line.target.id): find_class(line.annotation, classes)
        for kind, node in classes.items()
        for line in node.body
        if isinstance(line, ast.AnnAssign)
    }
    parts = {name: part for (kind, name), part in fields.items() if kind == "Evidence" and part}
    read = {
        (kind, name)
        for path, source in sources.items()
        if not path.startswith(FILLERS)
        for kind, name in find_reads(ast.parse(source), parts, classes)
    }
    return {f"{kind}.{name}" for kind, name in set(fields) - read}


def find_class(annotation, classes):
    """The class of the evidence that an annotation names, if any."""
    names = (node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)) if annotation else ()
    return next((name for name in names if name in classes), None)


def find_reads(tree, parts, classes):
    """(class, attribute) of what is read; a variable's class is told by its annotation or by the part it was given."""
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda))]
    for scope in [tree, *functions]:
        variables = dict(find_variables(scope, parts, classes))
        for node in ast.walk(scope):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                kind = find_part(node.value, parts) or variables.get(getattr(node.value, "id", None))
                if kind:
                    yield kind, node.attr


def find_part(node, parts):
    """The class of an expression that holds a part of the evidence, as ``evidence.graph`` does."""
    held = (inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute) and inner.attr in parts)
    is_whole = getattr(node, "attr", getattr(node, "id", None)) == "evidence"
    return next((parts[name] for name in held), "Evidence" if is_whole else None)


def find_variables(scope, parts, classes):
    """(name, class) of the arguments and variables in `scope` that are parts of the evidence."""
    for node in ast.walk(scope):
        if isinstance(node, ast.arg):
            yield node.arg, find_class(node.annotation, classes)
        if isinstance(node, ast.AnnAssign):
            yield getattr(node.target, "id", None), find_class(node.annotation, classes)
        if isinstance(node, (ast.Assign, ast.comprehension, ast.For)):
            value = node.value if isinstance(node, ast.Assign) else node.iter
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                pairs = zip(getattr(target, "elts", [target]), getattr(value, "elts", [value]))
                for name, given in pairs:
                    yield getattr(name, "id", None), find_part(given, parts)


def test_every_field_is_read():
    assert find_unread_fields(SOURCES) == set()


EXAMPLE = """
class Graph:
    reached: int

class Stepping:
    steps: int
    reached: int = 0

class Evidence:
    graph: Optional[Graph] = None
    stepping: Optional[Stepping] = None
"""


@pytest.mark.parametrize(
    "path, source, unread",
    [
        ("report/scope.py", "evidence.graph.reached, evidence.stepping.steps, evidence.stepping.reached", []),
        (
            "diagnosis/checks/a.py",
            "def f(evidence):\n graph, s = evidence.graph, evidence.stepping\n graph.reached, s.steps, s.reached",
            [],
        ),
        (
            "report/a.py",
            "def f(s: Stepping):\n s.steps, s.reached\nf(evidence.stepping)\nfor g in evidence.graph:\n g.reached",
            [],
        ),
        # A field of the same name is read, of another part or of something else; a field is only filled.
        ("report/a.py", "evidence.graph.reached, evidence.stepping.steps, learn.reached", ["Stepping.reached"]),
        (
            "diagnosis/a.py",
            "evidence.graph.reached, evidence.stepping.steps\nevidence.stepping.reached = 2",
            ["Stepping.reached"],
        ),
        (
            "diagnosis/probes/a.py",
            "evidence.graph.reached, evidence.stepping.steps, evidence.stepping.reached",
            ["Evidence.graph", "Evidence.stepping", "Graph.reached", "Stepping.reached", "Stepping.steps"],
        ),
    ],
)
def test_what_nothing_reads_is_found(path, source, unread):
    assert sorted(find_unread_fields({EVIDENCE: EXAMPLE, path: source})) == unread
