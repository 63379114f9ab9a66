"""The article's recipe of 2019, reconstructed: BERT and fastai 1 on comments with several labels.

What it does to fastai, and what fastai does to it, stands in docs/the-article.md. Two additions, each marked TODAY,
make it run on today's Python; on the article's own versions the first does nothing. `python docs/article/recipe.py`
runs offline, in seconds.
"""
import tempfile
import warnings
from functools import partial

import numpy as np
from measure import THRESHOLD, Clock, Meter, arguments, prepare, report, silence
from pytorch_transformers import BertForSequenceClassification, BertTokenizer
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DatasetType
    from fastai.metrics import accuracy_thresh
    from fastai.text import BaseTokenizer, TextDataBunch, Tokenizer, Vocab, pad_collate
    from fastai.train import Learner

from fastai_hf_callback import heal, patched_loop


class FastAiBertTokenizer(BaseTokenizer):
    """A BERT tokenizer as fastai wants one."""

    def __init__(self, tokenizer, max_seq_len=128, **kwargs):
        self._pretrained_tokenizer = tokenizer
        self.max_seq_len = max_seq_len

    def __call__(self, *args, **kwargs):
        return self

    def tokenizer(self, t):
        return ["[CLS]"] + self._pretrained_tokenizer.tokenize(t)[:self.max_seq_len - 2] + ["[SEP]"]


def make_databunch(path, train, val, test, bert_tok, config):
    fastai_bert_vocab = Vocab(list(bert_tok.vocab.keys()))
    fastai_tokenizer = Tokenizer(tok_func=FastAiBertTokenizer(bert_tok, max_seq_len=config.max_length),
                                 pre_rules=[], post_rules=[])
    return TextDataBunch.from_df(
        path, train, val, test,
        tokenizer=fastai_tokenizer,
        vocab=fastai_bert_vocab,
        include_bos=False,
        include_eos=False,
        text_cols=config.text,
        label_cols=config.labels,
        bs=config.bs,
        collate_fn=partial(pad_collate, pad_first=False, pad_idx=0),  # which fastai drops
    )


def get_preds_as_nparray(learner, ds_type):
    """fastai's loaders hand rows out by length: back to the order of the DataFrame."""
    preds = learner.get_preds(ds_type)[0].detach().cpu().numpy()
    sampler = [i for i in learner.data.dl(ds_type).sampler]  # noqa: C416  the article's line
    reverse_sampler = np.argsort(sampler)
    return preds[reverse_sampler, :]


def run(config):
    """Train, predict, write the submission; returns the figures it printed."""
    with tempfile.TemporaryDirectory() as path:
        train, val, test, folder = prepare(config, path)
        bert_tok = BertTokenizer.from_pretrained(folder)
        with silence(), Clock() as building:
            databunch = make_databunch(path, train, val, test, bert_tok, config)

        bert_model = BertForSequenceClassification.from_pretrained(folder, num_labels=len(config.labels))
        loss_func = nn.BCEWithLogitsLoss()
        learner = Learner(databunch, bert_model, loss_func=loss_func,
                          metrics=[partial(accuracy_thresh, thresh=THRESHOLD)])
        with silence(), patched_loop():  # TODAY: the article's `out = model(*xb)[0]`, put back afterwards
            if config.lr_find:
                learner.lr_find()
            with Meter(bert_model, bert_tok) as meter, Clock() as training:
                learner.fit_one_cycle(config.epochs, max_lr=config.lr)
            recorder = learner.recorder  # get_preds makes a new one
            test_preds = get_preds_as_nparray(learner, DatasetType.Test)
        learner.recorder = recorder

        submission = test.copy()
        submission[config.labels] = test_preds
        submission.to_csv(config.out, index=False)
        return report(config, learner, bert_tok, meter, building, training, val, test, test_preds)


def main(argv=None):
    config = arguments(__doc__, argv)
    with heal():  # TODAY: fastai 1's ragged arrays and the like, which numpy no longer makes
        return run(config)


if __name__ == "__main__":
    main()
