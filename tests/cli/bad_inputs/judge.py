"""What was wrong with one answer: nothing, or a list of complaints, each of a class that is counted."""

import hashlib
import os
import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

from .case import RUNS, Case

__all__ = ["Answer", "COMPLAINTS", "judge", "snapshot"]

COMPLAINTS = (
    "traceback",
    "silent",
    "wrong exit code",
    "does not name it",
    "touched",
    "left behind",
    "not one line",
    "not written",
    "too slow",
    "died",
)
PREFIX = "fastai-hf: "
PROGRESS = re.compile(r"\s+\w+: step \d+ of \d+$")  # of the arms, where a run fails after it began


class Answer(NamedTuple):
    """How a command ended; `code` is None after the time limit, negative after a signal."""

    code: int
    stdout: str
    stderr: str
    before: Dict[str, str]
    after: Dict[str, str]
    timed_out: bool


def snapshot(folder: Path) -> Dict[str, str]:
    """What each file under the folder holds, in short."""
    found = {}
    for where, folders, files in os.walk(str(folder)):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in files + folders:
            path = os.path.join(where, name)
            found[os.path.relpath(path, str(folder))] = _held(path)
    return found


def _held(path: str) -> str:
    link = "link to " + os.readlink(path) + " " if os.path.islink(path) else ""
    if not os.path.isfile(path):
        return link + "no file"
    with open(path, "rb") as file:
        return link + hashlib.sha1(file.read()).hexdigest()


def judge(case: Case, answer: Answer) -> List[Tuple[str, str]]:
    """Pairs of a complaint's class and what exactly."""
    if answer.timed_out:
        return [("too slow", "killed at the time limit")]
    if answer.code < 0:
        return [("died", f"of signal {-answer.code}")]
    return [*_of_code(case, answer), *_of_lines(case, answer), *_of_files(case, answer)]


def _of_code(case: Case, answer: Answer) -> List[Tuple[str, str]]:
    if answer.code in case.codes:
        return []
    due = "/".join(map(str, sorted(case.codes)))
    if answer.code == 0 or not answer.stderr.strip() and answer.code not in RUNS:
        return [("silent", f"exit {answer.code}, due {due}")]
    return [("wrong exit code", f"{answer.code}, due {due}")]


def _of_lines(case: Case, answer: Answer) -> List[Tuple[str, str]]:
    found = []
    if "Traceback (most recent call last)" in answer.stderr + answer.stdout and not case.noisy:
        found.append(("traceback", "printed"))
    if answer.code in RUNS:
        return found
    lines = [line for line in answer.stderr.splitlines() if line.strip() and not PROGRESS.match(line)]
    said = [line for line in lines if line.startswith(PREFIX)]
    if not said:
        return [*found, ("silent", f"exit {answer.code} without a line of its own")]
    if len(said) > 1 or len(lines) > 1 and not case.noisy:
        found.append(("not one line", f"{len(lines)} on stderr"))
    if not re.search(case.names, said[-1]):
        found.append(("does not name it", f"expected /{case.names}/"))
    return found


def _of_files(case: Case, answer: Answer) -> List[Tuple[str, str]]:
    before, after, found = answer.before, answer.after, []
    allowed = {*case.may_write, *case.must_write}
    touched = sorted(name for name, held in before.items() if after.get(name) != held and name not in allowed)
    if touched:
        found.append(("touched", ", ".join(touched)))
    new = sorted(name for name in after if name not in before and name not in allowed)
    if new:
        found.append(("left behind", ", ".join(new)))
    lacking = [name for name in case.must_write if answer.code in RUNS and name not in after]
    if lacking:
        found.append(("not written", ", ".join(lacking)))
    return found
