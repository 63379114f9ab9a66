"""A peer's side of the talk: questions come as JSON lines on stdin, answers go as JSON lines to what was stdout.

Each peer runs under the interpreter of its own environment, and the rounds of all of them are asked for in turns.
"""

import json
import logging
import os
import sys
import time
import traceback
import warnings


def serve(tasks):
    """Answer until stdin ends.

    Parameters
    ----------
    tasks : dict of str to callable
        ``task(**question)`` returns what can be written as JSON. A question's "task" names it.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print goes to stderr
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = {"found": tasks[question.pop("task")](**question)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def versions(*names):
    """Of Python and of these packages."""
    import platform
    from importlib.metadata import version

    return {"python": platform.python_version(), **{name: version(name) for name in names}}


class CPU:
    """Seconds of this process on a CPU; on a GPU the clock's, everything that was started being done."""

    def __init__(self, device="cpu"):
        self.cuda = device != "cpu"

    def __enter__(self):
        self.started = self._now()
        return self

    def __exit__(self, *_):
        self.seconds = self._now() - self.started

    def _now(self):
        if not self.cuda:
            return time.process_time()
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()
