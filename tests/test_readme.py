"""The README's Python runs as it stands there, on the fastai that it names; its tables name what there is."""

import re
import sys
import types
from pathlib import Path

import pandas
import pytest
import torch

pytest.importorskip("fastai")

import fastai_hf_callback  # noqa: E402
from tests.installed_stack import FASTAI_1  # noqa: E402
from tests.tiny_models import VOCAB, tiny_model, tiny_transformers_model  # noqa: E402
from tests.tiny_texts import ANIMALS, OTHERS, PLANTS, fast_tokenizer, frame, slow_tokenizer, write_vocabulary  # noqa: E402

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
THERE = "# fastai 2\n" if FASTAI_1 else "# fastai 1\n"


def without(other):
    """The README's Python but for the blocks of the `other` fastai, in its order."""
    found = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    return [block for block in found if not block.startswith(other)]


LEARN, SUBMIT, OWN, DIAGNOSE, FACTORY, PROVE, KEEP = without(THERE)


def rows(n=96):
    """As a Dataset of each fastai has them."""
    ids = torch.randint(5, VOCAB, (n, 8))
    made = [((row, torch.ones_like(row)), int(row[0] > VOCAB // 2)) for row in ids]
    return made if FASTAI_1 else [(*inputs, torch.tensor(label)) for inputs, label in made]


def steps(learn):
    """Of the last fit; fastai 2's recorder begins anew when it predicts, its optimizer's state does not."""
    if FASTAI_1:
        return len(learn.recorder.losses)
    return next(state["step"] for state in learn.opt.state.values() if "step" in state)


@pytest.fixture
def given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tiny_model("bert", 2) if FASTAI_1 else tiny_transformers_model("bert", 2)
    model.save_pretrained(str(tmp_path))
    write_vocabulary(tmp_path)
    frame(60).rename(columns={"animal": "label"}).to_csv("train.csv", index=False)
    return {"train_ds": rows(), "valid_ds": rows(), "folder": str(tmp_path)}


@pytest.fixture
def learned(given):
    """What the first block leaves behind."""
    exec(LEARN.replace('"label")', '"label", max_length=32)'), given)
    return given


def test_each_fastai_has_the_same_blocks():
    for_1, for_2 = without("# fastai 2\n"), without("# fastai 1\n")
    assert len(for_1) == len(for_2) == 7
    assert [block.startswith("# fastai") for block in for_1] == [block.startswith("# fastai") for block in for_2]


def test_the_ten_lines_train_and_predict(learned):
    assert steps(learned["learn"]) == 4  # 48 of 60 rows, 32 at a time, twice
    assert len([line for line in LEARN.splitlines() if line.strip()]) <= 10


def test_a_submission_is_written(learned):
    names = {"text": "comment", "animal": "toxic", "plant": "insult"}
    test = frame(20, 3).rename(columns=names)[["comment"]].assign(id=range(20))
    tokenizer = (slow_tokenizer if FASTAI_1 else fast_tokenizer)(".")
    exec(
        SUBMIT.replace("128", "32"),
        {
            **learned,
            "tokenizer": tokenizer,
            "test": test,
            "train": frame(60, 1).rename(columns=names),
            "valid": frame(30, 2).rename(columns=names),
        },
    )
    sent = pandas.read_csv("submission.csv")
    assert list(sent) == ["id", "toxic", "insult"] and sent.id.tolist() == list(range(20)) and sent.notna().all().all()


def test_batches_of_ones_own_train(learned):
    exec(OWN, learned)
    assert steps(learned["learn"]) == 6


def test_the_diagnosis_is_printed(learned, capsys):
    exec(DIAGNOSE, learned)
    assert learned["diagnosis"].evidence.examined
    assert str(learned["diagnosis"]) in capsys.readouterr().out


@pytest.mark.slow
def test_the_three_lines_prove(given, monkeypatch):
    told = [
        (f"{word} {one} {other}", word in ANIMALS)
        for word in ANIMALS + PLANTS
        for one in OTHERS[:4]
        for other in OTHERS[4:8]
    ]
    pandas.DataFrame(told, columns=["text", "label"]).astype({"label": int}).to_csv("train.csv", index=False)
    train = types.ModuleType("train")
    exec(FACTORY.replace("./bert-base", ".").replace('"label")', '"label", bs=8, max_length=32)'), vars(train))
    monkeypatch.setitem(sys.modules, "train", train)
    namespace = {}
    exec(PROVE.replace("fit_one_cycle(1, 1e-4)", "fit_one_cycle(4, 1e-2)"), namespace)
    namespace["test_callback_equals_patched_loop"]()


def test_the_attentions_are_there_while_the_batch_runs(learned):
    model = learned["learn"].model
    if FASTAI_1:
        model.config.output_attentions = True
        for module in model.modules():
            if hasattr(module, "output_attentions"):
                module.output_attentions = True
    else:
        model.model.set_attn_implementation("eager")
        model.config.output_attentions = True
    exec(KEEP, learned)
    learned["learn"].fit(1, 1e-3)
    callbacks = learned["learn"].callbacks if FASTAI_1 else learned["learn"].cbs
    attentions = next(callback for callback in callbacks if type(callback) is learned["Look"]).attentions
    assert len(attentions) == 2 and attentions[0].shape[:2] == (16, 2)  # the short last batch of two heads
    assert learned["unwrapping"].output is None


def test_every_name_in_the_table_exists():
    named = re.findall(r"^\| `(\w+)\(.*?\)`(?:, `(\w+)\(.*?\)`)? \|", README, flags=re.M)
    names = {name for pair in named for name in pair if name}
    assert len(names) >= 7
    assert names <= set(fastai_hf_callback.__all__)
