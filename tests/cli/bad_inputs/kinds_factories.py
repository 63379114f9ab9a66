"""Factory files that cannot be run, and factories that raise every kind of exception."""

from typing import Dict, FrozenSet, List, Tuple, Union

from .case import EITHER, INTERRUPTED, REFUSED, Case, diagnose_command, factory_command, write
from .room import FACTORIES

__all__ = ["cases"]

COMMANDS = (("compare", factory_command), ("diagnose", diagnose_command))

# What is raised -> what the line must hold. `raise` is put before it, at the end of the file or in the factory.
RAISED: Dict[str, str] = {
    "ValueError('no data here')": "no data here",
    "KeyError('')": "KeyError",
    "Exception()": "Exception|factories",
    "ValueError('two\\nlines\\n\\nof it')": "two lines",
    "ValueError('half \\ud83d')": "ValueError",
    "ValueError('x' * 10**6)": "ValueError",
    "StopIteration()": "StopIteration",
    "MemoryError()": "MemoryError",
    "RecursionError('too deep')": "too deep",
    "AssertionError()": "AssertionError",
    "OSError(28, 'disk full')": "disk full",
    "UnicodeDecodeError('utf-8', b'\\xff', 0, 1, 'bad')": "UnicodeDecodeError|utf-8",
    "ImportError('torch9')": "torch9",
    "BrokenPipeError(32, 'broken pipe')": "roken pipe",
    "NotImplementedError": "NotImplementedError",
    "SyntaxError('a rule')": "a rule",
    "GeneratorExit()": "GeneratorExit|factories",
    "KeyboardInterrupt()": "nterrupt|factories",
    "SystemExit(0)": "exit|Exit|factories.py",
    "SystemExit(None)": "exit|Exit|factories.py",
    "SystemExit('bye now')": "bye now|exit|Exit",
    "SystemExit(1)": "exit|Exit|factories.py",
    "SystemExit(3)": "exit|Exit|factories.py",
    "SystemExit(2)": "exit|Exit|factories.py",
    "SystemExit()": "exit|Exit|factories.py",
    "SystemExit([1, 2])": "exit|Exit|factories.py",
    "Bare('bare')": "Bare|bare",
    "Mute()": "Mute",
    "Exits()": "Exits|exit",
    "Lookup()['x']": "Lookup|x",
    "asyncio.CancelledError()": "CancelledError",
}

KINDS = """
import asyncio
class Bare(BaseException): pass
class Mute(Exception):
    def __str__(self): raise RuntimeError("no words")
    __repr__ = __str__
class Exits(Exception):
    def __str__(self): raise SystemExit(0)
class Lookup:
    def __getitem__(self, key): raise KeyError(key)
"""

# Whole files, or what follows the room's factories -> what the line must hold.
FILES: Dict[str, Tuple[Union[str, bytes], str]] = {
    "a syntax error": (FACTORIES + "def made(:\n", "SyntaxError|factories.py"),
    "a wrong indent": (FACTORIES + "  def made(): pass\n", "IndentationError|factories.py"),
    "tabs and blanks": (FACTORIES + "if 1:\n        x = 1\n\ty = 2\n", "TabError|IndentationError|factories.py"),
    "NUL bytes": (FACTORIES + "\0\0", "factories.py"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(99), "factories.py"),
    "latin-1 without saying so": ((FACTORIES + "# \xf6\n").encode("latin-1"), "factories.py"),
    "an unknown coding": ("# -*- coding: utf-99 -*-\n" + FACTORIES, "utf-99|factories.py"),
    "UTF-16": (FACTORIES.encode("utf-16"), "factories.py"),
    "no bytes": ("", "made"),
    "a remark alone": ("# made\n", "made"),
    "an unclosed text": (FACTORIES + "x = '''\n", "factories.py"),
    "braces": ("from __future__ import braces\n", "factories"),
    "a missing module": (FACTORIES + "import no_such_module\n", "no_such_module"),
    "a missing name of a module": (FACTORIES + "from os import no_such_name\n", "no_such_name"),
    "a name that is not there": (FACTORIES + "made = maker\n", "maker"),
    "endless recursion": (FACTORIES + "def f(): f()\nf()\n", "Recursion|factories.py"),
    "an argument parser of its own": (
        FACTORIES + "import argparse\nargparse.ArgumentParser().parse_args(['--x'])\n",
        "exit|Exit|factories.py",
    ),
    "its own tests at the end": (FACTORIES + "import unittest\nunittest.main(argv=['x'])\n", "exit|Exit|factories.py"),
    "a question to the user": (FACTORIES + "input('continue? ')\n", "EOF|factories.py"),
    "a signal of the keyboard": (
        FACTORIES + "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nimport time\ntime.sleep(5)\n",
        "nterrupt|factories.py",
    ),
    "exit in a file it runs": (
        FACTORIES + "exec(compile('import sys; sys.exit(0)', 'x', 'exec'))\n",
        "exit|Exit|factories.py",
    ),
    "a diff of it": ("--- a/factories.py\n+++ b/factories.py\n@@ -1 +1 @@\n-x\n+y\n", "factories.py"),
    "a notebook of it": ('{"cells": [], "metadata": null}\n', "factories.py|made"),
    "a name that __getattr__ refuses": (
        "def __getattr__(name):\n    raise RuntimeError('no names here')\n",
        "no names here|made",
    ),
}

