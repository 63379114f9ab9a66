"""text_data on fastai 1: what its batches hold, and what does not fit."""

import re
import warnings
from functools import partial

import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DatasetType
    from fastai.train import AccumulateScheduler

from fastai_hf_callback import (
    HFModel,
    InputError,
    InvalidInputError,
    heal,
    text_data,
)
from fastai_hf_callback.data.batches.sampler import padding_ratio
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from tests.fastai1.data.text_learners import TASKS, TEST, TRAIN, VALID, make_data, make_learner, rows_of
from tests.tiny_models import tiny_model
from tests.tiny_texts import fast_tokenizer

# -- batches -----------------------------------------------------------------------------------------


def test_batches_are_lists_of_tensors_named_by_data_inputs(tokenizer):
    (ids, mask), targets = make_data(tokenizer).one_batch()
    assert make_data(tokenizer).inputs == ("input_ids", "attention_mask")
    assert ids.dtype == mask.dtype == targets.dtype == torch.int64 and ids.shape == mask.shape
    assert (ids[:, 0] == 2).all() and ((ids == 0) == (mask == 0)).all()
    assert mask.sum(1).max() == ids.shape[1]  # padded to the longest of the batch, no further


def test_a_pair_is_joined_as_the_tokenizer_joins_it(tokenizer):
    data = make_data(tokenizer, "pairs")
    assert data.inputs == ("input_ids", "token_type_ids", "attention_mask")
    (ids, types, mask), _ = data.one_batch(DatasetType.Valid)
    first = ids[0][mask[0] > 0].tolist()
    cut = first.index(3) + 1
    assert first.count(3) == 2 and first[-1] == 3
    assert types[0][mask[0] > 0].tolist() == [0] * cut + [1] * (len(first) - cut)


@pytest.mark.parametrize(
    "task, shape, dtype",
    (
        ("single_label_classification", (8,), torch.int64),
        ("multi_label_classification", (8, 3), torch.float32),
        ("regression", (8,), torch.float32),
    ),
)
def test_targets_are_what_the_tasks_loss_takes(slow, task, shape, dtype):
    data = make_data(slow, task)
    _, targets = data.one_batch()
    assert targets.shape == shape and targets.dtype == dtype


def test_the_targets_are_the_callers(slow):
    data = make_data(slow)
    assert data.classes == ["animal", "other", "plant"] and data.c == 3
    targets = torch.cat([y for _, y in data.valid_dl])
    assert [data.classes[y] for y in targets] == VALID.kind.tolist()


def test_validation_and_test_keep_the_callers_order_and_training_does_not(tokenizer):
    data, alone = make_data(tokenizer), make_data(tokenizer, bs=1)
    for ds_type in (DatasetType.Valid, DatasetType.Test, DatasetType.Fix):
        assert rows_of(data, ds_type) == rows_of(alone, ds_type)
    assert len(rows_of(data, DatasetType.Test)) == len(TEST)
    assert rows_of(data, DatasetType.Train) != rows_of(data, DatasetType.Fix)
    assert sorted(rows_of(data, DatasetType.Train)) == sorted(rows_of(data, DatasetType.Fix))


