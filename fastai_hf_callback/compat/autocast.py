"""torch's autocast, restored as it was whatever happened meanwhile. Imports torch.

fastai's mixed precision enters autocast in one event and leaves it in another; an exception between the two, Ctrl-C
included, leaves it switched on for every model of the process.
"""

from contextlib import ExitStack, contextmanager
from typing import Iterator

import torch

__all__ = ["preserve_autocast"]


@contextmanager
def preserve_autocast() -> Iterator[None]:
    """Restore autocast on leaving: switched on or off, its dtype, and how deep this thread is in it.

    The depth counts: torch empties its cache of cast weights at the outermost level only.
    """
    with ExitStack() as stack:
        for device in ("cpu", "cuda"):
            stack.enter_context(_preserve_device_autocast(device))
        depth = _read_depth()
        try:
            yield
        finally:
            while _read_depth() > depth:
                torch.autocast_decrement_nesting()
            if depth == 0:
                torch.clear_autocast_cache()


def _read_depth() -> int:
    torch.autocast_increment_nesting()
    return int(torch.autocast_decrement_nesting())


@contextmanager
def _preserve_device_autocast(device: str) -> Iterator[None]:
    try:
        enabled = torch.is_autocast_enabled(device)
    except TypeError:  # an older torch asks about CUDA alone
        yield
        return
    dtype = torch.get_autocast_dtype(device)
    try:
        yield
    finally:
        torch.set_autocast_enabled(device, enabled)
        torch.set_autocast_dtype(device, dtype)
