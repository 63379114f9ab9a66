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
)
from tests.fastai2.data.text_learners import VALID, make_data, make_learner, rows_of
from tests.fastai2.learners import without_progress_bar
from tests.tiny_models import tiny_transformers_model
from tests.tiny_texts import fast_tokenizer

# -- batches -----------------------------------------------------------------------------------------


def test_a_batch_is_a_tuple_with_the_target_last_and_the_vocabulary_its_classes(tokenizer):
    dls = make_data(tokenizer)
    assert type(dls.one_batch()) is tuple and dls.n_inp == 2 and list(dls.vocab) == dls.classes
    targets = torch.cat([y for *_, y in dls.valid])
    assert [dls.vocab[y] for y in targets] == VALID.kind.tolist()


def test_the_longest_come_first_where_predictions_are_put_back(tokenizer):
    dls = make_data(tokenizer)
    assert rows_of(dls.test.sort_longest_first()) != rows_of(dls.test)


def test_python_draws_no_seeds_for_the_loaders(tokenizer):
    before = random.getstate()
    make_data(tokenizer)
    assert random.getstate() == before
    DataLoader(range(3))  # the broken arm: what fastai does without care
    assert random.getstate() != before


def test_a_hugging_face_dataset_can_be_predicted(tokenizer):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install datasets")
    dls, texts = make_data(tokenizer), datasets.Dataset.from_dict({"text": VALID.text.tolist()})
    assert rows_of(dls.test_dl(texts)) == rows_of(dls.test_dl(texts["text"])) == rows_of(dls.valid)


def test_a_batch_is_padded_on_the_tokenizers_side(tmp_path):
    tokenizer = fast_tokenizer(tmp_path)
    tokenizer.padding_side = "left"
    _, mask, _ = make_data(tokenizer).valid.one_batch()
    assert mask[:, -1].all() and not mask[:, 0].all()


def test_another_batch_size_cuts_other_buckets(tokenizer):
    dls = make_data(tokenizer, bs=8, val_bs=16)
    assert dls.valid.bs == dls.test.bs == 16
    train = dls.train.new(bs=4)
    sizes = [ids.shape for ids, *_ in train]
    assert {rows for rows, _ in sizes} == {4}
    assert sum(rows * width for rows, width in sizes) <= 1.2 * train.lengths.sum()


def test_batches_made_by_a_process_of_their_own_are_the_same(tokenizer):
    here, there = make_data(tokenizer), make_data(tokenizer, num_workers=1)
    for one, other in zip(here.valid, there.valid):
        assert all(map(torch.equal, one, other))


# -- what does not fit -------------------------------------------------------------------------------


def test_texts_cannot_be_mixed_up(tokenizer):
    MixUp = pytest.importorskip("fastai.callback.mixup").MixUp
    with pytest.raises(InputError, match="token ids cannot be averaged"):
        make_learner(make_data(tokenizer)).fit(1, 1e-2, cbs=MixUp())


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
