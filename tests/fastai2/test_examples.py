"""The scripts of docs/examples run as they stand there, on a tiny model whose pieces are single letters."""

import string
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from fastai.callback.core import Callback
from fastai.callback.progress import ProgressCallback
from fastai.learner import Learner

from tests.slow_marks import mark_slow_after
from tests.tiny_texts import SPECIAL

EXAMPLES = sorted((Path(__file__).parents[2] / "docs" / "examples").glob("*.py"))
SIGNS = string.ascii_lowercase + string.digits + string.punctuation


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What ``from_pretrained`` takes for a model's name: a body without a head, and its tokenizer."""
    library = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("model")
    vocabulary = [*SPECIAL, *SIGNS, *(f"##{sign}" for sign in SIGNS)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    library.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(str(folder))
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    config = library.BertConfig(vocab_size=len(vocabulary), max_position_embeddings=96, initializer_range=0.2, **sizes)
    library.BertModel(config).save_pretrained(str(folder))
    return str(folder)


class SeenLosses(Callback):
    """Of every training step; fastai's own recorder forgets them when something is predicted."""

    def __init__(self):
        self.seen = []

    def after_loss(self):
        if self.learn.training:
            self.seen.append(self.learn.loss.item())


def example(path):
    spec = spec_from_file_location(path.stem, str(path))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_is_one_for_each_task_of_text_data():
    assert {path.stem for path in EXAMPLES} == {
        "sequence_classification",
        "multi_label",
        "regression",
        "token_classification",
        "question_answering",
    }


@pytest.mark.parametrize("path", mark_slow_after(2, EXAMPLES), ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore:.*also in train:UserWarning")
def test_it_trains_shows_and_predicts(path, folder, monkeypatch, capsys):
    torch.manual_seed(0)
    made, losses = Learner.__init__, SeenLosses()

    def make(self, *args, **kwargs):
        made(self, *args, **kwargs)
        self.remove_cb(ProgressCallback)
        self.add_cb(losses)

    monkeypatch.setattr(Learner, "__init__", make)
    learn = example(path).main(folder, **({"rows": 200} if path.stem == "multi_label" else {}))
    said = capsys.readouterr().out
    assert len(losses.seen) >= 10 and np.mean(losses.seen[-3:]) < np.mean(losses.seen[:3])
    assert "prediction" in said and np.isfinite(learn.validate()).all()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_is_short(path):
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= 36
