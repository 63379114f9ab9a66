"""The twin of `recipe.py` with fastai_hf_callback: the same data, model, metric, training and submission.

Nothing of fastai is patched and nothing put back in order by hand. `python docs/article/ten_lines.py` runs offline, in
seconds; its arguments and its output are the recipe's.
"""
import tempfile
import warnings
from functools import partial

from measure import THRESHOLD, Clock, Meter, arguments, prepare, report, silence
from pytorch_transformers import BertForSequenceClassification, BertTokenizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DatasetType
    from fastai.train import Learner

from fastai_hf_callback import (
    ColumnwiseAUC,
    HFCallback,
    HFModel,
    accuracy_thresh,
    layer_groups,
    ordered_preds,
    text_data,
)


def run(config):
    """Train, predict, write the submission; returns the figures it printed."""
    with tempfile.TemporaryDirectory() as path:
        train, valid, test, folder = prepare(config, path)
        tokenizer = BertTokenizer.from_pretrained(folder)
        with silence(), Clock() as building:
            data = text_data(train, valid, tokenizer, text=config.text, labels=config.labels, test=test,
                             bs=config.bs, max_length=config.max_length)

        bert = BertForSequenceClassification.from_pretrained(folder, num_labels=data.c)
        model = HFModel(bert, inputs=data.inputs)
        learn = Learner(data, model, callbacks=[HFCallback()], path=path,
                        metrics=[partial(accuracy_thresh, thresh=THRESHOLD), ColumnwiseAUC()])
        learn.split(layer_groups)
        with silence():
            if config.lr_find:
                learn.lr_find()
            with Meter(model, tokenizer) as meter, Clock() as training:
                learn.fit_one_cycle(config.epochs, config.lr)
            recorder = learn.recorder  # get_preds makes a new one
            preds, _ = ordered_preds(learn, DatasetType.Test)
        learn.recorder = recorder

        submission = test.copy()
        submission[config.labels] = preds.cpu().numpy()
        submission.to_csv(config.out, index=False)
        return report(config, learn, tokenizer, meter, building, training, valid, test, preds.cpu().numpy())


def main(argv=None):
    return run(arguments(__doc__, argv))


if __name__ == "__main__":
    main()
