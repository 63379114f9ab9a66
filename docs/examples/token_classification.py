"""A label per word, on fastai 2: python docs/examples/token_classification.py MODEL"""

import sys
from itertools import product

import fastai.callback.schedule  # noqa: F401  gives Learner its fit_one_cycle
import pandas as pd
from fastai.learner import Learner
from transformers import AutoModelForTokenClassification, AutoTokenizer

from fastai_hf_callback import HFCallback, HFModel, WordAccuracy, layer_groups, text_data

PEOPLE, PLACES = ("Ada", "Grace", "Alan", "Emmy"), ("London", "Geneva", "Lisbon", "Oslo")
VERBS = ("moved to", "writes from", "never liked", "was born in")
sentences = pd.DataFrame(
    [
        ([person, *verb.split(), place], ["PERSON", *["O"] * len(verb.split()), "PLACE"])
        for person, verb, place in product(PEOPLE, VERBS, PLACES)
    ],
    columns=["words", "tags"],
)


def main(model):
    dls = text_data(
        sentences, 0.25, AutoTokenizer.from_pretrained(model), text="words", labels="tags", bs=8, max_length=64
    )
    head = AutoModelForTokenClassification.from_pretrained(model, num_labels=dls.c)
    learn = Learner(
        dls, HFModel(head, inputs=dls.inputs), metrics=[WordAccuracy()], cbs=[HFCallback()], splitter=layer_groups
    )
    learn.fit_one_cycle(3, 1e-3)
    learn.show_results(max_n=3)
    print(learn.predict(["Emmy", "moved", "to", "Oslo"])[0])
    return learn


if __name__ == "__main__":
    main(sys.argv[1])
