"""Random states of python, numpy and torch: seeded together, and restored. Imports numpy and torch."""

import random
from contextlib import contextmanager
from typing import Iterator

import numpy as np
import torch

__all__ = ["preserve_rng_state", "seed_everything"]


def seed_everything(seed: int) -> None:
    """Seed python's, numpy's and torch's generators, on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def preserve_rng_state() -> Iterator[None]:
    """Restore every generator on leaving, whatever drew from it inside."""
    python, numbers, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
