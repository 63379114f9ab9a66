"""Tables of texts -> factories of fastai 1 learners, for the command line and the demo."""
from functools import partial
from typing import Any, Callable, NamedTuple, Sequence

import numpy as np
from fastai.basic_train import Learner
from fastai.metrics import accuracy

from ..errors import UnusableInput
from ..examples import Examples, Labelled
from ..metrics import accuracy_thresh
from ..model import HFModel
from ..pretrained import Pretrained
from ..table import Table
from ..text import TextEncoder
from .callback import HFCallback
from .data import text_bunch
from .items import TextProcessor
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
        When `max_len` does not fit the model.
    """
    _check_length(source, max_len)
    encoder, table = TextEncoder(source.tokenizer, max_len), split.table
    rows = encoder.encode(table.texts)
    train, valid = (Examples([rows[i] for i in which], None, table.targets[which])
                    for which in (split.train, split.valid))
    examples = Labelled(train, valid, None, "several" if table.several_labels else "single", table.names, [])

    def make_learner() -> Learner:
        data = text_bunch(examples, TextProcessor(encoder), bs=bs)
        model = HFModel(source.make_model(data.c), inputs=data.inputs)
        return Learner(data, model, metrics=_metrics(table.several_labels), callbacks=[HFCallback()])

    return make_learner


def _metrics(several_labels: bool) -> Sequence[Any]:
    if several_labels:
        return [partial(accuracy_thresh, thresh=THRESHOLD), ColumnwiseAUC()]
    return [accuracy]


def _check_length(source: Pretrained, max_len: int) -> None:
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
