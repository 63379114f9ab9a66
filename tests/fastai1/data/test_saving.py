"""text_data on fastai 1: learners and data saved, exported and loaded."""

import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DatasetType, load_data
    from fastai.basic_train import load_learner

from fastai_hf_callback import (
    InvalidInputError,
    trusted,
)
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from tests.fastai1.data.text_learners import ITEM, TASKS, make_data, make_learner, rows_of


@pytest.mark.slow
def test_learners_of_every_task_travel_into_a_new_process(slow, tmp_path):
    here, items = {}, {task: ITEM.get(task, "the fox hides near the elm") for task in TASKS}
    for task, item in items.items():
        learn = make_learner(make_data(slow, task, path=tmp_path), task)
        learn.export(f"{task}.pkl")
        here[task] = learn.predict(item)
    program = textwrap.dedent(f"""
        import warnings; warnings.simplefilter("ignore")
        import torch
        from fastai.basic_train import load_learner
        from fastai_hf_callback import trusted
        for task, item in {items!r}.items():
            with trusted({str(tmp_path)!r}):
                learn = load_learner({str(tmp_path)!r}, task + ".pkl")
            told = learn.predict(item)
            torch.save(told[2], {str(tmp_path)!r} + "/" + task + ".pt")
            print(task, told[0])
    """)
    there = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert there.returncode == 0, there.stderr
    assert there.stdout.strip().splitlines() == [f"{task} {told[0]}" for task, told in here.items()]
    for task, told in here.items():
        assert torch.equal(torch.load(str(tmp_path / f"{task}.pt")), told[2])


def test_a_loaded_learner_forgets_an_item_that_failed_too(slow, tmp_path):
    make_learner(make_data(slow, path=tmp_path)).export("model.pkl")
    with trusted(tmp_path / "model.pkl"):
        learn = load_learner(tmp_path, "model.pkl")
    with pytest.raises(InvalidInputError):
        learn.predict(None)
    assert learn.data.single_ds.item is None


def test_a_learner_saved_and_loaded_predicts_the_same(slow, tmp_path):
    data = make_data(slow, path=tmp_path)
    learn = make_learner(data)
    with no_progress(learn):
        learn.fit(1, 1e-2)
    learn.save("stage")
    other = make_learner(data)
    before = other.get_preds()[0]
    other.load("stage")
    assert torch.equal(other.get_preds()[0], learn.get_preds()[0]) and not torch.equal(before, learn.get_preds()[0])


@pytest.mark.parametrize("task", TASKS)
def test_data_saved_and_loaded_make_the_same_batches(slow, task, tmp_path):
    data = make_data(slow, task, path=tmp_path)
    data.save("data.pkl")
    with trusted(tmp_path / "data.pkl"):
        there = load_data(tmp_path, "data.pkl", bs=8, device=torch.device("cpu"))
    assert there.inputs == data.inputs and there.c == data.c
    for ds_type in (DatasetType.Valid, DatasetType.Test):
        for (here_x, here_y), (there_x, there_y) in zip(data.dl(ds_type), there.dl(ds_type)):
            assert all(map(torch.equal, here_x, there_x)) and torch.equal(here_y, there_y)
    assert sorted(rows_of(there, DatasetType.Train)) == sorted(rows_of(data, DatasetType.Train))
