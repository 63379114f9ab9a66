"""How long a search may take, and how much of it is over."""

import time
from typing import Callable, Optional

__all__ = ["Budget", "OutOfTimeError", "SearchProgress"]

# Called with what is going on, the seconds used, and those that there are.
SearchProgress = Callable[[str, int, int], None]


class OutOfTimeError(Exception):
    """The seconds are used up."""


class Budget:
    """The seconds of one search.

    Parameters
    ----------
    seconds : float
    progress : callable, optional
        Shown what is going on.
    clock : callable
    """

    def __init__(
        self,
        seconds: float,
        progress: Optional[SearchProgress] = None,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self.seconds, self.progress, self.clock = seconds, progress, clock
        self.started = clock()
        self.doing = ""

    @property
    def used(self) -> float:
        return self.clock() - self.started

    def begin(self, doing: str) -> None:
        """Name what begins."""
        self.doing = doing
        self.check()

    def check(self) -> None:
        """Show where the search is; raise where its time is over."""
        if self.progress is not None:
            self.progress(self.doing, int(min(self.used, self.seconds)), int(self.seconds))
        if self.used > self.seconds:
            raise OutOfTimeError(f"{self.seconds:g} seconds were not enough")

    def count_steps(self, step_seconds: float, share: float, fewest: int, most: int) -> int:
        """Return how many steps fit into a share of the seconds."""
        return max(fewest, min(most, int(share * self.seconds / max(step_seconds, 1e-6))))
