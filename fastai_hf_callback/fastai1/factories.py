"""Tables of texts -> factories of fastai 1 learners, for the command line and the demo."""
from functools import partial
from typing import Any, Callable, NamedTuple, Sequence

import numpy as np
from fastai.basic_train import Learner
from fastai.metrics import accuracy, accuracy_thresh
from torch import nn

from ..errors import UnusableInput
from ..model import HFModel
from ..pretrained import Pretrained
from ..table import Table
from ..text import encode
from .callback import HFCallback
from .data import INPUTS, EncodedTexts, encoded_databunch
from .metrics import ColumnwiseAUC

__all__ = ["Split", "describe_split", "table_factory"]

THRESHOLD = 0.25  # the article's


class Split(NamedTuple):
    """A table and which of its rows train and validate."""

    table: Table
    train: np.ndarray
    valid: np.ndarray


def table_factory(split: Split, source: Pretrained, bs: int, max_len: int) -> Callable[[], Learner]:
    """A function that makes a new learner each time; texts are encoded here, once.

    Parameters
    ----------
    split : Split
    source : Pretrained
        Tokenizer and model.
    bs : int
        Rows per batch.
    max_len : int
        Tokens per text at most.

    Raises
    ------
    UnusableInput
        When `bs` or `max_len` fit neither data nor model.
    """
    _check_sizes(split, source, bs, max_len)
    rows = encode(source.tokenizer, split.table.texts, max_len)

    def make_learner() -> Learner:
        data = encoded_databunch(*(_part(rows, split.table, which) for which in (split.train, split.valid)),
                                 pad_id=source.pad_id, bs=bs)
        model = HFModel(source.make_model(len(split.table.names)), inputs=INPUTS)
        several = split.table.several_labels
        return Learner(data, model, loss_func=nn.BCEWithLogitsLoss() if several else nn.CrossEntropyLoss(),
                       metrics=_metrics(several), callbacks=[HFCallback()])

    return make_learner


def _metrics(several_labels: bool) -> Sequence[Any]:
    if several_labels:
        return [partial(accuracy_thresh, thresh=THRESHOLD), ColumnwiseAUC()]
    return [accuracy]


def _part(rows: Sequence[Any], table: Table, which: np.ndarray) -> EncodedTexts:
    return EncodedTexts([rows[i] for i in which], table.targets[which])


def _check_sizes(split: Split, source: Pretrained, bs: int, max_len: int) -> None:
    if len(split.train) < bs:
        raise UnusableInput(f"--bs {bs} and {len(split.train)} training rows: not one full batch; write --bs "
                            f"{len(split.train)} or less")
    if source.max_positions is not None and max_len > source.max_positions:
        raise UnusableInput(f"--max-len {max_len}: the model has {source.max_positions} positions; write --max-len "
                            f"{source.max_positions} or less")


def describe_split(split: Split) -> str:
    """What trains and what validates, in a line or two; label columns without a positive are named."""
    table = split.table
    kind = f"{len(table.names)} labels" if table.several_labels else f"{len(table.names)} classes"
    lines = [f"{len(table.texts)} texts, {kind}: {len(split.train)} to train, {len(split.valid)} to validate"]
    if table.several_labels:
        one_sided = [name for name, column in zip(table.names, table.targets[split.valid].T)
                     if column.min() == column.max()]
        if one_sided:
            lines.append(f"mean_auc is over the other columns: {', '.join(one_sided)} has one class only in validation")
    return "\n".join(lines)
