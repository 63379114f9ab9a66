"""A metric asked about real outputs and stand-ins. Imports torch."""
from typing import Any, Callable, List, Optional, Tuple

import torch
from torch import Tensor

from ..evidence import MetricSeen
from ..metrics import constant_outputs
from .standins import stand_ins

__all__ = ["look_at_metric", "Score"]

# From epochs, each a pair of lists of batches (outputs, targets), to the value after the last of them; None where the
# metric refuses.
Score = Callable[[List[Any]], Optional[float]]


def look_at_metric(name: str, score: Score, outputs: List[Tensor], targets: List[Tensor],
                   loss_func: Callable) -> MetricSeen:
    """Score real, right, contrary, random and constant outputs of a few validation batches.

    Parameters
    ----------
    name : str
    score : callable
        As this fastai computes the metric, each time from a fresh copy.
    outputs, targets : list of Tensor
    loss_func : callable
        Chooses among the constant predictors.
    """
    seen = MetricSeen(name, quantum=1.0 / max(1, sum(t.numel() for t in targets)))
    seen.value = seen.alone = score([(outputs, targets)])
    standing = [stand_ins(o.shape, t) for o, t in zip(outputs, targets)]
    if any(s is None for s in standing):
        return seen
    ideal, worst = ([s.ideal.to(o) for s, o in zip(standing, outputs)],
                    [s.worst.to(o) for s, o in zip(standing, outputs)])
    draw = torch.Generator().manual_seed(0)
    one, other = ([5 * torch.randn(o.shape, generator=draw).to(o) for o in outputs] for _ in range(2))
    seen.at_ideal, seen.at_worst = score([(ideal, targets)]), score([(worst, targets)])
    seen.at_random, seen.at_other_random = score([(one, targets)]), score([(other, targets)])
    # Of numbers the ideal is no extreme of every measure (a likelihood's depends on the targets' own size).
    seen.ideal_of_halves = _halves(score, ideal, targets) if standing[0].kind != "number" else []
    seen.after_another_epoch = score([(ideal, targets), (worst, targets), (outputs, targets)])
    seen.base_rate = _base_rate(score, outputs, targets, loss_func)
    return seen


def _halves(score: Score, ideal: List[Tensor], targets: List[Tensor]) -> List[float]:
    """The value of right outputs in two halves of every batch's rows, each with all classes, and in both together."""
    rows = [_two_halves(t) for t in targets]
    if any(len(one) < 2 for one, _ in rows):
        return []
    parts = [[pair[0] for pair in rows], [pair[1] for pair in rows], [torch.cat(pair).sort()[0] for pair in rows]]
    scores = [score([([o[p] for o, p in zip(ideal, part)], [t[p] for t, p in zip(targets, part)])])
              for part in parts]
    return [] if None in scores else scores


def _two_halves(target: Tensor) -> Tuple[Tensor, Tensor]:
    """Row numbers of two halves of one size that hold the same classes; rows that would be alone are left out."""
    even = len(target) // 2 * 2
    order = torch.arange(even)
    if target.dim() == 1 and not target.is_floating_point():
        classes = [(target.cpu() == c).nonzero().reshape(-1) for c in target.cpu().unique()]
        order = torch.cat([rows[:len(rows) // 2 * 2] for rows in classes])
    one, other = order[0::2].sort()[0], order[1::2].sort()[0]  # in the batch's own order
    columns = zip(target[one].t(), target[other].t()) if target.dim() == 2 else ()
    varied = all(len(a.unique()) == len(b.unique()) for a, b in columns)
    return (one, other) if varied else (one[:0], other[:0])


def _base_rate(score: Score, outputs: List[Tensor], targets: List[Tensor], loss_func: Callable) -> Optional[float]:
    width = outputs[0].shape[-1] if outputs[0].dim() > 1 else 1
    try:
        row = constant_outputs(torch.cat([t.cpu() for t in targets]), width, lambda o, t: loss_func(o, t))
    except Exception:
        return None
    constant = [(row.expand(o.shape) if o.dim() > 1 else row[0].expand(o.shape)).to(o).contiguous() for o in outputs]
    return score([(constant, targets)])
