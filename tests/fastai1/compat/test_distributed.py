"""Two processes under ``to_distributed`` against one on the joint batches; each runs ``distributed_worker.py``."""

from collections import Counter

import pytest
import torch

pytest.importorskip("fastai.basic_train")
pytest.importorskip("spacy")  # fastai.distributed imports fastai.text

from pytorch_transformers import BertConfig, BertForSequenceClassification

from fastai_hf_callback.demo.comments import LABELS, write_csv
from tests.distributed_launcher import ROOT, read, run_distributed, run_in_forks
from tests.fastai1.compat import distributed_worker
from tests.fastai1.compat.distributed_worker import (
    BS,
    EVEN,
    ODD,
    in_one_process,
    make_data,
    make_text_learner,
    record_fit,
    record_plain_fit,
    record_predictions,
)
from tests.tiny_models import VOCAB
from tests.tiny_texts import write_vocabulary

pytestmark = pytest.mark.slow


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
            "workers": record_fit(make_data(folder, ODD, bs=2 * BS, num_workers=1), in_one_process),
            "look": record_predictions(make_data(folder, ODD), in_one_process),
            "plain": record_plain_fit(in_one_process),
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
    steps = list(zip(*(process[fit]["texts"] for process in both), one[fit]["texts"]))
    assert len(steps) == len(one[fit]["texts"]) == len(both[0][fit]["texts"]) == len(both[1][fit]["texts"])
    for first, second, joint in steps:
        assert Counter(first + second) == Counter(joint) and abs(len(first) - len(second)) <= 1
    assert torch.equal(both[0][fit]["weights"], both[1][fit]["weights"])


def test_fastais_own_sharing_neither_draws_nor_sorts_repeats_rows_and_lets_processes_wait(both):
    ours, theirs = ([process[fit] for process in both] for fit in ("odd", "fastai's fit"))
    rows = [sum(len(step) for process in fits for step in process["texts"]) for fits in (ours, theirs)]
    assert rows == [len(ODD), len(ODD) + 1]
    waiting = [sum(abs(a - b) for a, b in zip(*(process["widths"] for process in fits))) for fits in (ours, theirs)]
    computed = [sum(map(max, zip(*(process["widths"] for process in fits)))) for fits in (ours, theirs)]
    assert waiting[0] < waiting[1] and computed[0] < 0.8 * computed[1]


def test_processes_with_other_rows_are_told(both):
    for process in both:
        assert process["other rows"] == (
            "InvalidInputError",
            "The processes have 40, 41 rows; expected the same rows in each: text_data with the same "
            "files and the same seed",
        )


# -- evaluation --------------------------------------------------------------------------------------


def test_metrics_are_over_the_whole_set_in_each_process(both, one):
    for process in both:
        assert process["even"]["valid"] == pytest.approx(one["even"]["valid"], abs=1e-6)
        assert process["look"]["valid"] == pytest.approx(one["look"]["valid"], abs=1e-6)
    assert both[0]["odd"]["valid"] == both[1]["odd"]["valid"], "or one would stop early and the other wait for it"


def test_and_not_with_fastais_own_sharing(both):
    first, second = (process["fastai's fit"]["valid"] for process in both)
    assert abs(first[0] - second[0]) > 1e-4


def test_predictions_are_complete_and_in_the_callers_order(both, one):
    for process in both:
        for name in ("preds", "preds of test", "ordered", "ordered train"):
            for found, expected in zip(process["look"][name], one["look"][name]):
                assert found.shape == expected.shape and furthest(found, expected) < 1e-6, name
        assert furthest(process["look"]["one text"], one["look"]["one text"]) < 1e-6


# -- the learner's other tools -----------------------------------------------------------------------


def test_a_checkpoint_written_meanwhile_has_the_bare_models_keys(both, folder):
    with torch.random.fork_rng():
        learn = make_text_learner(make_data(folder))
    assert list(torch.load(str(folder / "models" / "weights.pth"))) == list(learn.model.model.state_dict())
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


def test_compare_is_refused_in_one_line(both):
    for process in both:
        assert process["compare"] == (
            "InvalidInputError",
            "compare was called in a group of 2 processes; expected one process: start it with "
            "python, not with torchrun or accelerate launch",
        )


# -- heal --------------------------------------------------------------------------------------------


def test_without_heal_fastai_names_a_gpu(both):
    kind, said = both[0]["without heal"]
    assert kind in ("ValueError", "AssertionError") and "device_ids" in said


def test_on_the_cpu_alone_each_process_has_its_own_metrics_and_validate_leaves_the_model_wrapped(both):
    first, second = (process["plain, on cpu"] for process in both)
    assert first["fit"] != second["fit"]
    assert first["model"] == "DistributedDataParallel"


def test_mended_both_are_those_of_one_process(both, one):
    for process in both:
        assert process["plain, mended"]["fit"] == pytest.approx(one["plain"]["fit"], abs=1e-6)
        assert process["plain, mended"]["valid"] == pytest.approx(one["plain"]["valid"], abs=1e-6)
        assert process["plain, mended"]["model"] == one["plain"]["model"] == "HFModel"


# -- the page ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_script_on_the_page_runs_in_two_processes(tmp_path):
    write_csv(tmp_path / "comments.csv", 300)
    (tmp_path / "model").mkdir()
    settings = BertConfig(
        VOCAB,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
    )
    settings.num_labels = len(LABELS)
    BertForSequenceClassification(settings).save_pretrained(str(tmp_path / "model"))
    write_vocabulary(tmp_path / "model")
    said = run_distributed(
        ROOT / "docs" / "distributed" / "fastai1.py", tmp_path / "comments.csv", tmp_path / "model", cwd=str(tmp_path)
    )
    assert "60 predictions" in said and said.count("a fit over 240 texts") == 1
    assert (tmp_path / "models" / "trained.pth").is_file()
