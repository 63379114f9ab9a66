"""Marks for the cases of a parametrised test that ``make quick`` leaves out."""

import pytest


def mark_slow_after(n, values):
    """Return the values, those after the first `n` marked slow: they run only in ``make test``."""
    return [
        value if i < n else pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow)
        for i, value in enumerate(values)
    ]
