"""text_data on fastai 2: what its batches hold, and what does not fit."""

import random

import numpy as np
import pytest
import torch
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat

from fastai_hf_callback import (
    HFCallback,
    HFModel,
    InputError,
    text_data,
)
from fastai_hf_callback.data.batches.sampler import padding_ratio
from tests.fastai2.data.text_learners import TASKS, TEST, TRAIN, VALID, make_data, make_learner, rows_of
from tests.fastai2.learners import without_progress_bar
from tests.tiny_models import tiny_transformers_model
from tests.tiny_texts import fast_tokenizer

# -- batches -----------------------------------------------------------------------------------------


def test_batches_are_tuples_of_tensors_named_by_dls_inputs(tokenizer):
    dls = make_data(tokenizer)
    ids, mask, targets = batch = dls.one_batch()
    assert dls.inputs == ("input_ids", "attention_mask") and dls.n_inp == 2 and type(batch) is tuple
    assert ids.dtype == mask.dtype == targets.dtype == torch.int64 and ids.shape == mask.shape
    assert (ids[:, 0] == 2).all() and ((ids == 0) == (mask == 0)).all()
    assert mask.sum(1).max() == ids.shape[1]  # padded to the longest of the batch, no further


def test_a_batch_is_padded_on_the_tokenizers_side(tmp_path):
    tokenizer = fast_tokenizer(tmp_path)
    tokenizer.padding_side = "left"
    _, mask, _ = make_data(tokenizer).valid.one_batch()
    assert mask[:, -1].all() and not mask[:, 0].all()


def test_a_pair_is_joined_as_the_tokenizer_joins_it(tokenizer):
    dls = make_data(tokenizer, "pairs")
    assert dls.inputs == ("input_ids", "token_type_ids", "attention_mask")
    ids, types, mask, _ = dls.valid.one_batch()
    first = ids[0][mask[0] > 0].tolist()
    cut = first.index(3) + 1
    assert first.count(3) == 2 and first[-1] == 3
    assert types[0][mask[0] > 0].tolist() == [0] * cut + [1] * (len(first) - cut)


@pytest.mark.parametrize(
    "task, shape, dtype, loss",
    (
        ("single_label_classification", (8,), torch.int64, "CrossEntropyLoss"),
        ("multi_label_classification", (8, 3), torch.float32, "BCEWithLogitsLoss"),
        ("regression", (8,), torch.float32, "MSELoss"),
        ("token-classification", (8, None), torch.int64, "CrossEntropyLoss"),
    ),
)
def test_targets_are_what_the_tasks_loss_takes_and_fastai_finds_the_loss(tokenizer, task, shape, dtype, loss):
    dls = make_data(tokenizer, task)
    ids, _, targets = dls.one_batch()
    assert targets.shape == torch.Size([ids.shape[1] if n is None else n for n in shape]) and targets.dtype == dtype
    learn = make_learner(dls, task)
    assert learn.loss_func is dls.loss_func and type(learn.loss_func.func).__name__ == loss


def test_the_targets_are_the_callers(tokenizer):
    dls = make_data(tokenizer)
    assert dls.classes == list(dls.vocab) == ["animal", "other", "plant"] and dls.c == 3
    targets = torch.cat([y for *_, y in dls.valid])
    assert [dls.vocab[y] for y in targets] == VALID.kind.tolist()
    named = make_data(tokenizer, classes=["plant", "animal", "other"])
    assert named.classes == ["plant", "animal", "other"]


def test_validation_and_test_keep_the_callers_order_and_training_does_not(tokenizer):
    dls, alone = make_data(tokenizer), make_data(tokenizer, bs=1)
    in_order, one_by_one = dls.train.new(shuffle=False), alone.train.new(shuffle=False)
    for loader, single in ((dls.valid, alone.valid), (dls.test, alone.test), (in_order, one_by_one)):
        assert rows_of(loader) == rows_of(single)
    assert len(rows_of(dls.test)) == len(TEST) and rows_of(dls.test.sort_longest_first()) != rows_of(dls.test)
    assert rows_of(dls.train) != rows_of(in_order)
    assert sorted(rows_of(dls.train)) == sorted(rows_of(in_order))


