"""What other libraries log, held back for a while."""

import logging
from contextlib import contextmanager
from typing import Iterator

__all__ = ["silence_logs"]


@contextmanager
def silence_logs(enabled: bool = True) -> Iterator[None]:
    """Nothing is logged inside, by whatever library.

    Parameters
    ----------
    enabled : bool
        False lets everything through, for what is to be said once and not again.
    """
    # By level of the whole module, since Hugging Face's libraries set their own loggers' levels when imported.
    before = logging.root.manager.disable
    if enabled:
        logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