def test_training_batches_are_of_like_length_and_others_each_epoch(slow):
    data = make_data(slow)
    lengths = data.train_ds.x.lengths
    torch.manual_seed(0)
    epochs = [list(data.train_dl.dl.sampler) for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert padding_ratio(lengths, epochs[0], 8) < padding_ratio(lengths, range(len(lengths)), 8) - 0.1
    torch.manual_seed(0)
    assert list(data.train_dl.dl.sampler) == epochs[0]


def test_another_batch_size_cuts_other_buckets(slow):
    data = make_data(slow)
    data.batch_size = 4
    assert data.train_dl.dl.sampler.bs == 4 and len(data.one_batch()[1]) == 4
    widths = [ids.shape[1] * len(ids) for (ids, _), _ in data.train_dl]
    assert sum(widths) <= 1.2 * data.train_ds.x.lengths.sum()


def test_no_row_is_dropped(slow):
    assert sum(len(y) for _, y in make_data(slow, bs=7).train_dl) == len(TRAIN)


# -- what does not fit -------------------------------------------------------------------------------


def test_texts_cannot_be_mixed_up(slow):
    learn = make_learner(make_data(slow)).mixup()
    loss_func = learn.loss_func
    with pytest.raises(InputError) as caught, no_progress(learn):
        learn.fit(1, 1e-2)
    assert re.fullmatch(
        r"mixup was asked for and the input is int64 \(8, \d+\): token ids cannot be averaged. "
        r"Expected inputs of floats. Take learn.mixup\(\) away.",
        str(caught.value),
    )
    assert learn.loss_func is loss_func


def test_gradients_accumulate_over_batches_of_several_tensors(slow):
    """``AccumulateScheduler`` counts rows of a single tensor only; ``heal`` mends it."""
    learn = make_learner(make_data(slow), callback_fns=[partial(AccumulateScheduler, n_step=2)])
    before = learn.model.model.classifier.weight.clone()
    with pytest.raises(AttributeError, match="'list' object has no attribute 'shape'"), no_progress(learn):
        learn.fit(1, 1e-2)
    with heal(), no_progress(learn):
        learn.fit(1, 1e-2)
    assert not torch.equal(before, learn.model.model.classifier.weight)


def test_a_model_with_another_head_is_refused_at_once(slow):
    data = make_data(slow)
    with pytest.raises(Exception, match="3 output.*num_labels=3"):
        HFModel(tiny_model("bert", 2), inputs=data.inputs)


def test_the_callers_frames_stay_as_they_are(slow):
    before = TRAIN.copy(deep=True), VALID.copy(deep=True)
    make_data(slow, "token-classification")
    assert before[0].equals(TRAIN) and before[1].equals(VALID)


# -- Hugging Face datasets, and what is there on fastai 2 alone ---------------------------------------


def test_a_hugging_face_dataset_makes_the_same_batches_as_its_frame(slow):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install datasets")
    named = datasets.ClassLabel(names=["plant", "other", "animal"])
    train, valid = (
        datasets.Dataset.from_dict(
            {"text": frame.text.tolist(), "kind": [named.str2int(kind) for kind in frame.kind]}
        ).cast_column("kind", named)
        for frame in (TRAIN, VALID)
    )
    data = text_data(
        train,
        valid,
        slow,
        bs=8,
        progress=False,
        device=torch.device("cpu"),
        test=valid,
        **TASKS["single_label_classification"],
    )
    of_frame = make_data(slow, classes=["plant", "other", "animal"])
    assert data.classes == of_frame.classes == ["plant", "other", "animal"]
    for (mine, targets), (frames, others) in zip(data.valid_dl, of_frame.valid_dl):
        assert all(map(torch.equal, mine, frames)) and torch.equal(targets, others)
    assert len(data.test_ds) == len(VALID)


@pytest.mark.parametrize("asked", (dict(task="question-answering"), {}), ids=("asked for", "told by the column"))
def test_answers_in_contexts_are_refused_in_one_line(asked):
    with pytest.raises(InvalidInputError) as caught:
        text_data(TRAIN, VALID, fast_tokenizer("."), text="asked", text_pair="text", labels="answers", **asked)
    assert str(caught.value) == (
        "task 'question-answering' (questions, and answers in their contexts) was given, which is there on fastai 2 "
        "alone; on fastai 1 build a DataBunch of your own: HFCallback(element=span_logits), loss_func=SpanLoss()"
    )


def test_a_bar_is_drawn_where_somebody_can_see_it_move(slow, monkeypatch, capsys):
    text_data(TRAIN, VALID, slow, progress=True, **TASKS["single_label_classification"])
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    text_data(TRAIN, VALID, slow, progress=True, **TASKS["single_label_classification"])
    assert "100.00%" in capsys.readouterr().out
