"""Progress bars for runs of several arms, on stderr. Imports rich when it draws; silent without it."""
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Callable, Dict, Iterator, Optional, Sequence

__all__ = ["Progress", "arm_bars"]

Progress = Callable[[str, int, int], None]


@contextmanager
def arm_bars(arms: Sequence[str], log: bool = False) -> Iterator[Optional[Progress]]:
    """A bar per arm in a terminal or notebook.

    Parameters
    ----------
    arms : sequence of str
    log : bool
        Where neither is there to draw on, print a line per tenth of a fit.

    Yields
    ------
    callable or None
        To be called as ``progress(arm, steps_done, steps_expected)``.
    """
    console = _console()
    if console is None or not (console.is_terminal or console.is_jupyter):
        yield _lines() if log else None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(TextColumn("{task.description:9}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                  console=console, transient=True) as bars:
        tasks: Dict[str, Any] = {arm: bars.add_task(arm, total=None) for arm in arms}
        yield lambda arm, done, expected: bars.update(tasks[arm], completed=done, total=expected)


def _console() -> Optional[Any]:
    if find_spec("rich") is None:
        return None
    from rich.console import Console
    return Console(stderr=True)


def _lines() -> Progress:
    last: Dict[str, int] = {}

    def tell(arm: str, done: int, expected: int) -> None:
        tenth = 10 * done // max(1, expected)
        if last.get(arm) != tenth:
            last[arm] = tenth
            print(f"  {arm}: step {done} of {expected}", file=sys.stderr, flush=True)

    return tell
