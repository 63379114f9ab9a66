"""Progress bars for runs of several arms, on stderr. Imports rich when it draws; silent without it."""

import sys
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Callable, Dict, Iterator, Optional, Sequence

__all__ = ["Progress", "show_arm_progress", "show_search_progress"]

Progress = Callable[[str, int, int], None]


@contextmanager
def show_arm_progress(arms: Sequence[str], log: bool = False) -> Iterator[Optional[Progress]]:
    """Show a bar per arm in a terminal or notebook.

    Parameters
    ----------
    arms : sequence of str
    log : bool
        With neither terminal nor notebook, print a line per tenth of a fit.

    Yields
    ------
    callable or None
        Called as ``progress(arm, steps_done, steps_expected)``.
    """
    console = _get_console()
    if console is None or not (console.is_terminal or console.is_jupyter):
        yield _build_line_printer() if log else None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description:9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bars:
        tasks: Dict[str, Any] = {arm: bars.add_task(arm, total=None) for arm in arms}
        yield lambda arm, done, expected: bars.update(tasks[arm], completed=done, total=expected)


@contextmanager
def show_search_progress(log: bool = True) -> Iterator[Optional[Progress]]:
    """Show one bar of seconds, and what is being tried, in a terminal or notebook; else a line for each trial.

    Yields
    ------
    callable or None
        Called as ``progress(doing, seconds_used, seconds)``.
    """
    console = _get_console()
    if console is None or not (console.is_terminal or console.is_jupyter):
        yield _build_trial_printer() if log else None
        return
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(
        BarColumn(24),
        TextColumn("{task.completed:.0f} of at most {task.total:.0f} s"),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
    ) as bars:
        task = bars.add_task("", total=None)
        yield lambda doing, used, total: bars.update(task, description=doing, completed=used, total=total)


def _build_trial_printer() -> Progress:
    last: Dict[str, str] = {}

    def print_trial(doing: str, used: int, total: int) -> None:
        if last.get("doing") != doing:
            last["doing"] = doing
            print(f"  {used:3} of at most {total} s: {doing}", file=sys.stderr, flush=True)

    return print_trial


def _get_console() -> Optional[Any]:
    if find_spec("rich") is None:
        return None
    from rich.console import Console

    return Console(stderr=True)


def _build_line_printer() -> Progress:
    last: Dict[str, int] = {}

    def print_step(arm: str, done: int, expected: int) -> None:
        tenth = 10 * done // max(1, expected)
        if last.get(arm) != tenth:
            last[arm] = tenth
            print(f"  {arm}: step {done} of {expected}", file=sys.stderr, flush=True)

    return print_step
