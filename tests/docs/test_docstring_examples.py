"""The Examples sections of docstrings run, on each stack in its own fastai's words."""

import doctest
from contextlib import ExitStack
from importlib import import_module

import pandas as pd
import pytest
import torch

import fastai_hf_callback
from tests.docs.block_fixtures import given
from tests.installed_stack import FASTAI_1
from tests.slow_marks import mark_slow_after

if FASTAI_1:
    learners = pytest.importorskip("fastai.basic_train")
    from fastai.basic_data import DatasetType
else:
    learners = pytest.importorskip("fastai.learner")
    DatasetType = None
ROOM = "fastai1" if FASTAI_1 else "fastai2"
SHOWN = {
    "HFModel": "model.wrapper",
    "unwrap": "model.output",
    "text_data": "data.text_data",
    "layer_groups": f"{ROOM}.layer_groups",
    "ordered_preds": f"{ROOM}.data.ordered_preds",
    "HFCallback": f"{ROOM}.callback",
    "compare": f"{ROOM}.comparison.compare",
    "diagnose": f"{ROOM}.diagnosis.diagnose",
    "Doctor": f"{ROOM}.diagnosis.doctor",
}


def run(name, source, namespace):
    """How many examples of a docstring ran, and how many failed."""
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner(verbose=False)
    (found,) = finder.find(source, name, module=False, globs=namespace)
    result = runner.run(found)
    return result.attempted, result.failed


@pytest.fixture
def namespace():
    """What stands ready: `train` and `valid` tables, `tokenizer`, `model`, `data`, `learn` and `make_learner`."""
    names = given(["frames", "tokenizer", "learn"])
    torch.manual_seed(0)
    for module in names["learn"].model.modules():  # those of a model without pretrained weights are all at 1
        if type(module).__name__ == "LayerNorm":
            module.weight.data += 0.1 * torch.randn(len(module.weight))
    data = names["learn"].data if FASTAI_1 else names["learn"].dls
    public = {name: getattr(fastai_hf_callback, name) for name in fastai_hf_callback.__all__}
    ready = {"model": names["learn"].model.model, "data": data, "torch": torch, "pd": pd, "DatasetType": DatasetType}
    no_progress = import_module(f"fastai_hf_callback.{ROOM}.compat.no_progress").no_progress

    def quiet_learner(*args, **kwargs):
        learn = learners.Learner(*args, **kwargs)
        patches.enter_context(no_progress(learn))
        return learn

    with ExitStack() as patches:
        patches.enter_context(no_progress(names["learn"]))
        yield {**public, **names, **ready, "Learner": quiet_learner}


@pytest.mark.parametrize("name", mark_slow_after(3, SHOWN))
def test_the_examples_run(name, namespace):
    source = getattr(import_module(f"fastai_hf_callback.{SHOWN[name]}"), name)
    attempted, failed = run(name, source, namespace)
    assert attempted >= 2 and not failed
    assert source.__doc__.strip() == getattr(fastai_hf_callback, name).__doc__.strip(), "what a user reads"


def test_a_wrong_example_fails():
    def shown():
        """Add.

        >>> 1 + 1
        3
        """

    assert run("shown", shown, {}) == (1, 1)
