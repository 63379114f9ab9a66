"""A table whose rows train or validate: described in a line, and encoded for either fastai.

Stands on ``table.py``, ``examples.py`` and ``encoder.py``.
"""

from typing import NamedTuple

import numpy as np

from fastai_hf_callback.data.tables.examples import Examples, LabeledSplits
from fastai_hf_callback.data.tables.table import Table

from .encoder import TextEncoder

__all__ = ["TableSplit", "describe_split", "encode_split"]


class TableSplit(NamedTuple):
    """A table and which of its rows train and validate."""

    table: Table
    train: np.ndarray
    valid: np.ndarray


def encode_split(split: TableSplit, encoder: TextEncoder) -> LabeledSplits:
    """Token ids for texts, in bulk; targets and names as the table has them."""
    table = split.table
    rows = encoder.encode(table.texts)
    train, valid = (
        Examples([rows[i] for i in which], None, table.targets[which]) for which in (split.train, split.valid)
    )
    return LabeledSplits(
        train,
        valid,
        None,
        "multi_label_classification" if table.is_multi_label else "single_label_classification",
        table.names,
        [],
    )


def describe_split(split: TableSplit) -> str:
    """What trains and what validates, in a line or two; label columns without a positive are named."""
    table = split.table
    kind = f"{len(table.names)} labels" if table.is_multi_label else f"{len(table.names)} classes"
    lines = [f"{len(table.texts)} texts, {kind}: {len(split.train)} to train, {len(split.valid)} to validate"]
    if table.is_multi_label:
        one_sided = [
            name for name, column in zip(table.names, table.targets[split.valid].T) if column.min() == column.max()
        ]
        if one_sided:
            lines.append(f"mean_auc is over the other columns: {', '.join(one_sided)} has one class only in validation")
    return "\n".join(lines)
