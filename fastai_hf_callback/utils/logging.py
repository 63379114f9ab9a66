"""The logs of other libraries, silenced for a while."""

import logging
from contextlib import contextmanager
from typing import Iterator

__all__ = ["silence_logs"]


@contextmanager
def silence_logs(enabled: bool = True) -> Iterator[None]:
    """Silence the logs of all libraries inside the block.

    Parameters
    ----------
    enabled : bool
        False lets everything through, for messages that are to appear once and not again.
    """
    # By level of the whole module, since Hugging Face's libraries set their own loggers' levels when imported.
    before = logging.root.manager.disable
    if enabled:
        logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
