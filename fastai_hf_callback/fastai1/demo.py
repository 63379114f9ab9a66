"""The demo on fastai 1: a tiny BERT of pytorch-transformers on the bundled comments, everything offline."""
from functools import partial
from typing import Callable, Sequence

from fastai.basic_data import DataBunch
from fastai.train import Learner  # which gives it fit_one_cycle
from pytorch_transformers import BertConfig, BertForSequenceClassification, BertTokenizer
from torch import nn

from fastai_hf_callback.demo.comments import LABELS
from fastai_hf_callback.demo.setup import (
    BATCH,
    LR,
    MAX_LEN,
    SIZES,
    as_the_article_fed,
    demo_split,
    in_front,
    tiny_bert,
)
from fastai_hf_callback.model.metrics import accuracy_thresh
from fastai_hf_callback.model.pretrained import Pretrained
from .callback import HFCallback
from .learner_factory import THRESHOLD, table_factory
from fastai_hf_callback.fastai1.compat.no_progress import quiet

__all__ = ["demo_factory", "recipe_after_an_epoch"]


def demo_factory() -> Callable[[], Learner]:
    """A function that makes the demo's learner, new each time."""
    split = demo_split()
    return table_factory(split, _bert_for(split.table.texts), bs=BATCH, max_len=MAX_LEN)


def recipe_after_an_epoch() -> Learner:
    """A learner fed as the article's was, on the bare model, after one epoch."""
    split = demo_split()
    source = _bert_for(split.table.texts)
    train, valid = as_the_article_fed(split, source.tokenizer)
    data = DataBunch.create(train, valid, bs=BATCH, num_workers=0, no_check=True, collate_fn=in_front)
    learn = Learner(data, source.make_model(len(LABELS)), loss_func=nn.BCEWithLogitsLoss(), callbacks=[HFCallback()],
                    metrics=[partial(accuracy_thresh, thresh=THRESHOLD)])
    with quiet(learn):
        learn.fit_one_cycle(1, LR)
    return learn


def _bert_for(texts: Sequence[str]) -> Pretrained:
    return tiny_bert(texts, BertTokenizer, _bert)


def _bert(n_words: int, n_outputs: int) -> BertForSequenceClassification:
    return BertForSequenceClassification(BertConfig(vocab_size_or_config_json_file=n_words, num_labels=n_outputs,
                                                    **SIZES))
