"""Texts and labels -> factories of fastai 2 learners, for the command line and the demo."""

from functools import partial
from typing import Any, Callable, Dict, List

from fastai.learner import Learner
from fastai.metrics import accuracy, accuracy_multi, mae

from fastai_hf_callback.data.batches.collate import TextCollator
from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.data.tables.examples import LabeledSplits
from fastai_hf_callback.demo.setup import THRESHOLD
from fastai_hf_callback.fastai2.data.text_data import build_text_loaders
from fastai_hf_callback.model.pretrained import Pretrained, check_max_length
from fastai_hf_callback.model.wrapper import HFModel

from .callback import HFCallback
from .metrics import ColumnwiseAUC

__all__ = ["build_learner_factory"]

METRICS: Dict[str, Callable[[], List[Any]]] = {
    "single_label_classification": lambda: [accuracy],
    "multi_label_classification": lambda: [partial(accuracy_multi, thresh=THRESHOLD), ColumnwiseAUC()],
    "regression": lambda: [mae],
}


def build_learner_factory(
    examples: LabeledSplits, source: Pretrained, bs: int, max_length: int
) -> Callable[[], Learner]:
    """Return a function that makes a new learner each time; texts are encoded here, once.

    Parameters
    ----------
    examples : LabeledSplits
        With a validation set, and without a test set.
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
    collator = TextCollator(TextEncoder(source.tokenizer, max_length))
    train, valid = (part._replace(texts=collator.encode_texts(part.texts)) for part in (examples.train, examples.valid))
    encoded = examples._replace(train=train, valid=valid)

    def make_learner() -> Learner:
        dls = build_text_loaders(encoded, collator, bs=bs)
        model = HFModel(source.make_model(dls.c), inputs=dls.inputs)
        return Learner(dls, model, metrics=METRICS[examples.task](), cbs=[HFCallback()])

    return make_learner
