"""What blocks of the pages leave behind: so many steps, a submission in order, attentions while a batch runs."""

import sys
import types

import pytest
import torch

from tests.docs.code_blocks import ROOT, blocks_of
from tests.installed_stack import FASTAI_1, FASTAI_2
from tests.tiny_models import VOCAB
from tests.tiny_texts import ANIMALS, OTHERS, PLANTS, frame

if not (FASTAI_1 or FASTAI_2):
    pytest.skip("needs a fastai", allow_module_level=True)

from tests.docs.block_fixtures import given, learn, tokenizer

DOCS = ROOT / "docs"
OURS = f"# fastai {1 if FASTAI_1 else 2}\n"


def block_of(page, word):
    """The block of this fastai that holds a word."""
    found = [block.text for block in blocks_of(DOCS / page) if block.text.startswith(OURS) and word in block.text]
    assert len(found) == 1, f"{page}: {len(found)} blocks of {word}"
    return found[0]


@pytest.fixture
def names():
    """What the page's reader has by then: what was imported to train, a folder with a model, its tokenizer."""
    known = {**given(["train.csv", "folder"]), **tokenizer()}
    exec(ten_lines(), known)
    return known


def ten_lines():
    pages = [block.text for block in blocks_of(DOCS / "start.md") if "fit_one_cycle(2, 1e-4)" in block.text]
    return pages[0 if FASTAI_1 else 1]


def count_steps(learner):
    """Of the last fit; fastai 2's recorder begins again when it predicts, its optimizer's state does not."""
    if FASTAI_1:
        return len(learner.recorder.losses)
    return next(state["step"] for state in learner.opt.state.values() if "step" in state)


@pytest.mark.parametrize("page", ["tasks.md", "comparing-in-ci.md"])
def test_each_fastai_has_the_same_blocks(page):
    blocks = [b.text for b in blocks_of(DOCS / page) if b.mark.said == "tests/docs/test_page_results.py"]
    assert len(blocks) >= 2
    assert len([b for b in blocks if b.startswith("# fastai 1\n")]) * 2 == len(blocks)
    assert len([b for b in blocks if b.startswith("# fastai 2\n")]) * 2 == len(blocks)


def test_the_ten_lines_train_and_predict(names):
    assert count_steps(names["learn"]) == 16  # 256 of 320 rows, 32 at a time, twice
    assert len([line for line in ten_lines().splitlines() if line.strip()]) <= 10


def test_a_submission_is_written(names):
    import pandas

    called = {"text": "comment", "animal": "toxic", "plant": "insult"}
    test = frame(20, 3).rename(columns=called)[["comment"]].assign(id=range(20))
    train, valid = (frame(rows, seed).rename(columns=called) for rows, seed in ((60, 1), (30, 2)))
    exec(block_of("tasks.md", "submission.csv"), {**names, "test": test, "train": train, "valid": valid})
    sent = pandas.read_csv("submission.csv")
    assert list(sent) == ["id", "toxic", "insult"] and sent.id.tolist() == list(range(20)) and sent.notna().all().all()


def test_a_loss_of_ones_own_predicts_probabilities(names):
    exec(block_of("tasks.md", "weights = "), names)
    assert names["learn"].loss_func.weight is names["weights"]
    assert float(names["probabilities"].sum()) == pytest.approx(1, abs=1e-5)
    assert str(names["name"]) in (names.get("dls") or names["data"]).classes


@pytest.mark.slow
def test_batches_of_ones_own_train(names):
    names.update(train_ds=rows(), valid_ds=rows())
    exec(block_of("tasks.md", "train_ds"), names)
    assert count_steps(names["learn"]) == 6  # 96 rows, 32 at a time, twice


def rows(n=96):
    """As a Dataset of each fastai has them."""
    ids = torch.randint(5, VOCAB, (n, 8))
    made = [((row, torch.ones_like(row)), int(row[0] > VOCAB // 2)) for row in ids]
    return made if FASTAI_1 else [(*inputs, torch.tensor(label)) for inputs, label in made]


def test_the_attentions_are_there_while_the_batch_runs(names):
    model = names["learn"].model
    if FASTAI_1:
        model.config.output_attentions = True
        for module in model.modules():
            if hasattr(module, "output_attentions"):
                module.output_attentions = True
    else:
        model.model.set_attn_implementation("eager")
        model.config.output_attentions = True
    exec(block_of("tasks.md", "class Look"), names)
    names["learn"].fit(1, 1e-3)
    callbacks = names["learn"].callbacks if FASTAI_1 else names["learn"].cbs
    attentions = next(callback for callback in callbacks if type(callback) is names["Look"]).attentions
    assert len(attentions) == 2 and attentions[0].shape[:2] == (32, 2)  # a batch of two heads
    assert names["unwrapping"].output is None


@pytest.mark.slow
def test_the_factory_proves(monkeypatch):
    import pandas

    learn()  # which writes the folder "model"
    told = [
        (f"{word} {one} {other}", word in ANIMALS)
        for word in ANIMALS + PLANTS
        for one in OTHERS[:4]
        for other in OTHERS[4:8]
    ]
    pandas.DataFrame(told, columns=["text", "label"]).astype({"label": int}).to_csv("train.csv", index=False)
    train = types.ModuleType("train")
    factory = block_of("comparing-in-ci.md", "def make_learner").replace("./bert-base", "model")
    exec(factory.replace('"label")', '"label", bs=8, max_length=32)'), vars(train))
    monkeypatch.setitem(sys.modules, "train", train)
    proof = next(block.text for block in blocks_of(DOCS / "comparing-in-ci.md") if "def test_callback" in block.text)
    namespace = {}
    exec(proof.replace("fit_one_cycle(1, 1e-3)", "fit_one_cycle(4, 1e-2)"), namespace)
    namespace["test_callback_equals_patched_loop"]()
