"""text_data on either fastai: what its batches hold, and what does not fit."""

import random
import warnings

import numpy as np
import pytest
import torch

from fastai_hf_callback import HFModel, InputError, text_data
from fastai_hf_callback.data.batches.sampler import padding_ratio
from tests.installed_stack import FASTAI_1, FASTAI_2
from tests.tiny_models import tiny_model, tiny_transformers_model
from tests.tiny_texts import fast_tokenizer, slow_tokenizer

if not FASTAI_1 and not FASTAI_2:
    pytest.skip("no fastai here", allow_module_level=True)
if FASTAI_1:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tests.fastai1.data.text_learners import TASKS, TEST, TRAIN, VALID, make_data, make_learner
else:
    from tests.fastai2.data.text_learners import TASKS, TEST, TRAIN, VALID, make_data, make_learner


@pytest.fixture(scope="module", params=["slow", "fast"] if FASTAI_1 else ["fast"])
def tokenizer(request, tmp_path_factory):
    make = slow_tokenizer if request.param == "slow" else fast_tokenizer
    return make(tmp_path_factory.mktemp(request.param))


def loader(data, name):
    """A set's loader; "in order": that of the training rows which does not shuffle."""
    if FASTAI_1:
        return {"train": data.train_dl, "valid": data.valid_dl, "test": data.test_dl, "in order": data.fix_dl}[name]
    return data.train.new(shuffle=False) if name == "in order" else getattr(data, name)


def batches(data, name):
    """``(inputs, targets)`` of each batch, whatever the fastai's way to nest them."""
    for batch in loader(data, name):
        yield (tuple(batch[0]), batch[1]) if FASTAI_1 else (batch[: data.n_inp], batch[-1])


def rows_of(data, name):
    """Ids without padding, row by row, as the loader gives them."""
    return [row[mask > 0].tolist() for (ids, *_, masks), _ in batches(data, name) for row, mask in zip(ids, masks)]


# -- batches -----------------------------------------------------------------------------------------


def test_batches_are_tensors_named_by_inputs(tokenizer):
    data = make_data(tokenizer)
    (ids, mask), targets = next(batches(data, "train"))
    assert data.inputs == ("input_ids", "attention_mask")
    assert ids.dtype == mask.dtype == targets.dtype == torch.int64 and ids.shape == mask.shape
    assert (ids[:, 0] == 2).all() and ((ids == 0) == (mask == 0)).all()
    assert mask.sum(1).max() == ids.shape[1]  # padded to the longest of the batch, no further


def test_a_pair_is_joined_as_the_tokenizer_joins_it(tokenizer):
    data = make_data(tokenizer, "pairs")
    assert data.inputs == ("input_ids", "token_type_ids", "attention_mask")
    (ids, types, mask), _ = next(batches(data, "valid"))
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
    data = make_data(tokenizer, task)
    (ids, _), targets = next(batches(data, "train"))
    assert targets.shape == torch.Size([ids.shape[1] if n is None else n for n in shape]) and targets.dtype == dtype
    learn = make_learner(data, task)
    assert learn.loss_func is data.loss_func and type(learn.loss_func.func).__name__ == loss


def test_the_targets_are_the_callers(tokenizer):
    data = make_data(tokenizer)
    assert data.classes == ["animal", "other", "plant"] and data.c == 3
    targets = torch.cat([y for _, y in batches(data, "valid")])
    assert [data.classes[y] for y in targets] == VALID.kind.tolist()
    named = make_data(tokenizer, classes=["plant", "animal", "other"])
    assert named.classes == ["plant", "animal", "other"]


def test_validation_and_test_keep_the_callers_order_and_training_does_not(tokenizer):
    data, alone = make_data(tokenizer), make_data(tokenizer, bs=1)
    for name in ("valid", "test", "in order"):
        assert rows_of(data, name) == rows_of(alone, name)
    assert len(rows_of(data, "test")) == len(TEST)
    drawn = rows_of(data, "train")
    assert drawn != rows_of(data, "in order") and sorted(drawn) == sorted(rows_of(data, "in order"))