def test_training_batches_are_of_like_length_and_others_each_epoch(tokenizer):
    train = make_data(tokenizer).train
    torch.manual_seed(0)
    epochs = [train.get_idxs() for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert padding_ratio(train.lengths, epochs[0], 8) < padding_ratio(train.lengths, range(len(TRAIN)), 8) - 0.1
    torch.manual_seed(0)
    assert train.get_idxs() == epochs[0]
    fastais = [random.Random(0).sample(range(len(TRAIN)), len(TRAIN))]  # the broken arm: fastai's own shuffling
    assert padding_ratio(train.lengths, fastais[0], 8) > padding_ratio(train.lengths, epochs[0], 8) + 0.1


def test_another_batch_size_cuts_other_buckets(tokenizer):
    dls = make_data(tokenizer, bs=8, val_bs=16)
    assert dls.valid.bs == dls.test.bs == 16
    train = dls.train.new(bs=4)
    sizes = [ids.shape for ids, *_ in train]
    assert {rows for rows, _ in sizes} == {4}
    assert sum(rows * width for rows, width in sizes) <= 1.2 * train.lengths.sum()


def test_no_row_is_dropped(tokenizer):
    assert sum(len(y) for *_, y in make_data(tokenizer, bs=7).train) == len(TRAIN)


def test_batches_made_by_a_process_of_their_own_are_the_same(tokenizer):
    here, there = make_data(tokenizer), make_data(tokenizer, num_workers=1)
    for one, other in zip(here.valid, there.valid):
        assert all(map(torch.equal, one, other))


def test_the_random_states_and_the_callers_frames_stay_as_they_are(tokenizer):
    before = TRAIN.copy(deep=True), VALID.copy(deep=True)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    make_data(tokenizer, "token-classification")
    text_data(TRAIN, 0.2, tokenizer, progress=False, **TASKS["single_label_classification"])
    assert random.getstate() == states[0] and np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert before[0].equals(TRAIN) and before[1].equals(VALID)
    DataLoader(range(3))  # the broken arm: what fastai does without care
    assert random.getstate() != states[0]


def test_a_hugging_face_dataset_makes_the_same_batches_as_its_frame(tokenizer):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install datasets")
    columns = ["text", "kind", "words", "tags"]
    train, valid = (datasets.Dataset.from_pandas(frame[columns], preserve_index=False) for frame in (TRAIN, VALID))
    named = datasets.ClassLabel(names=["plant", "other", "animal"])
    train, valid = (
        part.map(lambda row: {"kind": named.str2int(row["kind"])}).cast_column("kind", named) for part in (train, valid)
    )
    dls = text_data(
        train,
        valid,
        tokenizer,
        bs=8,
        progress=False,
        test=valid,
        device=torch.device("cpu"),
        **TASKS["single_label_classification"],
    )
    of_frame = make_data(tokenizer, classes=["plant", "other", "animal"], test=VALID)
    assert dls.classes == of_frame.classes == ["plant", "other", "animal"]
    for mine, frames in zip(dls.loaders[1:], of_frame.loaders[1:]):
        assert all(torch.equal(a, b) for one, other in zip(mine, frames) for a, b in zip(one, other))
    assert rows_of(dls.test_dl(valid)) == rows_of(dls.test_dl(valid["text"])) == rows_of(dls.valid)


# -- what does not fit -------------------------------------------------------------------------------


def test_texts_cannot_be_mixed_up(tokenizer):
    MixUp = pytest.importorskip("fastai.callback.mixup").MixUp
    with pytest.raises(InputError, match="token ids cannot be averaged"):
        make_learner(make_data(tokenizer)).fit(1, 1e-2, cbs=MixUp())


def test_a_model_with_another_head_is_refused_at_once(tokenizer):
    with pytest.raises(InputError, match="3 output.*num_labels=3"):
        HFModel(tiny_transformers_model("bert", 2), inputs=make_data(tokenizer).inputs)


def test_dict_batches_of_ones_own_train_still():
    ids = torch.randint(5, 48, (16, 6))
    rows = [({"input_ids": row, "attention_mask": torch.ones_like(row)}, int(row[0] > 20)) for row in ids]
    dls = DataLoaders(*(DataLoader(rows, bs=8, num_workers=0) for _ in range(2)), device=torch.device("cpu"))
    bare = tiny_transformers_model("bert", 2)
    before = bare.classifier.weight.clone()
    learn = without_progress_bar(Learner(dls, HFModel(bare), loss_func=CrossEntropyLossFlat(), cbs=[HFCallback()]))
    learn.fit(1, 1e-2)
    assert np.isfinite(learn.recorder.losses).all() and not torch.equal(bare.classifier.weight, before)
    outputs, targets, decoded, losses = learn.get_preds(with_decoded=True, with_loss=True)
    assert outputs.shape == (16, 2) and len(targets) == len(decoded) == len(losses) == 16
    assert float(learn.validate()[0]) == pytest.approx(float(losses.mean()), abs=1e-5)
    with pytest.raises(Exception):  # noqa: B017  fastai's own limit: it puts inputs together as tensors
        learn.get_preds(with_input=True)


def test_a_bar_is_drawn_where_somebody_can_see_it_move(tokenizer, monkeypatch, capsys):
    text_data(TRAIN, VALID, tokenizer, progress=True, **TASKS["single_label_classification"])
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    text_data(TRAIN, VALID, tokenizer, progress=True, **TASKS["single_label_classification"])
    assert "100.00%" in capsys.readouterr().out
