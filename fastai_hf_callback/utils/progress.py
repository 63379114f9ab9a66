"""Progress bars for runs of several arms, on stderr. Imports rich when it draws; silent without it."""

import sys
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Callable, Dict, Iterator, Optional, Sequence

__all__ = ["Progress", "show_arm_progress"]

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
