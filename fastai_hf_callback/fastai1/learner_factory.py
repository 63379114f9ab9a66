"""Tables of texts -> factories of fastai 1 learners, for the command line and the demo."""
from functools import partial
from typing import Any, Callable, Sequence

from fastai.basic_train import Learner
from fastai.metrics import accuracy

from fastai_hf_callback.model.metrics import accuracy_thresh
from fastai_hf_callback.model.wrapper import HFModel
from fastai_hf_callback.model.pretrained import Pretrained, check_length
from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.data.tables.split import Split, encode_split
from .callback import HFCallback
from fastai_hf_callback.fastai1.data.text_data import text_bunch
from fastai_hf_callback.fastai1.data.dataset import TextProcessor
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
