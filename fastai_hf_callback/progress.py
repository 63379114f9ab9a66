"""Progress bars for runs of several arms, on stderr. Imports rich when it draws; silent without it."""
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Callable, Dict, Iterator, Optional, Sequence

__all__ = ["arm_bars"]


@contextmanager
def arm_bars(arms: Sequence[str]) -> Iterator[Optional[Callable[[str, int, int], None]]]:
    """A bar per arm; yields what ``compare`` takes as `progress`, or None where nobody watches."""
    if not sys.stderr.isatty() or find_spec("rich") is None:
        yield _lines() if not sys.stderr.isatty() else None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(TextColumn("{task.description:9}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                  console=Console(stderr=True), transient=True) as bars:
        tasks: Dict[str, Any] = {arm: bars.add_task(arm, total=None) for arm in arms}
        yield lambda arm, done, expected: bars.update(tasks[arm], completed=done, total=expected)


def _lines() -> Callable[[str, int, int], None]:
    """In a log, a line per arm and tenth of its fit."""
    last: Dict[str, int] = {}

    def tell(arm: str, done: int, expected: int) -> None:
        tenth = 10 * done // max(1, expected)
        if last.get(arm) != tenth:
            last[arm] = tenth
            print(f"  {arm}: step {done} of {expected}", file=sys.stderr, flush=True)

    return tell
