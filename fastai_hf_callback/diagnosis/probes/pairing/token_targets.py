"""A target for each token: whether it is a token itself, and whether padding counts. Imports torch."""

from typing import Callable, Optional

from torch import Tensor

from fastai_hf_callback.diagnosis.probes.synthetic_outputs import roll_targets
from fastai_hf_callback.results.pairing import Pairing

from .loss_pairing import TokenLoss

__all__ = ["compare_with_ids", "count_on_padding", "find_left_out", "probe_causality"]

MIN_LEFT_OUT = 4
SHIFTS = (1, 0, -1, 2)  # the right one first: words that repeat stand at several distances
SAME_SHARE = 0.98
MIN_TARGETS, MIN_CLASSES = 16, 3


def compare_with_ids(pairing: Pairing, loss: TokenLoss, ids: Tensor) -> None:
    """Find whether the targets that count are the ids, and how many positions on.

    Parameters
    ----------
    pairing : Pairing
        Written to.
    loss : TokenLoss
    ids : Tensor, (rows, width)
        At whose positions the outputs stand.
    """
    ids, targets = ids[: len(loss.targets)], loss.targets.to(ids.device)
    counts = loss.counts.to(ids.device) & (targets >= 0)
    found = []
    for distance in SHIFTS:
        given = roll_targets(ids, distance - loss.ahead, left_out=-1)
        asked = counts & (given >= 0)
        if int(asked.sum()) < MIN_TARGETS or len(targets[asked].unique()) < MIN_CLASSES:
            continue
        if float((given == targets)[asked].float().mean()) >= SAME_SHARE:
            found.append(distance - loss.ahead)
    pairing.shift = found[0] if found else None


def count_on_padding(pairing: Pairing, loss: TokenLoss, is_pad: Tensor) -> None:
    """Count the targets in the loss, and those of them on padding.

    Parameters
    ----------
    pairing : Pairing
        Written to; its `shift` says where a target's id stands.
    loss : TokenLoss
    is_pad : Tensor, bool (rows, width)
    """
    counts = loss.counts.to(is_pad.device)
    marks = is_pad[: len(counts)].long()
    inside = (marks > 0) & (roll_targets(marks, -1, left_out=1) > 0)  # a text's end may be padding's first
    stands = roll_targets(inside.long(), pairing.shift or 0, left_out=0) > 0
    pairing.targets, pairing.counted = loss.targets.numel(), int(counts.sum())
    pairing.on_padding = int((counts & stands).sum())


def probe_causality(logits_of: Callable[[Tensor], Tensor], ids: Tensor) -> Optional[bool]:
    """Return whether outputs stay the same when a later token changes; None where that cannot be told.

    Parameters
    ----------
    logits_of : callable
        Ids -> outputs (rows, width, ...), in eval mode.
    ids : Tensor, (rows, width)
    """
    if ids.shape[1] < 3:
        return None
    at = ids.shape[1] // 2
    changed = ids.clone()
    changed[:, at] = ids[:, at].flip(0)
    if bool((changed == ids).all()):
        return None
    before, after = logits_of(ids), logits_of(changed)
    if before.shape != after.shape or before.shape[:2] != ids.shape:
        return None
    scale = float(before.float().abs().max()) + 1e-12
    return float((before[:, :at] - after[:, :at]).float().abs().max()) < 1e-4 * scale


def find_left_out(loss: TokenLoss) -> Optional[int]:
    """Find the value of the targets that the loss leaves out wherever they stand; of several the most frequent.

    Those at an end to which no output belongs, as the first where the loss looks ahead, are left out for their place.
    """
    width, ahead = loss.targets.shape[1], loss.ahead
    reached = slice(max(0, ahead), width + min(0, ahead))
    targets, counts = loss.targets[:, reached], loss.counts[:, reached]
    values, numbers = targets[~counts].unique(return_counts=True)
    never = [(int(n), int(v)) for v, n in zip(values, numbers) if not bool((counts & (targets == v)).any())]
    often = [(n, v) for n, v in never if n >= MIN_LEFT_OUT]
    return max(often)[1] if often else None
