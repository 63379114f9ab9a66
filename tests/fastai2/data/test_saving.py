"""text_data on fastai 2: learners and data saved, exported, pickled and loaded."""

import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from fastai.learner import load_learner

from fastai_hf_callback import (
    InvalidInputError,
    ordered_preds,
)
from tests.fastai2.data.text_learners import ITEM, TASKS, VALID, make_data, make_learner, rows_of
from tests.fastai2.learners import without_progress_bar


@pytest.mark.slow
def test_learners_of_every_task_travel_into_a_new_process(tokenizer, tmp_path):
    here, items = {}, {task: ITEM.get(task, "the fox hides near the elm") for task in TASKS}
    for task, item in items.items():
        learn = make_learner(make_data(tokenizer, task, path=tmp_path), task)
        learn.export(f"{task}.pkl")
        assert len(learn.dls.valid_ds) == len(VALID)
        here[task] = learn.predict(item)
    program = textwrap.dedent(f"""
        import warnings; warnings.simplefilter("ignore")
        import torch
        from fastai.learner import load_learner
        for task, item in {items!r}.items():
            learn = load_learner({str(tmp_path)!r} + "/" + task + ".pkl")
            told = learn.predict(item)
            torch.save(told[2], {str(tmp_path)!r} + "/" + task + ".pt")
            print(task, repr(told[0]))
    """)
    there = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert there.returncode == 0, there.stderr
    assert there.stdout.strip().splitlines() == [f"{task} {told[0]!r}" for task, told in here.items()]
    for task, told in here.items():
        assert torch.equal(torch.load(str(tmp_path / f"{task}.pt")), told[2])


def test_an_export_has_no_texts_and_takes_new_ones(tokenizer, tmp_path):
    learn = make_learner(
        make_data(tokenizer, labels=["share", "plural"], task="regression", path=tmp_path), "regression"
    )
    assert learn.dls.c == 2 and learn.dls.classes == ["share", "plural"] and learn.dls.one_batch()[-1].shape == (8, 2)
    learn.export("model.pkl")
    loaded = without_progress_bar(load_learner(tmp_path / "model.pkl"))
    assert loaded.dls.c == 2 and loaded.dls.classes == ["share", "plural"] and not len(loaded.dls.valid_ds)
    found = ordered_preds(loaded, loaded.dls.test_dl(VALID))[0]
    assert torch.allclose(found, learn.get_preds()[0], atol=1e-6) and len(loaded.predict("the fox")[0]) == 2
    with pytest.raises(InvalidInputError, match="the valid set has no rows"):
        ordered_preds(loaded)
    with pytest.raises(InvalidInputError):
        loaded.predict(None)
    assert len(loaded.predict("the fox")[0]) == 2


def test_a_learner_saved_and_loaded_predicts_the_same(tokenizer, tmp_path):
    dls = make_data(tokenizer, path=tmp_path)
    learn = make_learner(dls)
    learn.fit(1, 1e-2)
    learn.save("stage")
    other = make_learner(dls)
    before = other.get_preds()[0]
    other.load("stage")
    assert torch.equal(other.get_preds()[0], learn.get_preds()[0]) and not torch.equal(before, learn.get_preds()[0])


@pytest.mark.parametrize("task", TASKS)
def test_data_pickled_make_the_same_batches(tokenizer, task):
    dls = make_data(tokenizer, task)
    there = pickle.loads(pickle.dumps(dls))
    assert there.inputs == dls.inputs and there.c == dls.c and there.classes == dls.classes
    for here_dl, there_dl in zip(dls.loaders[1:], there.loaders[1:]):
        for here, elsewhere in zip(here_dl, there_dl):
            assert all(map(torch.equal, here, elsewhere))
    assert sorted(rows_of(there.train)) == sorted(rows_of(dls.train))
