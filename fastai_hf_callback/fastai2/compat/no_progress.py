"""Silencing fastai 2's progress bars and tables, for runs that have a progress bar of their own."""

from contextlib import contextmanager
from typing import Any, Iterator
from unittest.mock import patch

from fastai.callback.progress import ProgressCallback, ShowGraphCallback
from fastai.learner import Learner
from fastcore.foundation import L

from .learner_state import preserve_attributes

__all__ = ["no_progress"]


@contextmanager
def no_progress(learn: Learner) -> Iterator[None]:
    """Silence the bars, the graph and the Recorder's table; all are restored on leaving."""
    drawing = [callback for callback in learn.cbs if isinstance(callback, (ProgressCallback, ShowGraphCallback))]
    others = L([callback for callback in learn.cbs if callback not in drawing])
    by_name = {name: value for name, value in vars(learn).items() if any(value is one for one in drawing)}
    with preserve_attributes(drawing), patch.multiple(learn, logger=_ignore_log, cbs=others):
        for name in by_name:
            delattr(learn, name)
        try:
            yield
        finally:
            vars(learn).update(by_name)


def _ignore_log(*args: Any, **kwargs: Any) -> None:
    pass
