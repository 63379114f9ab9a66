"""The article's recipe as a script: it runs, its submission is in order, fastai is put back; and its twin."""

import csv
import os
import re
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("fastai.basic_train")

ROOT = Path(__file__).parents[2]
ARTICLE, PAGE = ROOT / "docs" / "article", ROOT / "docs" / "the-article.md"

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("fastai.text")
    sys.path.insert(0, str(ARTICLE))
    try:
        import measure
        import recipe
    finally:
        sys.path.remove(str(ARTICLE))
    from fastai.basic_data import DatasetType

from fastai_hf_callback import heal, patched_loop  # noqa: E402
from fastai_hf_callback.demo.comments import LABELS, write_csv  # noqa: E402
from tests.fastai1.compat.heal.patched_state import same_state, world  # noqa: E402

pytestmark = pytest.mark.slow
ROWS, BATCH, MAX_LEN = 300, 16, 256


@pytest.fixture(scope="module")
def argv(tmp_path_factory):
    """A CSV, a model whose answers differ widely from row to row, and a rate at which they go on doing so."""
    folder = tmp_path_factory.mktemp("article")
    write_csv(folder / "comments.csv", n=ROWS)
    with open(str(folder / "comments.csv"), encoding="utf-8") as file:
        texts = [row["comment_text"] for row in csv.DictReader(file)]
    torch.manual_seed(0)
    model = measure.tiny_bert(folder / "model", texts, MAX_LEN, width=0.2)
    return [
        "--csv",
        str(folder / "comments.csv"),
        "--model",
        str(model),
        "--bs",
        str(BATCH),
        "--epochs",
        "1",
        "--max-length",
        str(MAX_LEN),
        "--lr",
        "1e-5",
        "--out",
        str(folder / "submission.csv"),
    ]


@pytest.fixture(scope="module")
def ran(argv):
    """The recipe, run once: what it handed to its report, its figures, and fastai before and after."""
    seen = watched(recipe, argv)
    seen["expected"] = padded_as_the_recipe_does(seen["learn"], seen["tokenizer"], seen["test"]["comment_text"])
    return seen


def watched(script, argv):
    seen, before, original = {}, world(), script.report

    def report(config, learn, tokenizer, meter, building, training, valid, test, predictions):
        seen.update(config=config, learn=learn, tokenizer=tokenizer, test=test, predictions=predictions, meter=meter)
        return original(config, learn, tokenizer, meter, building, training, valid, test, predictions)

    script.report = report
    try:
        with warnings.catch_warnings():
            seen["figures"] = script.main(argv)
    finally:
        script.report = original
    seen["put back"] = same_state(before, world())
    seen["alone"] = measure.alone(seen["learn"].model, seen["tokenizer"], seen["test"]["comment_text"], MAX_LEN)
    with open(seen["config"].out, encoding="utf-8") as file:
        seen["submission"] = list(csv.DictReader(file))
    return seen


def share_in_place(predictions, expected):
    """The share of rows whose prediction is what is expected of that very text."""
    return float(np.isclose(predictions, expected, atol=1e-5).all(1).mean())


def padded_as_the_recipe_does(learn, tokenizer, texts):
    """The probabilities of each text by itself, with as much padding in front as the longest of its batch asks for.

    So worked out anew: the recipe's padding sways its predictions more than their order does.
    """
    rows = [tokenizer.convert_tokens_to_ids(["[CLS]", *tokenizer.tokenize(text), "[SEP]"]) for text in texts]
    longest_first = sorted(range(len(rows)), key=lambda row: len(rows[row]), reverse=True)
    made = [None] * len(rows)
    for at, row in enumerate(longest_first):
        length = len(rows[longest_first[at - at % BATCH]])
        ids = torch.tensor([[1] * (length - len(rows[row])) + rows[row]])
        with torch.no_grad():
            made[row] = torch.sigmoid(learn.model.eval()(ids)[0])[0].numpy()
    return np.stack(made)


def probabilities(submission):
    return np.array([[float(row[label]) for label in LABELS] for row in submission])


def test_the_submission_has_a_row_for_each_text_in_the_order_of_the_test_set(ran):
    texts = list(ran["test"]["comment_text"])
    assert [row["comment_text"] for row in ran["submission"]] == texts and len(set(texts)) == ROWS // 5
    assert share_in_place(probabilities(ran["submission"]), ran["expected"]) == 1


