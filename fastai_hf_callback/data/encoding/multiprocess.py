"""Jobs over spans of rows, run in this process or in forked ones, results in order. Imports the standard library."""

import multiprocessing
import os
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Deque, Generator, List, Tuple

__all__ = ["count_available_cores", "run_in_processes", "run_in_this_process", "can_fork"]

Span = Tuple[int, int]

_job: Any = None  # in a worker process: the job it works on


def _init_worker(job: Any) -> None:
    global _job
    _job = job


def _run_job(span: Span) -> Any:
    return _job(span)


def run_in_this_process(job: Any, spans: List[Span]) -> Generator[Any, None, None]:
    yield from map(job, spans)


def run_in_processes(job: Any, spans: List[Span], tokenizer_workers: int) -> Generator[Any, None, None]:
    done = 0
    futures: Deque[Future[Any]] = deque()
    executor = ProcessPoolExecutor(tokenizer_workers, multiprocessing.get_context("fork"), _init_worker, (job,))
    try:
        futures.extend(executor.submit(_run_job, span) for span in spans)
        while futures:
            part = futures.popleft().result()  # popped, so that rows already yielded are not held twice
            done += 1
            yield part
    except BrokenProcessPool:  # a worker was killed, or its error could not be sent: here it is raised as it is
        yield from run_in_this_process(job, spans[done:])
    finally:
        for future in futures:
            future.cancel()
        executor.shutdown(wait=True)


def count_available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def can_fork() -> bool:
    """Return whether to fork: forked processes alone need no guarded ``__main__`` nor texts sent; unsafe on macOS."""
    return not multiprocessing.current_process().daemon and os.name == "posix" and os.uname().sysname == "Linux"
