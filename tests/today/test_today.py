"""A few cells of ``docs/evidence/today.md``, and next to each check something broken that it must see."""

import json
from collections import Counter

import pytest
import torch
from torch import nn

from fastai_hf_callback import HFCallback, compare
from tests.today import cells, checkpoints, checks, learners, new_process, page, run_cell, texts
from tests.today.cells import cell_of

ENCODER = cell_of("float32 - full - encoder - classes - fastai's loss")
FROZEN = cell_of("float32 - frozen body - encoder - classes - fastai's loss")
# Every precision, way of training and kind of loss, and each side of padding.
SAMPLE = (
    "float32 - LoRA - decoder padded left - classes - torch's loss",
    "bf16 - full - encoder-decoder - number - weighted loss",
    "fp16 - frozen body - encoder - classes - fastai's loss",
)


@pytest.fixture(scope="module", autouse=True)
def _shorter():
    """Shorten what the page takes its time for; the signal is strong enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "PRETRAINING_EPOCHS", 3)
        patch.setattr(learners, "EPOCHS", {"full": 3, "LoRA": 3, "frozen body": 3})
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("today")


@pytest.fixture(scope="module")
def trained(folder):
    """Return the learner of an encoder, and how it was made."""
    setting = learners.setting_of(ENCODER, folder)
    return run_cell.train(setting), setting


# -- a few cells ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_a_cell_passes(name, folder):
    row = run_cell.row_of(name, folder)
    assert (row["outcome"], row["failures"]) == ("passed", {})


# -- next to each check, what it must see ------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_learner_is_right(trained):
    assert checks.check_predict(trained[0], "classes") == "6 texts"
    assert float(checks.check_batch_mates(*trained)) < 1e-4
    assert checks.check_weights(*trained) == "41 trained, 0 frozen"


@pytest.mark.slow
def test_a_mask_that_is_dropped_is_seen(trained):
    learn, setting = trained

    def drop(module, args, named):
        return args, {**named, "attention_mask": torch.ones_like(named["attention_mask"])}

    hook = learn.model.model.register_forward_pre_hook(drop, with_kwargs=True)
    try:
        with pytest.raises(AssertionError, match="next to a longer one"):
            checks.check_batch_mates(learn, setting)
    finally:
        hook.remove()


@pytest.mark.slow
def test_logits_in_the_place_of_probabilities_are_seen(trained, monkeypatch):
    monkeypatch.setattr(checks, "predict_one", lambda *args: torch.tensor([2.0, -1.0, 0.5]))
    with pytest.raises(AssertionError, match="no probabilities"):
        checks.check_predict(trained[0], "classes")


@pytest.mark.slow
def test_other_weights_in_an_exported_folder_are_seen(trained, tmp_path):
    learn, _ = trained
    checks.write_export(learn, "classes", tmp_path / "same")
    checks.write_export(learn, "classes", tmp_path / "other")
    answers = torch.load(tmp_path / "other" / "answers.pt")
    torch.save({**answers, "probabilities": answers["probabilities"] + 1e-6}, tmp_path / "other" / "answers.pt")
    faults = new_process.check_exported([tmp_path / "same", tmp_path / "other", tmp_path / "none"])
    same, other, none = (faults[str(tmp_path / name)] for name in ("same", "other", "none"))
    assert same == "" and "differ by up to" in other and "No such file" in none


@pytest.mark.slow
def test_a_frozen_weight_that_moves_is_seen(folder):
    setting = learners.setting_of(FROZEN, folder)
    learn = run_cell.train(setting)
    assert checks.check_weights(learn, setting) == "4 trained, 37 frozen"
    frozen = next(learn.model.model.parameters())
    with torch.no_grad():
        frozen.view(-1)[0] += 1e-6
    with pytest.raises(AssertionError, match="1 of 37 frozen tensors moved"):
        checks.check_weights(learn, setting)


@pytest.mark.slow
def test_weights_that_train_in_half_precision_are_seen(trained):
    learn, setting = trained
    head = learn.model.model.classifier
    head.to(torch.bfloat16)
    try:
        with pytest.raises(AssertionError, match="2 tensors trained in torch.bfloat16"):
            checks.check_weights(learn, setting)
    finally:
        head.float()


@pytest.mark.slow
def test_a_fit_that_learns_nothing_is_seen(folder):
    setting = learners.setting_of(ENCODER, folder)
    comparison = compare(setting.make_learner, lambda learn: learn.fit(1, 1e-9), progress=False)
    with pytest.raises(AssertionError, match="error"):
        checks.check_learned(comparison, "classes")


@pytest.mark.slow
def test_another_tensor_is_seen(folder):
    class Scaled(HFCallback):
        def after_pred(self):
            super().after_pred()
            self.learn.pred = self.learn.pred * 1.0000001

    def make_learner():
        learn = learners.setting_of(ENCODER, folder).make_learner()
        learn.remove_cb(HFCallback)
        learn.add_cb(Scaled())
        return learn

    comparison = compare(make_learner, lambda learn: learn.fit(1, 1e-3), arms=("callback", "patched"), progress=False)
    with pytest.raises(AssertionError, match="patched"):
        checks.check_comparison(comparison)


# -- cells and page ----------------------------------------------------------------------------------------------------


def test_every_pair_of_values_is_run():
    possible = [cell for cell in cells.all_cells() if not cells.impossible(cell)]
    chosen = cells.chosen_cells()
    pairs = {pair for cell in possible for pair in cells.pairs_in(cell)}
    assert {pair for cell in chosen for pair in cells.pairs_in(cell)} == pairs
    assert len(chosen) == len(set(chosen)) < len(possible) / 2
    whole = [cell for cell in chosen if cell.training == "full" and cell.precision in ("float32", "bf16")]
    assert len(whole) == 2 * 4 * 4 * 3
    less = cells.pairwise_cover(possible)[:-1]
    assert {pair for cell in less for pair in cells.pairs_in(cell)} != pairs


@pytest.mark.slow
def test_a_cell_that_fails_says_why_and_hides_no_other(monkeypatch, folder):
    def refuse(*args, **named):
        raise ValueError("first line\n  the last one")

    monkeypatch.setattr(checks, "check_weights", refuse)
    monkeypatch.setattr(checks, "write_export", lambda *args: None)
    monkeypatch.setattr(run_cell, "compare", refuse)
    row = run_cell.row_of(str(ENCODER), folder)
    assert row["outcome"] == "FAILED" and row["failures"]["weights"] == "ValueError: the last one"
    assert row["failures"]["compare"] == "ValueError: the last one" and "predict" in row["checks"]


def test_the_page_shows_what_failed():
    rows = {
        str(ENCODER): {"name": str(ENCODER), "outcome": "passed", "checks": {"learned": "0.01"}, "failures": {}},
        str(FROZEN): {"name": str(FROZEN), "outcome": "FAILED", "checks": {}, "failures": {"learned": "a | b"}},
    }
    text = page.page({"versions": {"python": "3", "torch": "2"}, "minutes": 1.0, "rows": rows})
    assert f"**{len(cells.chosen_cells()) - 2} cells have not been run yet**" in text
    assert "| float32 | frozen body | 1 | 0 | 1 |" in text and "| all | | 2 | 1 | 1 |" in text
    assert f"- {FROZEN}: *learned*: a \\| b" in text and f"| {ENCODER} | – | 0.01 |" in text


def test_the_stored_page_is_that_of_the_stored_rows():
    if page.RESULTS.exists():
        assert page.PAGE.read_text(encoding="utf-8") == page.page(json.loads(page.RESULTS.read_text(encoding="utf-8")))


def test_a_run_that_was_interrupted_goes_on(monkeypatch, tmp_path):
    asked = []

    def rows_of(names, *args):
        asked.append(names)
        for name in names[:2]:
            yield {"name": name, "outcome": "passed", "why": "", "checks": {}, "failures": {}, "seconds": 1.0}

    monkeypatch.setattr(page, "WORK", tmp_path / "work")
    monkeypatch.setattr(page, "UNFINISHED", tmp_path / "work" / "rows.jsonl")
    monkeypatch.setattr(page, "rows_of", rows_of)
    names = [str(cell) for cell in cells.chosen_cells()[:4]]
    with pytest.raises(KeyError):  # two of four, as if the rest had been interrupted
        page.run(names, 1, whole=True)
    assert list(page.run(names, 1, whole=True)[0]) == names
    assert asked == [names, names[2:]]


@pytest.mark.parametrize("task", cells.AXES["task"])
def test_texts_hold_their_signal_and_a_constant_does_not(task):
    frame = texts.make_table(task, 64, seed=5)
    assert frame.equals(texts.make_table(task, 64, seed=5)) and not frame.equals(texts.make_table(task, 64, seed=6))
    assert texts.constant_error(task, frame) > 0.2


def test_losses_are_those_of_the_cell():
    kinds = Counter(type(learners.make_loss(cell)) for cell in cells.all_cells())
    assert kinds[type(None)] == kinds[nn.MSELoss] * 4 == 144 and kinds[learners.WeightedSquares] == 36


def test_weighted_squares_weigh():
    loss = learners.WeightedSquares()
    assert loss(torch.tensor([[1.0], [5.0]]), torch.tensor([2.0, 4.0])) == (1 + 2) / 2
