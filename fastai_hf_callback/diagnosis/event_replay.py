"""Events that no batch has (a fit's begin, an epoch's end), called on copies of the user's own callbacks.

What one raises there ends a fit. One that would leave a trace outside of the learner, in a file or on the network, is
stopped before it does, and counts as not run.
"""

import builtins
import io
import os
import pathlib
import shutil
import socket
import subprocess
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, List, Optional, Sequence, Set, Tuple, Type
from unittest.mock import patch

import torch

from fastai_hf_callback.errors import FastaiHFError
from fastai_hf_callback.utils.own_code import is_installed

from .probe_runner import format_error

__all__ = ["EventLog", "ShortLoader", "is_own_callback", "leave_no_traces", "replay_fit"]


@dataclass
class EventLog:
    """What became of the user's own callbacks at these events.

    Attributes
    ----------
    run : set of str
        Their classes; `stopped` are those that would have left a trace.
    error : Exception or None
        The first that one raised.
    """

    run: Set[str] = field(default_factory=set)
    stopped: Set[str] = field(default_factory=set)
    error: Optional[FastaiHFError] = None

    @property
    def completed(self) -> Set[str]:
        """The classes that were run and left no trace."""
        return self.run - self.stopped


class ShortLoader:
    """A loader of few batches that were read before; everything else of it is the given loader's."""

    def __init__(self, loader: Any, batches: Sequence[Any]):
        self.loader, self.batches = loader, batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def __getattr__(self, name: str) -> Any:
        if name in ("loader", "batches"):  # of a copy that has no state yet
            raise AttributeError(name)
        return getattr(self.loader, name)


def is_own_callback(callback: Any, events: Sequence[str]) -> bool:
    """Return whether the user wrote one of these events of a callback: neither a library did, nor this package."""
    return bool(_list_own_events(callback, events))


def _list_own_events(callback: Any, events: Sequence[str]) -> List[str]:
    codes = [(event, getattr(getattr(callback, event, None), "__code__", None)) for event in events]
    return [event for event, code in codes if code is not None and not is_installed(code.co_filename)]


def watch_events(
    callback: Any, events: Sequence[str], log: EventLog, allowed: Tuple[Type[BaseException], ...] = ()
) -> None:
    """Let the callback's own events be logged from now on; after one that raised or was stopped, none is called."""
    name = type(callback).__name__
    for event in _list_own_events(callback, events):
        vars(callback)[event] = _watch_event(name, event, getattr(callback, event), log, allowed)


_DEPTH = 3  # one may guard itself against its own second call


def _describe_recursion(name: str, event: str) -> FastaiHFError:
    return FastaiHFError(
        f"{name} calls itself without end in {event}: what it runs there, as validate() does, has the same event, and "
        f"a fit stands still. Leave {event} at once where it is running, or call that after the fit",
        "callback-raises",
    )


def _watch_event(
    name: str, event: str, call: Callable[..., Any], log: EventLog, allowed: Tuple[Type[BaseException], ...]
) -> Callable[..., Any]:
    inside: List[str] = []

    def watched_event(*args: Any, **kwargs: Any) -> Any:
        if name in log.stopped or log.error is not None:
            return None
        if len(inside) >= _DEPTH:
            log.error = _describe_recursion(name, event)
            return None
        log.run.add(name)
        inside.append(event)
        try:
            return call(*args, **kwargs)
        except allowed:
            raise
        except Exception as error:
            log.error = FastaiHFError(
                f"{name} raises in {event}, where a fit ends: {format_error(error)}. Mend that line, or take {name} "
                f"out of the callbacks",
                "callback-raises",
            )
        finally:
            inside.pop()
        return None

    return watched_event


def replay_fit(
    fit: Callable[[], Any],
    callbacks: Sequence[Any],
    outer_events: Sequence[str],
    batch_events: Sequence[str],
    allowed: Tuple[Type[BaseException], ...] = (),
) -> EventLog:
    """Call `fit`, whose callbacks these copies are, and log what the user's own do outside of a batch.

    Parameters
    ----------
    fit : callable
    callbacks : list of callback
    outer_events, batch_events : list of str
        The names of this fastai's events.
    allowed : tuple of exception class
        What an event may raise to end an epoch or a fit.

    Returns
    -------
    EventLog
    """
    log = EventLog()
    for callback in callbacks:
        watch_events(callback, outer_events, log, allowed)
        stop_traces(callback, (*outer_events, *batch_events), log)
    with leave_no_traces():
        fit()
    return log


def stop_traces(callback: Any, events: Sequence[str], log: EventLog) -> None:
    """Let each of these events of a callback end where it would leave a trace."""
    for event in events:
        if callable(getattr(callback, event, None)):
            vars(callback)[event] = _stop_traces_of(type(callback).__name__, getattr(callback, event), log)


def _stop_traces_of(name: str, call: Callable[..., Any], log: EventLog) -> Callable[..., Any]:
    def stopped_event(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except _LeavesTraceError:
            log.stopped.add(name)
        return None

    return stopped_event


class _LeavesTraceError(BaseException):
    """A callback would write; no ``Exception``, which it may catch."""


@contextmanager
def leave_no_traces() -> Iterator[None]:
    """Stop what would write files, start processes or connect to a server; hide what is printed."""
    with ExitStack() as stack:
        opened = _refuse_writing(builtins.open)
        for owner, name, new in (
            (builtins, "open", opened),
            (io, "open", opened),
            (os, "open", _refuse_flags(os.open)),
            *((owner, name, _refuse) for owner, names in _WRITERS for name in names),
        ):
            stack.enter_context(patch.object(owner, name, new))
        stack.enter_context(redirect_stdout(io.StringIO()))
        yield


_WRITERS: List[Tuple[Any, Tuple[str, ...]]] = [
    (os, ("mkdir", "makedirs", "remove", "unlink", "rename", "replace", "rmdir", "system")),
    (pathlib.Path, ("mkdir", "unlink", "rename", "replace", "rmdir", "touch")),
    (shutil, ("copyfile", "copytree", "move", "rmtree")),
    (torch, ("save",)),
    (socket.socket, ("connect", "connect_ex")),
    (subprocess.Popen, ("__init__",)),
]
_WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _refuse(*args: Any, **kwargs: Any) -> None:
    raise _LeavesTraceError


def _refuse_writing(call: Callable[..., Any]) -> Callable[..., Any]:
    def open_to_read(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        return _refuse() if set(mode) & set("wax+") else call(file, mode, *args, **kwargs)

    return open_to_read


def _refuse_flags(call: Callable[..., Any]) -> Callable[..., Any]:
    def open_to_read(path: Any, flags: int, *args: Any, **kwargs: Any) -> Any:
        return _refuse() if flags & _WRITING_FLAGS else call(path, flags, *args, **kwargs)

    return open_to_read
