"""What can stand ready for a block of the documentation: files in its folder, names in its Python.

Each function's name, with ``_`` for ``.`` and ``-``, can stand behind ``given:`` in a mark (code_blocks.py). It
is called in the block's own empty folder and returns the names that it adds.
"""

from typing import Any, Dict

import torch

from tests.installed_stack import FASTAI_1
from tests.tiny_texts import VOCABULARY, frame, write_vocabulary

FACTORY = """
from fastai_hf_callback import HFCallback, HFModel, text_data
from fastai.metrics import accuracy
from fastai.{module} import Learner
from {library} import {kind}, {tokenizer}
{more}
def make_learner():
    data = text_data("train.csv", 0.2, {tokenizer}.from_pretrained("model"), text="text", labels="label",
                     bs=2, max_length=32, progress=False)
    model = {kind}.from_pretrained("model", num_labels=data.c)
    return Learner(data, HFModel(model, inputs=data.inputs), metrics=[accuracy],
                   {callbacks}=[HFCallback()])
"""


def given(names) -> Dict[str, Any]:
    """The names that blocks are given; files are in the current folder."""
    namespace: Dict[str, Any] = {}
    for name in names:
        namespace.update(_KNOWN[name.replace(".", "_").replace("-", "_")]())
    return namespace


def train_csv():
    """train.csv: columns text and label, 320 rows of two classes, which their first words tell apart."""
    _labelled(320, 0).to_csv("train.csv", index=False)
    return {}


def valid_csv():
    """valid.csv: 30 rows of the same kind."""
    _labelled(30, 1).to_csv("valid.csv", index=False)
    return {}


def comments_csv():
    """comments.csv: 100 bundled comments, comment_text and six labels."""
    from fastai_hf_callback.demo.comments import write_csv

    write_csv("comments.csv", n=100)
    return {}


def folder():
    """The folder `model`, and `folder`, its name: a tiny BERT that knows 48 words, 128 positions."""
    library = _library()
    size = dict(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, max_position_embeddings=128
    )
    size["initializer_range"] = 0.1  # so that few steps move it
    words = {"vocab_size_or_config_json_file": len(VOCABULARY)} if FASTAI_1 else {"vocab_size": len(VOCABULARY)}
    torch.manual_seed(0)
    from pathlib import Path

    Path("model").mkdir(exist_ok=True)
    library.BertForSequenceClassification(library.BertConfig(**words, **size)).save_pretrained("model")
    write_vocabulary("model")
    if not FASTAI_1:
        library.BertTokenizer("model/vocab.txt").save_pretrained("model")
    return {"folder": "model"}


def tokenizer():
    """`tokenizer`, that of `folder`."""
    return {**folder(), "tokenizer": _library().BertTokenizer.from_pretrained("model")}


def frames():
    """`train`, `valid`, `test`: DataFrames of text, second, kind, toxic, insult, score; `test` has texts only."""

    def of(rows, seed):
        return frame(rows, seed).rename(columns={"animal": "toxic", "plant": "insult", "share": "score"})

    return {"train": of(60, 0), "valid": of(30, 1), "test": of(20, 2)[["text", "second"]]}


def train_py():
    """train.py: a file with a factory, make_learner, and what it reads."""
    train_csv()
    folder()
    with open("train.py", "w") as file:
        file.write(
            FACTORY.format(
                **(
                    dict(module="train", library="pytorch_transformers", callbacks="callbacks", more="")
                    if FASTAI_1
                    else dict(
                        module="learner",
                        library="transformers",
                        callbacks="cbs",
                        more="import fastai.callback.schedule\n",
                    )
                ),
                kind="BertForSequenceClassification",
                tokenizer="BertTokenizer",
            )
        )
    return {}


def requirements_txt():
    """requirements.txt: what is installed already."""
    with open("requirements.txt", "w") as file:
        file.write("torch\nnumpy\n")
    return {}


def make_learner():
    """`make_learner`, that of train.py."""
    train_py()
    namespace: Dict[str, Any] = {}
    with open("train.py") as file:
        exec(file.read(), namespace)
    return {"make_learner": namespace["make_learner"]}


def learn():
    """`learn`: a learner that `make_learner` made, not trained."""
    maker = make_learner()["make_learner"]
    return {"make_learner": maker, "learn": maker()}


def _labelled(rows, seed):
    texts = frame(rows, seed)[["text"]].assign(label=[row % 2 for row in range(rows)])
    texts["text"] = [
        "fox fox fox " * label + "oak oak oak " * (1 - label) + text
        for text, label in zip(texts["text"], texts["label"])
    ]
    return texts


def _library():
    if FASTAI_1:
        import pytorch_transformers as library
    else:
        import transformers as library
    return library


_KNOWN = {
    name: made
    for name, made in list(globals().items())
    if callable(made) and not name.startswith("_") and getattr(made, "__module__", "") == __name__ and name != "given"
}
