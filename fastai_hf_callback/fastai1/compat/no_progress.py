"""Silencing fastai 1's progress bars and tables, for runs that have a progress bar of their own."""

from contextlib import contextmanager
from functools import partial
from typing import Any, Iterable, Iterator
from unittest.mock import patch

from fastai import basic_train
from fastai.basic_train import Learner, Recorder

__all__ = ["no_progress"]


@contextmanager
def no_progress(learn: Learner) -> Iterator[None]:
    """Silence the loop's bars and the Recorder's table; both are restored on leaving."""
    with patch.multiple(basic_train, master_bar=SilentProgressBar, progress_bar=SilentProgressBar):
        with patch.object(learn, "callback_fns", [_silence_recorder(fn) for fn in learn.callback_fns]):
            yield


class SilentProgressBar:
    """The interface of a progress bar that the loop and the Recorder use, without the bar."""

    def __init__(self, iterable: Iterable[Any], *args: Any, **kwargs: Any):
        self.iterable, self.main_bar, self.total = iterable, self, len(iterable)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.iterable)

    def write(self, *args: Any, **kwargs: Any) -> None:
        pass


def _silence_recorder(callback_fn: Any) -> Any:
    if getattr(callback_fn, "func", None) is Recorder:
        return partial(Recorder, *callback_fn.args, **{**callback_fn.keywords, "silent": True})
    return callback_fn
