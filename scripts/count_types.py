"""Count `Any` and `type: ignore` in the package, so that a figure can be quoted: before and after.

    python scripts/count_types.py                # the working tree
    python scripts/count_types.py b9dc851 HEAD   # two commits, side by side

`Any` is counted where it is used as a type, in signatures (parameters and what is returned) and elsewhere (bodies,
fields, aliases); imports are not uses.
"""

import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "fastai_hf_callback"
KINDS = ("Any in signatures", "Any elsewhere", "type: ignore", "type: ignore without a reason")


def list_sources(commit):
    """Yield path and text of every module of the package, at a commit or, without one, in the working tree."""
    if commit is None:
        for path in sorted((ROOT / PACKAGE).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        return
    for path in run_git("ls-tree", "-r", "--name-only", commit, PACKAGE).split():
        if path.endswith(".py"):
            yield path, run_git("show", f"{commit}:{path}")


def run_git(*arguments):
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True).stdout


def count(source):
    """Count one module's uses of `Any` and its ignores."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    in_signatures = sum(count_any(part) for function in functions for part in (function.args, function.returns) if part)
    comments = [t.string for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT]
    ignores = [comment for comment in comments if "type: ignore" in comment]
    bare = [comment for comment in ignores if not comment.split("type: ignore")[1].partition("]")[2].strip(" #")]
    return Counter(dict(zip(KINDS, (in_signatures, count_any(tree) - in_signatures, len(ignores), len(bare)))))


def count_any(node):
    return sum(isinstance(one, ast.Name) and one.id == "Any" for one in ast.walk(node))


def main(commits):
    columns = [
        (name or "working tree", sum((count(text) for _, text in list_sources(name)), Counter())) for name in commits
    ]
    print(f"{'':32}" + "".join(f"{name:>14}" for name, _ in columns))
    for kind in KINDS:
        print(f"{kind:32}" + "".join(f"{counted[kind]:14}" for _, counted in columns))


if __name__ == "__main__":
    main(sys.argv[1:] or [None])
