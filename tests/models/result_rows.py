"""A row for each class, each from a process of its own: one that crashes or hangs ends with its row."""

import multiprocessing
import os
import resource
import signal
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Callable, Dict, Iterator, List, Optional

__all__ = ["PASSED", "CANNOT", "FAILED", "rows_of", "row_from_a_process"]

PASSED, CANNOT, FAILED = "passed", "cannot", "FAILED"
MOST_SECONDS, MOST_BYTES = 120, 6 << 30  # of processor time, of memory; for one class
PATIENCE = 1200  # seconds on the clock: a hang that takes no processor time


def rows_of(
    names: List[str],
    workers: int,
    work: Optional[Callable[[str], Dict[str, Any]]] = None,
    preload: str = "tests.models.preload",
) -> Iterator[Dict[str, Any]]:
    """Rows as they come, `workers` at a time: what ``work(name)`` returns, by default that of a model's class."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    with ThreadPoolExecutor(workers) as pool:
        started = [pool.submit(row_from_a_process, context, name, work or _check_model) for name in names]
        yield from (done.result() for done in as_completed(started))


def row_from_a_process(context, name: str, work: Callable[[str], Dict[str, Any]]) -> Dict[str, Any]:
    """What ``work(name)`` returns, done in a process of its own; if it dies, a row that says how."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_within_limits, args=(work, name, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(PATIENCE) else _ended(name, f"nothing came back in {PATIENCE} s")
    except EOFError:
        process.join()
        return _ended(name, _manner_of(process.exitcode))
    finally:
        process.kill()
        process.join()


def _within_limits(work: Callable[[str], Dict[str, Any]], name: str, connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS + 5))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        connection.send(work(name))


def _check_model(name: str) -> Dict[str, Any]:
    from tests.models.model_check import row_of

    return row_of(name)


def _manner_of(exitcode: int) -> str:
    if exitcode == -signal.SIGXCPU:
        return f"more than {MOST_SECONDS} s of processor time"
    return f"its process ended with {signal.Signals(-exitcode).name if exitcode < 0 else exitcode}"


def _ended(name: str, why: str) -> Dict[str, Any]:
    return {"name": name, "outcome": FAILED, "why": why, "groups": "", "doctor": "", "special": "", "seconds": 0.0}
