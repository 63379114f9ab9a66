"""What of a parametrised test runs in ``make quick``."""

import pytest


def mark_slow_after(n, values):
    """The first `n` values; the others are marked slow and run in ``make test`` alone."""
    return [
        value if i < n else pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow)
        for i, value in enumerate(values)
    ]
