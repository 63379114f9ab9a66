"""A target for each token: whether the tokens next to it tell anything of it. Imports numpy and torch."""

from typing import List, Optional, Tuple

import numpy as np
import torch
from torch import Tensor

from fastai_hf_callback.diagnosis.probes.synthetic_outputs import roll_targets

__all__ = ["measure_token_signal"]

NEIGHBOURS, SHUFFLES = (0, -1, 1), 20
MIN_PAIRS, MIN_TARGETS = 400, 200


def measure_token_signal(batches: List[Tuple[Tensor, Tensor]], distance: Optional[int]) -> Optional[float]:
    """Measure how much oftener tokens that are alike have the same target than after shuffling the targets.

    Parameters
    ----------
    batches : list of (Tensor, Tensor)
        Ids and targets, both (rows, width) and at the positions of the outputs; negative targets are left out.
    distance : int or None
        Where the targets are tokens themselves, the position of each: it is not asked whether it tells of itself.

    Returns
    -------
    float or None
        In standard deviations, of the token at the output's position or next to it that tells most; None where too few
        tokens occur twice.
    """
    generator = np.random.RandomState(0)
    scores = [_score(batches, at, generator) for at in NEIGHBOURS if at != distance]
    return max((score for score in scores if score is not None), default=None)


def _score(batches: List[Tuple[Tensor, Tensor]], at: int, generator: np.random.RandomState) -> Optional[float]:
    shifted = [(roll_targets(ids, at, left_out=-1), targets) for ids, targets in batches]
    kept = [(ids >= 0) & (targets >= 0) for ids, targets in shifted]
    ids = torch.cat([one[0][keep] for one, keep in zip(shifted, kept)]).cpu().numpy()
    targets = torch.cat([one[1][keep] for one, keep in zip(shifted, kept)]).cpu().numpy()
    pairs = _count_pairs(np.unique(ids, return_inverse=True)[1])
    if len(targets) < MIN_TARGETS or pairs < MIN_PAIRS or len(np.unique(targets)) < 2:
        return None
    found = _count_agreement(ids, targets)
    by_chance = [_count_agreement(ids, generator.permutation(targets)) for _ in range(SHUFFLES)]
    return float((found - np.mean(by_chance)) / (np.std(by_chance) + 1e-9))


def _count_agreement(ids: np.ndarray, targets: np.ndarray) -> int:
    """Count the pairs of equal ids that have equal targets."""
    return _count_pairs(np.unique(ids * (int(targets.max()) + 1) + targets, return_inverse=True)[1])


def _count_pairs(groups: np.ndarray) -> int:
    counts = np.bincount(groups)
    return int((counts * (counts - 1) // 2).sum())
