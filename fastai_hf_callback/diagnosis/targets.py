"""The targets of both sets, by rows sampled evenly: what is asked for, and what nothing of the inputs tells of.

Part of an examination.
"""

from functools import partial
from typing import Any, Callable, List, NamedTuple, Optional

import numpy as np
import torch
from torch import Tensor

from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.results.evidence import Labels

from .learner_adapter import LearnerAdapter
from .numeric_inputs import summarize_targets
from .probe_runner import DoesNotApplyError
from .probes.batches import (
    Batch,
    add_draws,
    count_rows,
    is_per_token,
    join_features,
    pick_evenly,
    sample_rows,
)
from .probes.labels import SampledRows, probe_labels

__all__ = ["RowCollector", "RowLayout", "probe_targets", "to_array"]


ROWS_OF_A_FIT = 384


class RowLayout(NamedTuple):
    """Where a row's token ids lie: their index among a batch's tensors (None where there are none), and the padding."""

    ids_index: Optional[int]
    pad_ids: List[int]


def probe_targets(
    adapter: LearnerAdapter, batches: List[Batch], layout: RowLayout, features: Callable[[Any], Any]
) -> Labels:
    """Probe the targets of both sets.

    Parameters
    ----------
    adapter : LearnerAdapter
        Inside its ``preserve``.
    batches : list of Batch
        Training batches, whole.
    layout : RowLayout
    features : callable
        Computes a row's figures where the inputs are numbers.

    Raises
    ------
    DoesNotApplyError
        Where there is not one target for each row, rows have no numbers, or targets are of an unknown kind.
    """
    if _has_other_targets(batches[0], layout):
        raise DoesNotApplyError("there is not one target for each row")  # a target per token: neighbours are alike
    train = _sample(adapter, True, layout, features)
    valid = _sample(adapter, False, layout, features) if adapter.has_rows(train=False) else None
    ordered = [b.yb.detach().cpu() for b in batches if isinstance(b.yb, Tensor) and b.yb.dim() < 3]
    labels = None if train is None else probe_labels(train, valid, ordered, layout.pad_ids)
    if labels is None:
        raise DoesNotApplyError("targets are neither classes, nor labels of 0 and 1, nor numbers")
    add_draws(labels, batches, train, partial(adapter.collate, True), *layout)
    return labels


def _has_other_targets(batch: Batch, layout: RowLayout) -> bool:
    if count_rows(batch.xb) != count_rows(batch.yb):
        return True
    return layout.ids_index is not None and is_per_token(batch.yb, list(tensors_in(batch.xb))[layout.ids_index])


def _sample(
    adapter: LearnerAdapter, train: bool, layout: RowLayout, features: Callable[[Any], Any]
) -> Optional[SampledRows]:
    """Sample rows evenly over a set."""
    if not adapter.has_numbered_rows(train):
        raise DoesNotApplyError("the rows of the data set cannot be read by number")
    rows = pick_evenly(adapter.count_rows(train))
    return sample_rows(rows, partial(adapter.collate, train), *layout, features, summarize_targets)


class RowCollector:
    """Token ids, features of other inputs, and targets of the first rows of a fit, up to ``ROWS_OF_A_FIT``."""

    def __init__(self) -> None:
        self.targets: List[Tensor] = []
        self._ids: List[Any] = []
        self._features: List[np.ndarray] = []
        self._rows, self.are_summaries = 0, False

    def add(
        self,
        batch: Any,
        target: Any,
        ids_index: Optional[int],
        compute_features: Callable[[Any], Optional[np.ndarray]],
    ) -> None:
        """Add a batch; `ids_index` is the index of the ids among its tensors."""
        if self._rows >= ROWS_OF_A_FIT or not isinstance(target, Tensor) or target.dim() == 0:
            return
        self.are_summaries = target.dim() > 2
        target = summarize_targets(target)
        if target.dim() > 2:
            return
        tables = list(tensors_in(batch))
        ids = tables[ids_index] if ids_index is not None and ids_index < len(tables) else None
        if ids is not None and (len(ids) != len(target) or is_per_token(target, ids)):
            return
        features = compute_features(batch)
        if ids is None and (features is None or len(features) != len(target)):
            return
        self._rows += len(target)
        self.targets.append(target.detach().cpu())
        self._ids += [] if ids is None else list(ids.cpu().numpy())
        self._features += [] if features is None else [features]

    def sample(self, pad_ids: List[int]) -> SampledRows:
        """Return all rows without padding."""
        ids = [row[~np.isin(row, pad_ids)] for row in self._ids] if self._ids else None
        targets = to_array(torch.cat(self.targets))
        return SampledRows(ids, targets, join_features(self._features, len(targets)))


def to_array(targets: Tensor) -> np.ndarray:
    """Return exact numbers or classes as numpy has them."""
    exact = targets.is_floating_point() or targets.dim() == 2
    return targets.double().numpy() if exact else targets.long().numpy()
