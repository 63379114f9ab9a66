"""Arms in turns, each under the interpreter of its own environment, and what is made of their figures."""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Callable, Dict, List, Sequence, Tuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


class Peers:
    """Starts a peer when it is first asked, and ends all of them when left.

    Parameters
    ----------
    pythons : dict of str to Path
        An environment's name -> its interpreter.
    threads : int
        Of torch in each.
    root : Path
        The checkout whose package they import; the peers' scripts are always those of this one.
    """

    def __init__(self, pythons: Dict[str, Path], threads: int = 1, root: Path = ROOT):
        self.pythons, self.threads, self.root = pythons, threads, root
        self.running: Dict[Tuple[str, str], subprocess.Popen] = {}

    def __enter__(self) -> "Peers":
        return self

    def __exit__(self, *_: Any) -> None:
        for process in self.running.values():
            process.stdin.close()
            process.wait()

    def has(self, environment: str) -> bool:
        return self.pythons.get(environment, Path()).is_file()

    def ask(self, environment: str, script: str, task: str, **question: Any) -> Any:
        """What the peer's task found."""
        key = (environment, script)
        if key not in self.running:
            self.running[key] = self._start(environment, script)
        return self._ask(self.running[key], environment, script, {"task": task, **question})

    def asker(self, *where: str, seeded: bool = False, **question: Any) -> Callable[[int], Any]:
        """For ``in_turns``: asks the same each time, or with the round's number for a seed."""
        return lambda at: self.ask(*where, **question, **({"seed": at} if seeded else {}))

    def ask_a_new_one(self, environment: str, script: str, task: str, variables: Any = (), **question: Any) -> Any:
        """The same, of a process that ends afterwards."""
        process = self._start(environment, script, dict(variables))
        try:
            return self._ask(process, environment, script, {"task": task, **question})
        finally:
            process.stdin.close()
            process.wait()

    def _start(self, environment: str, script: str, variables: Any = None) -> subprocess.Popen:
        if not self.has(environment):
            raise FileNotFoundError(f"no environment {environment!r}: {self.pythons.get(environment)}")
        paths = os.pathsep.join(map(str, (self.root, HERE, HERE / "peers")))
        variables = {
            **os.environ,
            "PYTHONPATH": paths,
            "OMP_NUM_THREADS": str(self.threads),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "true",
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
            # One GPU for all: Trainer would spread its batches over several.
            "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0"),
            **(variables or {}),
        }
        command = [str(self.pythons[environment]), "-W", "ignore", str(HERE / "peers" / f"{script}.py")]
        said = tempfile.TemporaryFile("w+")  # a pipe that nobody reads would fill up, and stop the peer
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, env=variables, universal_newlines=True
        )
        process.said = said
        return process

    @staticmethod
    def _ask(process: subprocess.Popen, environment: str, script: str, question: Any) -> Any:
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            process.said.seek(0)
        answer = json.loads(line) if line else {"error": "it ended:\n" + process.said.read()}
        if "error" in answer:
            raise RuntimeError(f"{script} in {environment}, asked {question}:\n{answer['error']}")
        return answer["found"]


def in_turns(arms: Dict[str, Callable[[int], Any]], rounds: int, seed: int = 0) -> Dict[str, List[Any]]:
    """What each arm, given the round's number, found in each round; in each round in another order."""
    draw, found = random.Random(seed), {arm: [] for arm in arms}
    for at in range(rounds):
        for arm in draw.sample(list(arms), len(arms)):
            found[arm].append(arms[arm](at))
        print(f"  round {at + 1} of {rounds}", file=sys.stderr, flush=True)
    return found


def ratios(figures: Sequence[float], base: Sequence[float]) -> List[float]:
    """Of each round."""
    return [a / b for a, b in zip(figures, base)]


def spread(figures: Sequence[float]) -> Dict[str, float]:
    return {"median": median(figures), "lowest": min(figures), "highest": max(figures)}


def noise(figures: Sequence[float], level: float = 0.95, draws: int = 2000) -> float:
    """How far from 1 the median of an A/A comparison's ratios can lie: the bootstrap's interval, its farther end."""
    draw = random.Random(0)
    medians = sorted(median(draw.choices(figures, k=len(figures))) for _ in range(draws))
    low, high = medians[int(draws * (1 - level) / 2)], medians[int(draws * (1 + level) / 2) - 1]
    return max(abs(low - 1), abs(high - 1))
