"""What the learning rates of a fit's steps say. Imports numpy."""

from typing import List

import numpy as np

__all__ = ["is_range_test", "compute_near_zero_lr_share"]


def compute_near_zero_lr_share(rates: List[float]) -> float:
    """The share of steps at less than a ten-thousandth of the highest rate."""
    highest = max(rates)
    return sum(rate < 1e-4 * highest for rate in rates) / len(rates) if highest > 0 else 0.0


def is_range_test(rates: List[float]) -> bool:
    """Rates that rise by one factor over decades: ``lr_find``."""
    if len(rates) < 5 or min(rates) <= 0 or rates[-1] < rates[0]:
        return False
    ratios = np.diff(np.log(rates))
    return bool((ratios > 0).all()) and float(ratios.std()) < 0.05 * float(ratios.mean())