def test_left_in_the_loaders_order_the_predictions_would_be_other_texts(ran):
    with measure.silence(), patched_loop():
        raw = ran["learn"].get_preds(DatasetType.Test)[0].numpy()
        ordered = recipe.get_preds_as_nparray(ran["learn"], DatasetType.Test)
    assert share_in_place(raw, ran["expected"]) < 0.1
    assert share_in_place(ordered, ran["expected"]) == 1


def test_the_recipes_padding_is_what_the_page_says(ran):
    meter = ran["meter"]
    assert meter.pad_ids == {1} and meter.masked == 0
    assert meter.in_front == meter.positions - meter.real > 0 and meter.begin < meter.rows
    assert np.abs(ran["predictions"] - ran["alone"]).max() > 0.01


def test_fastai_is_put_back(ran):
    assert ran["put back"]


def test_without_heal_it_stops_today_while_the_data_is_made(argv):
    with heal("ragged-arrays") as mended:
        pass
    if not mended:
        pytest.skip("ragged arrays are no trouble on these versions")
    with warnings.catch_warnings(), pytest.raises(ValueError, match="inhomogeneous") as raised:
        recipe.run(recipe.arguments(recipe.__doc__, argv))
    assert "make_databunch" in {entry.name for entry in raised.traceback}


def test_offline_and_without_arguments_it_prints_its_figures(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ARTICLE / "recipe.py"), "--rows", "100", "--epochs", "1"],
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    for name in ("epoch 0", "mean AUC on valid", "padding", "computed per real token", "training"):
        assert re.search(f"^ *{re.escape(name)}", done.stdout, re.M), done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["submission.csv"]


# -- the page -------------------------------------------------------------------------------------------


def blocks():
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


@pytest.fixture
def page(argv, tmp_path, monkeypatch):
    """The names that the page's code is given, in a module of their own: worker processes look classes up there."""
    config = measure.arguments("the page", argv)
    with warnings.catch_warnings():
        train, valid, test, folder = measure.prepare(config, tmp_path)
    module = types.ModuleType("the_page")
    monkeypatch.setitem(sys.modules, "the_page", module)
    vars(module).update(
        train=train, valid=valid, test=test, folder=folder, label_cols=config.labels, path=str(tmp_path)
    )
    return vars(module)


def lines_of(block):
    return len([line for line in block.splitlines() if line.strip() and not re.match(r"\s*(from|import|#)", line)])


def test_the_page_counts_its_lines():
    theirs, ours = blocks()
    assert f"{lines_of(theirs)} lines" in PAGE.read_text(encoding="utf-8")
    assert f"{lines_of(ours)} lines" in PAGE.read_text(encoding="utf-8")
    assert lines_of(ours) <= 10 < lines_of(theirs)


def test_the_recipe_on_the_page_runs(page):
    with warnings.catch_warnings(), measure.silence(), heal(), patched_loop():
        warnings.simplefilter("ignore")
        exec(blocks()[0], page)
    assert page["test_preds"].shape == (ROWS // 5, len(LABELS))


def test_the_ten_lines_on_the_page_run(page):
    with warnings.catch_warnings(), measure.silence():
        warnings.simplefilter("ignore")
        exec(blocks()[1], page)
    assert page["preds"].shape == (ROWS // 5, len(LABELS))


# -- the twin ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twin_ran(argv):
    sys.path.insert(0, str(ARTICLE))
    try:
        import ten_lines
    finally:
        sys.path.remove(str(ARTICLE))
    return watched(ten_lines, argv)


def test_the_twin_prints_and_writes_what_the_recipe_does(ran, twin_ran):
    assert list(twin_ran["figures"]) == list(ran["figures"])
    assert [list(row) for row in twin_ran["submission"]] == [list(row) for row in ran["submission"]]
    assert [row["comment_text"] for row in twin_ran["submission"]] == list(ran["test"]["comment_text"])
    assert twin_ran["put back"]


def test_the_twins_predictions_are_those_of_each_text_by_itself(twin_ran):
    assert share_in_place(probabilities(twin_ran["submission"]), twin_ran["alone"]) == 1
    assert np.abs(twin_ran["predictions"] - twin_ran["alone"]).max() < 1e-4


def test_the_twin_pads_behind_and_masks(twin_ran):
    meter = twin_ran["meter"]
    assert meter.in_front == 0 and meter.begin == meter.rows
    assert meter.masked == meter.positions - meter.real > 0
