"""Several labels per text, on fastai 2, on the bundled comments: python docs/examples/multi_label.py MODEL"""

import sys

import fastai.callback.schedule  # noqa: F401  gives Learner its fit_one_cycle
from fastai.learner import Learner
from fastai.metrics import accuracy_multi
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fastai_hf_callback import ColumnwiseAUC, ConstantBaseline, HFCallback, HFModel, layer_groups, text_data
from fastai_hf_callback.demo.comments import LABELS, write_csv


def main(model, rows=2000):
    write_csv("comments.csv", rows)
    dls = text_data(
        "comments.csv", 0.2, AutoTokenizer.from_pretrained(model), text="comment_text", labels=LABELS, max_length=64
    )
    head = AutoModelForSequenceClassification.from_pretrained(model, num_labels=dls.c)
    learn = Learner(
        dls,
        HFModel(head, inputs=dls.inputs),
        cbs=[HFCallback()],
        splitter=layer_groups,
        metrics=[accuracy_multi, ConstantBaseline(accuracy_multi), ColumnwiseAUC()],
    )  # the first says little alone
    learn.fit_one_cycle(2, 1e-3)
    learn.show_results(max_n=3)
    print(learn.predict("you are a fool"))
    return learn


if __name__ == "__main__":
    main(sys.argv[1])
