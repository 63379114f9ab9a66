"""Two processes under ``distrib_ctx`` against one on the joint batches; each runs ``distributed_worker.py``."""

import contextlib
import os
from collections import Counter

import numpy as np
import pytest
import torch
from fastai.callback.fp16 import MixedPrecision
from fastai.distributed import DistributedDL
from fastai.learner import AvgLoss, AvgMetric, Learner
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertForSequenceClassification

from fastai_hf_callback import InvalidInputError, heal
from fastai_hf_callback.demo.comments import LABELS, write_csv
from fastai_hf_callback.fastai2.compat.distributed import compute_gather_positions
from tests.distributed_launcher import ROOT, read, run_distributed, run_in_forks
from tests.fastai2.compat import distributed_worker
from tests.fastai2.compat.distributed_worker import (
    BS,
    EVEN,
    ODD,
    in_one_process,
    make_data,
    make_text_learner,
    record_fit,
    record_plain_predictions,
    record_predictions,
)
from tests.tiny_models import VOCAB
from tests.tiny_texts import fast_tokenizer

pytestmark = pytest.mark.slow

PARTS = ("distributed-on-cpu", "distributed-predictions", "distributed-metrics", "bf16-on-cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def both(folder):
    """What each of the two found."""
    run_in_forks(distributed_worker.work, folder)
    return read(folder)


@pytest.fixture(scope="module")
def one(folder):
    """What one process finds, on batches twice as large."""
    with torch.random.fork_rng():
        return {
            "even": record_fit(make_data(folder, EVEN, bs=2 * BS), in_one_process),
            "odd": record_fit(make_data(folder, ODD, bs=2 * BS), in_one_process),
            "look": record_predictions(make_data(folder, ODD), in_one_process),
            "plain": record_plain_predictions(in_one_process),
        }


def furthest(some, others):
    return max(float((a - b).abs().max()) for a, b in zip(some, others))


# -- training ----------------------------------------------------------------------------------------


def test_gradients_and_weights_are_those_of_one_process_on_the_joint_batches(both, one):
    for process in both:
        assert len(process["even"]["gradients"]) == len(one["even"]["gradients"]) == len(EVEN) // (2 * BS)
        assert furthest(process["even"]["gradients"], one["even"]["gradients"]) < 1e-6
        assert furthest(process["even"]["weights"][None], one["even"]["weights"][None]) < 1e-6
    assert torch.equal(both[0]["even"]["weights"], both[1]["even"]["weights"])


def test_and_not_where_each_process_keeps_its_gradients_to_itself(both, one):
    first, second = (process["unsynchronised"] for process in both)
    assert furthest(first["gradients"][:1], one["even"]["gradients"][:1]) > 1e-3
    assert furthest(first["gradients"], second["gradients"]) > 1e-3
    assert not torch.equal(first["weights"], second["weights"])


@pytest.mark.parametrize("fit", ["odd", "workers"])
def test_every_text_is_in_one_process_once_and_beside_those_it_would_have_in_one_process(both, one, fit):
    steps = list(zip(*(process[fit]["texts"] for process in both), one["odd"]["texts"]))
    assert len(steps) == len(one["odd"]["texts"]) == len(both[0][fit]["texts"]) == len(both[1][fit]["texts"])
    for first, second, together_ in steps:
        assert Counter(first + second) == Counter(together_) and abs(len(first) - len(second)) <= 1
    assert torch.equal(both[0][fit]["weights"], both[1][fit]["weights"])


def test_fastais_own_sharing_repeats_rows_and_lets_processes_wait(both, one):
    ours, theirs = ([process[fit] for process in both] for fit in ("odd", "fastai's fit"))
    rows = [sum(len(step) for process in fits for step in process["texts"]) for fits in (ours, theirs)]
    assert rows == [len(ODD), len(ODD) + 1]
    waiting = [sum(abs(a - b) for a, b in zip(*(process["widths"] for process in fits))) for fits in (ours, theirs)]
    computed = [sum(map(max, zip(*(process["widths"] for process in fits)))) for fits in (ours, theirs)]
    assert waiting[0] <= 8 < 20 < waiting[1] and computed[0] < 0.8 * computed[1]


def test_processes_with_other_rows_are_told(both):
    for process in both:
        assert process["other rows"] == (
            "InvalidInputError",
            "The processes have 40, 41 rows; expected the same rows in each: text_data with the same "
            "files and the same seed",
        )


# -- evaluation --------------------------------------------------------------------------------------

PREDICTED = ("preds", "preds of test", "preds of train", "ordered", "ordered train")


@pytest.mark.parametrize("where", ["look", "look outside"])
def test_metrics_are_over_the_whole_set_each_row_once(both, one, where):
    for process in both:
        assert process[where]["valid"] == pytest.approx(one["look"]["valid"], abs=1e-6)
        assert process[where]["test"] == pytest.approx(one["look"]["test"], abs=1e-6)
    assert both[0][where]["valid"] == both[1][where]["valid"], "or one would stop early and the other wait for it"


@pytest.mark.parametrize("where", ["look", "look outside"])
def test_predictions_are_complete_and_in_the_callers_order(both, one, where):
    for process in both:
        for name in PREDICTED:
            (outputs, targets), (expected, theirs) = process[where][name], one["look"][name]
            assert outputs.shape == expected.shape and furthest(outputs, expected) < 1e-6, name
            assert targets is theirs is None or torch.equal(targets, theirs), name
        assert furthest(process[where]["loss"], one["look"]["loss"]) < 1e-5
        assert furthest(process[where]["one text"], one["look"]["one text"]) < 1e-6


def test_and_neither_with_fastais_own_sharing(both, one):
    theirs = both[0]["fastai's look"]
    assert abs(theirs["valid"][1] - one["look"]["valid"][1]) > 1e-3
    assert furthest(theirs["preds"][0], one["look"]["preds"][0]) > 1e-3


def test_predicting_in_an_order_that_each_process_drew_for_itself_is_refused(both):
    for process in both:
        assert process["drawn"] == (
            "InvalidInputError",
            "An order drawn by each process for itself was given to predict in; expected one for all: "
            "write ordered_preds(learn, 'train'), or get_preds(ds_idx=0)",
        )


# -- the learner's other tools -----------------------------------------------------------------------


def test_a_checkpoint_written_meanwhile_has_the_bare_models_keys(both, folder):
    with torch.random.fork_rng():
        learn = make_text_learner(make_data(folder))
    saved = torch.load(folder / "models" / "weights.pth")
    assert list(saved) == list(learn.model.model.state_dict())
    learn.load("weights", with_opt=False)


def test_the_doctor_speaks_in_one_process_and_looks_in_both(both):
    first, second = (process["fault"] for process in both)
    assert first["causes"][0] == second["causes"][0] == "learning-rate-too-small"
    assert "learning-rate-too-small" in first["said"][0] and second["said"] == []
    assert first["missed"] == second["missed"] == []


def test_the_doctor_says_nothing_of_a_healthy_fit(both):
    assert [process["healthy"]["said"] for process in both] == [[], []]
    assert [process["healthy"]["missed"] for process in both] == [[], []]


def test_diagnose_works_in_one_process_alone_and_in_all(both):
    assert both[0]["diagnosis"] == both[0]["diagnosis of all"] == both[1]["diagnosis of all"]
    assert "pretrained-weights-not-loaded" in both[0]["diagnosis"]


def test_compare_is_refused_in_one_line(both):
    for process in both:
        assert process["compare"] == (
            "InvalidInputError",
            "compare was called in a group of 2 processes; expected one process: start it with "
            "python, not with torchrun or accelerate launch",
        )


# -- heal --------------------------------------------------------------------------------------------


def test_without_heal_fastai_asks_for_a_gpu(both):
    assert both[0]["without heal"] == ("AssertionError", "Torch not compiled with CUDA enabled")


def test_on_the_cpu_alone_fastai_scrambles_predictions_and_counts_rows_twice(both, one):
    one, two = one["plain"], both[0]["plain, on cpu"]
    assert furthest(two["preds"][0], one["preds"][0]) > 1e-3 and not torch.equal(two["preds"][1], one["preds"][1])
    assert abs(two["valid"][1] - one["valid"][1]) > 1e-3


@pytest.mark.parametrize("where", ["plain, mended", "plain, outside"])
def test_mended_both_are_those_of_one_process(both, one, where):
    one = one["plain"]
    for process in both:
        assert process["mended"] == PARTS
        assert furthest(process[where]["preds"][0], one["preds"][0]) < 1e-6
        assert torch.equal(process[where]["preds"][1], one["preds"][1])
        assert process[where]["valid"] == pytest.approx(one["valid"], abs=1e-6)
    assert both[0][where]["valid"] == both[1][where]["valid"]


def held():
    """Everything that heal replaces."""
    owners = (DistributedDL, Learner, AvgMetric, AvgLoss, MixedPrecision)
    return [dict(vars(owner)) for owner in owners]


def test_heal_puts_everything_back_also_after_an_exception():
    before = held()
    with heal() as mended, heal("distributed-metrics"):
        assert mended == PARTS and all(now != then for now, then in zip(held(), before))
    assert held() == before
    with contextlib.suppress(ZeroDivisionError), heal():
        1 / 0  # noqa: B018
    assert held() == before


def test_heal_has_no_part_of_another_name():
    with pytest.raises(InvalidInputError, match="heal has no part 'distributed'; did you mean 'distributed-on-cpu'"):
        heal("distributed")


def test_one_process_is_not_touched_by_heal(one):
    with heal(), torch.random.fork_rng():
        mended = record_plain_predictions(in_one_process)
    assert mended["valid"] == one["plain"]["valid"] and torch.equal(mended["preds"][0], one["plain"]["preds"][0])
    assert "WORLD_SIZE" not in os.environ


@given(st.integers(1, 300), st.integers(1, 64), st.integers(1, 16))
@settings(max_examples=200, deadline=None)
def test_rows_that_are_put_together_step_by_step_come_in_order(rows, world, bs):
    """Gathered as fastai does it: at each step the batches of all processes, cut where the repeats begin."""
    share = -(-rows // world)
    order = np.full(share * world, -1)
    order[compute_gather_positions(rows, world, bs)] = np.arange(rows)
    each = order.reshape(world, share)
    together_ = np.concatenate([each[:, at : at + bs].ravel() for at in range(0, share, bs)])
    assert together_[together_ >= 0].tolist() == list(range(rows))
    assert all(
        (part >= 0).argmin() == (part >= 0).sum() or (part >= 0).all()
        for part in (each[:, at : at + bs].ravel() for at in range(0, share, bs))
    ), "the repeats are the last of each step"


# -- the page ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_script_on_the_page_runs_in_two_processes(tmp_path):
    write_csv(tmp_path / "comments.csv", 300)
    settings = BertConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        num_labels=len(LABELS),
    )
    BertForSequenceClassification(settings).save_pretrained(tmp_path / "model")
    fast_tokenizer(tmp_path).save_pretrained(tmp_path / "model")
    said = run_distributed(
        ROOT / "docs" / "distributed" / "fastai2.py", tmp_path / "comments.csv", tmp_path / "model", cwd=str(tmp_path)
    )
    assert "60 predictions" in said and said.count("a fit over 240 texts") == 1
    assert (tmp_path / "models" / "trained.pth").is_file()
