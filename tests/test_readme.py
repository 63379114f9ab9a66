"""The README's Python runs as it stands there, and its table names what there is."""
import re
import sys
import types
from pathlib import Path

import pytest
import torch

pytest.importorskip("fastai.basic_train")

import fastai_hf_callback  # noqa: E402
from tests.tiny import VOCAB, tiny_model  # noqa: E402

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
LEARN, DIAGNOSE, PROVE, KEEP = re.findall(r"```python\n(.*?)```", README, flags=re.S)


def rows(n=96):
    ids = torch.randint(5, VOCAB, (n, 8))
    return [((row, torch.ones_like(row)), int(row[0] > VOCAB // 2)) for row in ids]


@pytest.fixture
def given(tmp_path):
    tiny_model("bert", 2).save_pretrained(str(tmp_path))
    return {"train_ds": rows(), "valid_ds": rows(), "folder": str(tmp_path)}


def test_the_ten_lines_train(given):
    exec(LEARN, given)
    assert len(given["learn"].recorder.losses) == 6
    assert len([line for line in LEARN.splitlines() if line.strip()]) == 10


def test_the_diagnosis_is_printed(given, capsys):
    exec(LEARN, given)
    exec(DIAGNOSE, given)
    assert given["diagnosis"].evidence.looked_at
    assert str(given["diagnosis"]) in capsys.readouterr().out


def test_the_three_lines_prove(given, monkeypatch):
    lines = LEARN.splitlines()

    def make_learner():
        namespace = {**given, "train_ds": rows(), "valid_ds": rows()}
        exec("\n".join(lines[:-1]).replace("bs=32", "bs=8"), namespace)
        return namespace["learn"]

    monkeypatch.setitem(sys.modules, "train", types.SimpleNamespace(make_learner=make_learner))
    namespace = {}
    exec(PROVE.replace("fit_one_cycle(1, 1e-3)", "fit_one_cycle(4, 1e-2)"), namespace)
    namespace["test_callback_equals_patched_loop"]()


def test_the_attentions_are_there_while_the_batch_runs(given):
    exec(LEARN, given)
    given["learn"].model.config.output_attentions = True
    for module in given["learn"].model.modules():
        if hasattr(module, "output_attentions"):
            module.output_attentions = True
    exec(KEEP, given)
    given["learn"].fit(1, 1e-3)
    looked = given["learn"].callbacks[1].attentions
    assert [tuple(a.shape) for a in looked] == [(32, 2, 8, 8)] * 2
    assert given["unwrapping"].output is None


def test_every_name_in_the_table_exists():
    named = re.findall(r"^\| `(\w+)\(.*?\)`(?:, `(\w+)\(.*?\)`)? \|", README, flags=re.M)
    names = {name for pair in named for name in pair if name}
    assert len(names) >= 7
    assert all(hasattr(fastai_hf_callback, name) for name in names)
