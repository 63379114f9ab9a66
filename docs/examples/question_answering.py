"""Answers in their contexts, on fastai 2: python docs/examples/question_answering.py MODEL"""

import sys
from itertools import permutations

import fastai.callback.schedule  # noqa: F401  gives Learner its fit_one_cycle
import pandas as pd
from fastai.learner import Learner
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from fastai_hf_callback import HFCallback, HFModel, layer_groups, span_exact_match, span_f1, span_logits, text_data

PEOPLE, PLACES = ("Ada", "Grace", "Alan", "Emmy"), ("London", "Geneva", "Lisbon", "Oslo")
CONTEXT = "{} lives in {}, and {} lives in {}."
rows = [
    (f"Where does {asked} live?", CONTEXT.format(one, here, other, there), here if asked == one else there)
    for one, other in permutations(PEOPLE, 2)
    for here, there in permutations(PLACES, 2)
    for asked in (one, other)
]
answers = pd.DataFrame(rows, columns=["question", "context", "answer"])
COLUMNS = {"text": "question", "text_pair": "context", "labels": "answer", "task": "question-answering"}


def main(model, epochs=8):
    dls = text_data(answers, 0.25, AutoTokenizer.from_pretrained(model), max_length=96, **COLUMNS)
    head = AutoModelForQuestionAnswering.from_pretrained(model)
    learn = Learner(
        dls,
        HFModel(head, inputs=dls.inputs),
        metrics=[span_exact_match, span_f1],
        cbs=[HFCallback(element=span_logits)],
        splitter=layer_groups,
    )
    learn.fit_one_cycle(epochs, 1e-3)
    learn.show_results(max_n=3)
    print(learn.predict(("Where does Ada live?", "Emmy lives in Oslo, and Ada lives in Bergen."))[0])
    return learn


if __name__ == "__main__":
    main(sys.argv[1])