# Values of the name asked for that are no function without arguments.
VALUES: Dict[str, str] = {
    "made = 3": "made",
    "made = None": "made",
    "made = 'good'": "made",
    "made = [good]": "made",
    "made = {}": "made",
    "import os as made": "made",
    "def made(size): return good()": "argument",
    "def made(*, size): return good()": "argument",
    "made = lambda size: good()": "argument",
    "class made:\n    def __init__(self, x): pass": "argument",
    "learn = made = good()": "Learner|function|made",
    "good()\nmade = type(good())": "argument|made",
    "class Holder:\n    made = good": "made",
    "def Made(): return good()": "made",
    "made = property(good)": "made",
    "made = staticmethod": "made|argument",
    "made = good.__code__": "made",
}


def cases() -> List[Case]:
    """All of this kind."""
    return [*_raising(), *_files(), *_values(), *_odd()]


def _codes(raised: str) -> FrozenSet[int]:
    return INTERRUPTED if "KeyboardInterrupt" in raised or "signal" in raised else REFUSED


def _raising() -> List[Case]:
    found = []
    for i, (raised, names) in enumerate(RAISED.items()):
        statement = raised if raised.startswith("Lookup") else f"raise {raised}"
        within = write("factories.py", f"{FACTORIES}{KINDS}def made():\n    {statement}\n")
        at_end = write("factories.py", f"{FACTORIES}{KINDS}def made(): return good()\n{statement}\n")
        for j, (verb, command) in enumerate(COMMANDS):
            argv, exits = command("factories.py:made"), "SystemExit(0" in raised
            if j == i % 2 or exits:
                found.append(Case("factories that raise", f"{verb}: {raised}", argv, names, _codes(raised), within))
            if j != i % 2 or exits:
                found.append(Case("files that raise", f"{verb}: {raised}", argv, names, _codes(raised), at_end))
    return found


def _files() -> List[Case]:
    return [
        Case(
            "factory files",
            f"{verb}: {what}",
            command("factories.py:made"),
            names,
            _codes(what),
            write("factories.py", code),
            noisy="parser" in what or "tests" in what,
        )
        for i, (what, (code, names)) in enumerate(FILES.items())
        for verb, command in (COMMANDS[i % 2],)
    ]


def _values() -> List[Case]:
    return [
        Case(
            "values that are no factory",
            f"{verb}: {code.splitlines()[0]}",
            command("factories.py:made"),
            names,
            prepare=write("factories.py", f"{FACTORIES}{code}\n"),
        )
        for i, (code, names) in enumerate(VALUES.items())
        for verb, command in (COMMANDS[i % 2],)
    ]


def _odd() -> List[Case]:
    """Files that do what no file should, and yet leave a factory: taken, or refused in one line."""
    odd = {
        "closes stdout": "import sys\nsys.stdout.close()",
        "has no stdout": "import sys\nsys.stdout = None",
        "closes the file of stdout": "import os\nos.close(1)",
        "keeps stdout for itself": "import io, sys\nsys.stdout = io.StringIO()",
        "makes warnings errors": "import warnings\nwarnings.simplefilter('error')",
        "removes the folder that it is in": "import os\nos.mkdir('gone')\nos.chdir('gone')\nos.rmdir('../gone')",
        "empties the arguments": "import sys\nsys.argv = []",
        "forbids gradients": "import torch\ntorch.set_grad_enabled(False)",
        "makes doubles the default": "import torch\ntorch.set_default_dtype(torch.float64)",
        "closes stdin": "import sys\nsys.stdin.close()",
        "prints from a finished stream": "import sys\nprint('x' * 10**6, file=sys.stdout)",
        "takes print away": "import builtins\nbuiltins.print = None",
    }
    return [
        Case(
            "factory files that meddle",
            f"{verb}: it {what}",
            command("factories.py:made"),
            ".",
            EITHER,
            write("factories.py", f"{FACTORIES}made = good\n{code}\n"),
        )
        for i, (what, code) in enumerate(odd.items())
        for verb, command in (COMMANDS[i % 2],)
    ]
