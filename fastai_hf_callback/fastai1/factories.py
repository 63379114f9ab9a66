"""Tables of texts -> factories of fastai 1 learners, for the command line and the demo."""
from functools import partial
from typing import Any, Callable, Sequence

from fastai.basic_train import Learner
from fastai.metrics import accuracy

from ..metrics import accuracy_thresh
from ..model import HFModel
from ..pretrained import Pretrained, check_length
from ..texts.encoder import TextEncoder
from ..texts.split import Split, encode_split
from .callback import HFCallback
from .data import text_bunch
from .items import TextProcessor
from .metrics import ColumnwiseAUC

__all__ = ["table_factory"]

THRESHOLD = 0.25  # the article's


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
    check_length(source, max_len)
    encoder = TextEncoder(source.tokenizer, max_len)
    examples, several_labels = encode_split(split, encoder), split.table.several_labels

    def make_learner() -> Learner:
        data = text_bunch(examples, TextProcessor(encoder), bs=bs)
        model = HFModel(source.make_model(data.c), inputs=data.inputs)
        return Learner(data, model, metrics=_metrics(several_labels), callbacks=[HFCallback()])

    return make_learner


def _metrics(several_labels: bool) -> Sequence[Any]:
    if several_labels:
        return [partial(accuracy_thresh, thresh=THRESHOLD), ColumnwiseAUC()]
    return [accuracy]
