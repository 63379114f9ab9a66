"""Runs the blocks of a page: Python as a module of its own, commands in bash, the commands of a CI file."""

import os
import re
import stat
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Dict, List, Tuple

from tests.docs.block_fixtures import given
from tests.docs.code_blocks import ROOT, Block, compiled
from tests.forked_command import run_in_a_copy

# A command of this package without anything that a shell would read otherwise than it stands.
PLAIN = re.compile(r"fastai-hf (compare|diagnose)( [\w./:=,-]+)+$")


def run_chain(chain: List[Block], monkeypatch) -> Dict[str, Any]:
    """Run blocks one after another in the current folder and one namespace, which is returned."""
    module = types.ModuleType("page")  # worker processes and pickle look its classes up by this name
    monkeypatch.setitem(sys.modules, "page", module)
    monkeypatch.syspath_prepend(os.getcwd())
    for block in chain:
        vars(module).update(given(block.mark.given))
        {"python": _python, "console": _console, "yaml": _workflow}[block.language](block, vars(module))
    return vars(module)


def _python(block: Block, namespace: Dict[str, Any]) -> None:
    exec(compiled(block), namespace)
    for name, value in list(namespace.items()):  # a test that a page shows is meant to be called
        if name.startswith("test_") and name in block.text:
            value()


def _console(block: Block, namespace: Dict[str, Any]) -> None:
    for command in commands(block.text):
        run_command(command, block)


def commands(text: str) -> List[str]:
    """What stands behind each ``$``, lines that end in a backslash joined; what is printed is not read."""
    joined = re.sub(r"\\\n\s*", "", text)
    return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


def _workflow(block: Block, namespace: Dict[str, Any]) -> None:
    import yaml

    for command in steps(yaml.safe_load(block.text)):
        run_command(command, block)


def steps(workflow: Dict[str, Any]) -> List[str]:
    """The commands of GitHub's jobs, or of GitLab's."""
    if "jobs" in workflow:
        return [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    return [
        line
        for job in workflow.values()
        if isinstance(job, dict)
        for part in ("before_script", "script")
        for line in job.get(part, [])
    ]


def without_repeats(chains: List[List[Block]]) -> List[List[Block]]:
    """All chains but the workflows that come to the same commands, given the same, as one before them."""
    kept: Dict[Any, List[Block]] = {}
    for chain in chains:
        kept.setdefault(_workflow_commands(chain) or chain[0].where, chain)
    return list(kept.values())


def _workflow_commands(chain: List[Block]) -> Any:
    if [block.language for block in chain] != ["yaml"]:
        return None
    import yaml

    mark = chain[0].mark
    return (*steps(yaml.safe_load(chain[0].text)), mark.given, mark.exit_code, mark.rate)


def run_command(command: str, block: Block) -> None:
    if command.startswith("pip ") and not find_spec("pip"):
        return  # an environment that uv made has none
    ended, said = run_in_a_copy(command) if PLAIN.match(command) else _run_in_bash(command)
    expected = block.mark.exit_code
    assert ended == expected, f"{block.where}: $ {command}\nexit code {ended}, expected {expected}\n{said}"


def _run_in_bash(command: str) -> Tuple[int, str]:
    done = subprocess.run(
        ["bash", "-ec", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environment()
    )
    return done.returncode, done.stdout


def _environment() -> Dict[str, str]:
    """A PATH on which python, pip, pytest and fastai-hf are those of this stack, and of this tree."""
    folder = Path(os.getcwd()) / ".bin"
    if not folder.exists():
        folder.mkdir()
        for name, module in (
            ("python", ""),
            ("pip", "-m pip"),
            ("pytest", "-m pytest"),
            ("fastai-hf", "-m fastai_hf_callback"),
        ):
            path = folder / name
            path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
            path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "OMP_NUM_THREADS": "1",
    }
