"""A number per text, on fastai 2: python docs/examples/regression.py MODEL"""

import sys
from itertools import product

import fastai.callback.schedule  # noqa: F401  gives Learner its fit_one_cycle
import pandas as pd
from fastai.learner import Learner
from fastai.metrics import mae
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fastai_hf_callback import HFCallback, HFModel, layer_groups, text_data

SIZES, FLOORS, PLACES = (
    {"one": 1, "two": 2, "three": 3, "four": 4},
    {"ground": 0.0, "top": 0.5},
    {"in the centre": 2.0, "by the lake": 1.5, "near the station": 1.0, "out of town": 0.5},
)
flats = pd.DataFrame(
    [
        (f"a flat of {size} rooms, {floor} floor, {place}", SIZES[size] + FLOORS[floor] + PLACES[place])
        for size, floor, place in product(SIZES, FLOORS, PLACES)
    ],
    columns=["text", "rent"],
)


def main(model):
    dls = text_data(flats, 0.25, AutoTokenizer.from_pretrained(model), text="text", labels="rent", bs=8, max_length=64)
    head = AutoModelForSequenceClassification.from_pretrained(model, num_labels=dls.c)
    learn = Learner(dls, HFModel(head, inputs=dls.inputs), metrics=[mae], cbs=[HFCallback()], splitter=layer_groups)
    learn.fit_one_cycle(5, 1e-3)
    learn.show_results(max_n=3)
    print(learn.predict("a flat of three rooms by the lake"))
    return learn


if __name__ == "__main__":
    main(sys.argv[1])
