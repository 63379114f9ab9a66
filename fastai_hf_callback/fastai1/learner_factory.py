"""Tables of texts -> factories of fastai 1 learners, for the command line and the demo."""

from functools import partial
from typing import Any, Callable, Sequence

from fastai.basic_train import Learner
from fastai.metrics import accuracy

from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.data.encoding.table_split import TableSplit, encode_split
from fastai_hf_callback.fastai1.data.dataset import TextProcessor
from fastai_hf_callback.fastai1.data.text_data import build_text_loaders
from fastai_hf_callback.model.metrics import accuracy_thresh
from fastai_hf_callback.model.pretrained import Pretrained, check_max_length
from fastai_hf_callback.model.wrapper import HFModel

from .callback import HFCallback
from .metrics import ColumnwiseAUC

__all__ = ["build_learner_factory"]

THRESHOLD = 0.25  # the article's


def build_learner_factory(split: TableSplit, source: Pretrained, bs: int, max_length: int) -> Callable[[], Learner]:
    """A function that makes a new learner each time; texts are encoded here, once.

    Parameters
    ----------
    split : Split
    source : Pretrained
        Tokenizer and model.
    bs : int
        Rows per batch.
    max_length : int
        Tokens per text at most.

    Raises
    ------
    InvalidInputError
        When `max_length` does not fit the model.
    """
    check_max_length(source, max_length)
    encoder = TextEncoder(source.tokenizer, max_length)
    examples, is_multi_label = encode_split(split, encoder), split.table.is_multi_label

    def make_learner() -> Learner:
        data = build_text_loaders(examples, TextProcessor(encoder), bs=bs)
        model = HFModel(source.make_model(data.c), inputs=data.inputs)
        return Learner(data, model, metrics=_choose_metrics(is_multi_label), callbacks=[HFCallback()])

    return make_learner


def _choose_metrics(is_multi_label: bool) -> Sequence[Any]:
    if is_multi_label:
        return [partial(accuracy_thresh, thresh=THRESHOLD), ColumnwiseAUC()]
    return [accuracy]
