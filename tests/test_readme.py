"""The README's Python runs as it stands there, and its table names what there is."""
import re
import sys
import types
from pathlib import Path

import pytest
import torch

pytest.importorskip("fastai.basic_train")

import fastai_hf_callback  # noqa: E402
from tests.texts import frame, slow_tokenizer, write_vocabulary  # noqa: E402
from tests.tiny import VOCAB, tiny_model  # noqa: E402

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
LEARN, SUBMIT, OWN, DIAGNOSE, PROVE, KEEP = re.findall(r"```python\n(.*?)```", README, flags=re.S)


def rows(n=96):
    ids = torch.randint(5, VOCAB, (n, 8))
    return [((row, torch.ones_like(row)), int(row[0] > VOCAB // 2)) for row in ids]


@pytest.fixture
def given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_model("bert", 2).save_pretrained(str(tmp_path))
    write_vocabulary(tmp_path)
    frame(60).rename(columns={"animal": "label"}).to_csv("train.csv", index=False)
    return {"train_ds": rows(), "valid_ds": rows(), "folder": str(tmp_path)}


@pytest.fixture
def learned(given):
    """What the first block leaves behind."""
    exec(LEARN.replace('"label")', '"label", max_len=32)'), given)
    return given


def test_the_ten_lines_train_and_predict(learned):
    assert len(learned["learn"].recorder.losses) == 4  # 48 of 60 rows, 32 at a time, twice
    assert len([line for line in LEARN.splitlines() if line.strip()]) <= 10


def test_a_submission_is_written(learned):
    names = {"text": "comment", "animal": "toxic", "plant": "insult"}
    test = frame(20, 3).rename(columns=names)[["comment"]]
    exec(SUBMIT.replace("128", "32"), {**learned, "tokenizer": slow_tokenizer("."), "test": test,
                                       "train": frame(60, 1).rename(columns=names),
                                       "valid": frame(30, 2).rename(columns=names)})
    assert list(test) == ["comment", "toxic", "insult"] and test.notna().all().all()


def test_a_databunch_of_ones_own_trains(learned):
    exec(OWN, learned)
    assert len(learned["learn"].recorder.losses) == 6


def test_the_diagnosis_is_printed(learned, capsys):
    exec(DIAGNOSE, learned)
    assert learned["diagnosis"].evidence.looked_at
    assert str(learned["diagnosis"]) in capsys.readouterr().out


def test_the_three_lines_prove(learned, monkeypatch):
    lines = OWN.splitlines()

    def make_learner():
        namespace = {**learned, "train_ds": rows(), "valid_ds": rows()}
        exec("\n".join(lines[:-1]).replace("bs=32", "bs=8"), namespace)
        return namespace["learn"]

    monkeypatch.setitem(sys.modules, "train", types.SimpleNamespace(make_learner=make_learner))
    namespace = {}
    exec(PROVE.replace("fit_one_cycle(1, 1e-3)", "fit_one_cycle(4, 1e-2)"), namespace)
    namespace["test_callback_equals_patched_loop"]()


def test_the_attentions_are_there_while_the_batch_runs(learned):
    learned["learn"].model.config.output_attentions = True
    for module in learned["learn"].model.modules():
        if hasattr(module, "output_attentions"):
            module.output_attentions = True
    exec(KEEP, learned)
    learned["learn"].fit(1, 1e-3)
    looked = learned["learn"].callbacks[1].attentions
    assert len(looked) == 2 and looked[0].shape[:2] == (16, 2)  # the short last batch of two heads
    assert learned["unwrapping"].output is None


def test_every_name_in_the_table_exists():
    named = re.findall(r"^\| `(\w+)\(.*?\)`(?:, `(\w+)\(.*?\)`)? \|", README, flags=re.M)
    names = {name for pair in named for name in pair if name}
    assert len(names) >= 7
    assert all(hasattr(fastai_hf_callback, name) for name in names)
