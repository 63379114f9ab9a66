"""One class per text, on fastai 2: python docs/examples/sequence_classification.py MODEL"""

import sys
from itertools import product

import fastai.callback.schedule  # noqa: F401  gives Learner its fit_one_cycle
import pandas as pd
from fastai.learner import Learner
from fastai.metrics import accuracy
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fastai_hf_callback import HFCallback, HFModel, layer_groups, text_data

GOOD, BAD = ("wonderful", "moving", "funny", "clever"), ("dull", "tedious", "clumsy", "hollow")
THINGS, ENDS = ("the plot", "the acting", "this film", "its ending"), ("from start to end", "and my friends agree", "!")
reviews = pd.DataFrame(
    [
        (f"{thing} was {word} {end}", "good" if word in GOOD else "bad")
        for thing, word, end in product(THINGS, GOOD + BAD, ENDS)
    ],
    columns=["text", "label"],
)


def main(model):
    dls = text_data(
        reviews, 0.25, AutoTokenizer.from_pretrained(model), text="text", labels="label", bs=8, max_length=64
    )
    head = AutoModelForSequenceClassification.from_pretrained(model, num_labels=dls.c)
    learn = Learner(
        dls, HFModel(head, inputs=dls.inputs), metrics=[accuracy], cbs=[HFCallback()], splitter=layer_groups
    )
    learn.fit_one_cycle(3, 1e-3)
    learn.show_results(max_n=3)
    print(learn.predict("the acting was moving and clever"))
    return learn


if __name__ == "__main__":
    main(sys.argv[1])