def test_training_batches_are_of_similar_length_and_others_each_epoch(tokenizer):
    data = make_data(tokenizer)
    lengths = data.train_ds.x.lengths if FASTAI_1 else data.train.lengths

    def draw():
        return list(data.train_dl.dl.sampler) if FASTAI_1 else data.train.get_idxs()

    torch.manual_seed(0)
    epochs = [draw() for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert padding_ratio(lengths, epochs[0], 8) < padding_ratio(lengths, range(len(TRAIN)), 8) - 0.1
    torch.manual_seed(0)
    assert draw() == epochs[0]
    own = random.Random(0).sample(range(len(TRAIN)), len(TRAIN))  # the broken arm: rows shuffled as fastai does
    assert padding_ratio(lengths, own, 8) > padding_ratio(lengths, epochs[0], 8) + 0.1


def test_no_row_is_dropped(tokenizer):
    assert sum(len(y) for _, y in batches(make_data(tokenizer, bs=7), "train")) == len(TRAIN)


def test_the_random_states_and_the_callers_frames_stay_as_they_are(tokenizer):
    before = TRAIN.copy(deep=True), VALID.copy(deep=True)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    make_data(tokenizer, "token-classification")
    text_data(TRAIN, 0.2, tokenizer, progress=False, **TASKS["single_label_classification"])
    assert random.getstate() == states[0] and np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert before[0].equals(TRAIN) and before[1].equals(VALID)


def test_a_hugging_face_dataset_makes_the_same_batches_as_its_frame(tokenizer):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install datasets")
    named = datasets.ClassLabel(names=["plant", "other", "animal"])
    columns = ["text", "kind", "words", "tags"]
    train, valid = (
        datasets.Dataset.from_pandas(frame[columns], preserve_index=False)
        .map(lambda row: {"kind": named.str2int(row["kind"])})
        .cast_column("kind", named)
        for frame in (TRAIN, VALID)
    )
    settings = dict(bs=8, progress=False, device=torch.device("cpu"), **TASKS["single_label_classification"])
    data = text_data(train, valid, tokenizer, test=valid, **settings)
    of_frame = make_data(tokenizer, classes=["plant", "other", "animal"], test=VALID)
    assert data.classes == of_frame.classes == ["plant", "other", "animal"]
    for name in ("valid", "test"):
        assert rows_of(data, name) == rows_of(of_frame, name) and len(rows_of(data, name)) == len(VALID)
        for (mine, targets), (frames, others) in zip(batches(data, name), batches(of_frame, name)):
            assert all(map(torch.equal, mine, frames)) and torch.equal(targets, others)


# -- texts that hold a special token's string --------------------------------------------------------


def data_with(texts, tokenizer, task="single_label_classification", **changed):
    """Data whose first texts of train are these; and what was said of them."""
    train, settings = TRAIN.copy(), dict(bs=8, progress=False, device=torch.device("cpu"), **TASKS[task])
    for at, text in enumerate(texts):
        train.at[3 * at, settings["text"]] = text
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = text_data(train, VALID, tokenizer, **{**settings, **changed})
    return data, [str(one.message) for one in caught if "its own mark" in str(one.message)]


def test_texts_that_hold_a_special_token_s_string_are_told_of_with_their_rows(tokenizer):
    data, said = data_with(["the fox [SEP] an owl", "a fern", "[CLS] the oak [SEP] . [MASK]"], tokenizer)
    assert said == [
        "2 of 60 texts hold '[SEP]', '[CLS]', '[MASK]' in train, row(s) train.iloc[[0, 6]]: the tokenizer reads that "
        "as its own mark, not as words; to take it out, write train['text'].str.replace('[SEP]', ' ', regex=False)"
    ]
    assert data.inputs.trial.where == "row(s) train.iloc[[0, 6]] hold '[SEP]', '[CLS]', '[MASK]'"
    HFModel((tiny_model if FASTAI_1 else tiny_transformers_model)("bert", data.c), inputs=data.inputs)  # it counts none


@pytest.mark.parametrize("task", ("pairs", "token-classification", "single_label_classification"))
def test_what_the_tokenizer_adds_itself_and_unknown_words_are_no_such_string(tokenizer, task):
    text = "an unknownword and sep" if task != "token-classification" else TRAIN.words[0][:-1] + ["unknownword"]
    assert data_with([text], tokenizer, task)[1] == []
    marked = "sees [SEP] ." if task != "token-classification" else TRAIN.words[0][:-1] + ["[SEP]"]
    assert "1 of 60 text holds '[SEP]' in train" in data_with([marked], tokenizer, task)[1][0]


# -- what does not fit -------------------------------------------------------------------------------


def test_a_model_with_another_head_is_refused_at_once(tokenizer):
    with pytest.raises(InputError, match="3 output.*num_labels=3"):
        HFModel((tiny_model if FASTAI_1 else tiny_transformers_model)("bert", 2), inputs=make_data(tokenizer).inputs)


def test_a_bar_is_drawn_where_somebody_can_see_it_move(tokenizer, monkeypatch, capsys):
    text_data(TRAIN, VALID, tokenizer, progress=True, **TASKS["single_label_classification"])
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    text_data(TRAIN, VALID, tokenizer, progress=True, **TASKS["single_label_classification"])
    assert "100.00%" in capsys.readouterr().out
