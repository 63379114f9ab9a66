"""text_data: from a frame to batches, through training, predictions, files and back."""
import os
import re
import subprocess
import sys
import textwrap
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DatasetType, load_data
    from fastai.basic_train import load_learner
    from fastai.metrics import accuracy
    from fastai.train import AccumulateScheduler, ClassificationInterpretation, Learner

from fastai_hf_callback import (
    ColumnwiseAUC,
    Doctor,
    HFCallback,
    HFModel,
    InputError,
    UnusableInput,
    WordAccuracy,
    accuracy_thresh,
    diagnose,
    heal,
    layer_groups,
    ordered_preds,
    text_data,
    trusted,
)
from fastai_hf_callback.fastai1.quiet import quiet
from fastai_hf_callback.texts.batching import padded_share
from tests.tables import COLUMNS, fast_tokenizer, frame, slow_tokenizer
from tests.tiny import tiny_model

TRAIN, VALID, TEST = frame(60, 0), frame(30, 1), frame(20, 2)
TASKS = {
    "single": dict(text="text", labels="kind"),
    "several": dict(text="text", labels=list(COLUMNS)),
    "number": dict(text="text", labels="share"),
    "pairs": dict(text="text", pair="second", labels="kind"),
    "tokens": dict(text="words", labels="tags"),
}
METRICS = {"single": [accuracy], "several": [accuracy_thresh, ColumnwiseAUC()], "number": [], "pairs": [accuracy],
           "tokens": [WordAccuracy()]}
ITEM = {"pairs": ("the fox sees", "a fern"), "tokens": "the foxs sees a fern"}


@pytest.fixture(scope="module", params=["slow", "fast"])
def tokenizer(request, tmp_path_factory):
    make = slow_tokenizer if request.param == "slow" else fast_tokenizer
    return make(tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    return slow_tokenizer(tmp_path_factory.mktemp("vocabulary"))


def make_data(tokenizer, task="single", **changed):
    settings = dict(bs=8, max_len=32, device=torch.device("cpu"), progress=False, test=TEST)
    return text_data(TRAIN, VALID, tokenizer, **{**settings, **TASKS[task], **changed})


def make_learner(data, task="single", **kwargs):
    torch.manual_seed(0)
    bare = tiny_model("bert", data.c)
    bare.classifier.weight.data.mul_(50)  # rows differ visibly, untrained
    bare = WordHead(bare) if task == "tokens" else bare
    return Learner(data, HFModel(bare, inputs=data.inputs), metrics=METRICS[task], callbacks=[HFCallback()],
                   path=data.path, **kwargs)


class WordHead(nn.Module):
    """A label per piece, on the body of a sequence classifier."""

    def __init__(self, model):
        super().__init__()
        self.bert, self.classifier, self.config = model.bert, model.classifier, model.config

    def forward(self, input_ids, attention_mask=None):
        return self.classifier(self.bert(input_ids, attention_mask=attention_mask)[0])


def rows_of(data, ds_type):
    """Ids without padding, row by row, as the loader gives them."""
    return [ids[mask > 0].tolist() for (ids, *_, mask), _ in data.dl(ds_type) for ids, mask in zip(ids, mask)]


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


@pytest.mark.parametrize("task, shape, dtype", (("single", (8,), torch.int64), ("several", (8, 3), torch.float32),
                                                ("number", (8,), torch.float32)))
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
    assert padded_share(lengths, epochs[0], 8) < padded_share(lengths, range(len(lengths)), 8) - 0.1
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


# -- training and predicting -------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_every_task_trains_validates_shows_and_predicts(slow, task, tmp_path, capsys):
    data = make_data(slow, task, path=tmp_path)
    learn = make_learner(data, task)
    learn.split(layer_groups)
    with quiet(learn):
        learn.fit_one_cycle(2, 1e-3)
    assert np.isfinite(learn.recorder.val_losses).all()
    assert learn.recorder.val_losses[-1] < learn.recorder.val_losses[0] * 1.2
    capsys.readouterr()
    data.show_batch(rows=2)
    learn.show_results(rows=2)
    said = capsys.readouterr().out
    assert said.count("[CLS]") == 4 and "prediction" in said and "[PAD]" not in said
    whole, targets = learn.get_preds()
    assert len(whole) == len(VALID)
    one, *_ = learn.predict(ITEM.get(task, VALID.text[0])), None
    if task == "single":
        assert str(one[0]) in data.classes and torch.allclose(one[2], whole[0], atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("ds_type", (DatasetType.Valid, DatasetType.Test, DatasetType.Train))
def test_ordered_preds_are_get_preds_rows_in_the_callers_order(slow, task, ds_type):
    data = make_data(slow, task)
    learn = make_learner(data, task)
    found = ordered_preds(learn, ds_type)
    expected = learn.get_preds(DatasetType.Fix if ds_type == DatasetType.Train else ds_type)
    assert len(found) == len(expected) == 2
    assert torch.allclose(found[0], expected[0], rtol=0, atol=1e-5) and torch.equal(found[1], expected[1])
    turned = found[0].flip(0)  # an order that was not restored would show
    assert not torch.allclose(turned, expected[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_losses_come_in_the_callers_order_too(slow, task):
    learn = make_learner(make_data(slow, task), task)
    assert torch.allclose(ordered_preds(learn, with_loss=True)[2], learn.get_preds(with_loss=True)[2], atol=1e-5)


def test_ordered_preds_leave_the_learner_as_it_was_when_they_fail(slow):
    data = make_data(slow)
    learn = make_learner(data)
    before = data.valid_dl
    learn.model.model.forward = None
    with pytest.raises(TypeError):
        ordered_preds(learn)
    assert data.valid_dl is before


def test_ordered_preds_say_what_they_cannot_do(slow):
    learn = make_learner(make_data(slow, test=None))
    with pytest.raises(UnusableInput, match="no test set; write text_data"):
        ordered_preds(learn, DatasetType.Test)
    with pytest.raises(UnusableInput, match="learn.predict"):
        ordered_preds(learn, DatasetType.Single)


def test_texts_added_later_are_predicted_in_their_order(slow):
    data = make_data(slow, test=None)
    learn = make_learner(data)
    data.add_test(VALID.text.tolist())
    assert torch.allclose(ordered_preds(learn, DatasetType.Test)[0], learn.get_preds()[0], atol=1e-5)


def test_a_label_per_word_is_predicted_for_each_word(slow):
    learn = make_learner(make_data(slow, "tokens"), "tokens")
    labels, pieces, _ = learn.predict("the foxs sees a fern".split())
    assert len(labels.obj) == 5 and len(pieces) > 7  # 'foxs' and 'sees' are two pieces; then [CLS] and [SEP]


def test_word_accuracy_counts_words_and_nothing_else(slow):
    data = make_data(slow, "tokens", bs=7)
    learn = make_learner(data, "tokens")
    preds, targets = learn.get_preds()
    word = targets != -100
    assert int(word.sum()) == sum(map(len, VALID.words))
    expected = float((preds.argmax(-1) == targets)[word].float().mean())
    assert float(learn.validate()[1]) == pytest.approx(expected)


def test_interpretation_finds_classes_and_top_losses(slow):
    learn = make_learner(make_data(slow))
    interpretation = ClassificationInterpretation.from_learner(learn)
    assert interpretation.confusion_matrix().sum() == len(VALID)
    losses, rows = interpretation.top_losses(3)
    assert len(rows) == 3 and losses[0] >= losses[-1]


def test_a_batch_without_a_single_word_is_no_end_of_the_training(slow):
    """Rows without words are of like length and share a batch; a mean over no word would be NaN."""
    train = TRAIN.copy()
    for row in range(12):
        train.at[row, "words"], train.at[row, "tags"] = [], []
    data = text_data(train, VALID, slow, text="words", labels="tags", bs=4, max_len=32, progress=False,
                     device=torch.device("cpu"))
    assert any(bool((y == -100).all()) for _, y in data.train_dl)
    learn = make_learner(data, "tokens")
    with quiet(learn):
        learn.fit(1, 1e-3)
    assert all(map(np.isfinite, [*map(float, learn.recorder.losses), *learn.recorder.val_losses]))
    own = nn.CrossEntropyLoss()(torch.zeros(2, 3), torch.full((2,), -100).long())
    assert bool(torch.isnan(own)) or torch.__version__ < "2"  # the broken arm; torch 1.4 gives 0 as well


def test_words_without_a_piece_or_cut_off_have_no_label_and_keep_their_place(slow):
    learn = make_learner(make_data(slow, "tokens", max_len=6), "tokens")
    labels, _, _ = learn.predict(["the", "\u200b", "fox", "sees", "moss", "here"])
    assert labels.obj[1] == "-" and len(labels.obj) == 6 and labels.obj[-1] == "-"
    assert all(label in learn.data.classes for label in (labels.obj[0], labels.obj[2]))


def test_the_places_of_words_can_be_told_in_a_test_set_without_labels(slow):
    data = make_data(slow, "tokens", test=TEST.words.tolist())
    _, targets = ordered_preds(make_learner(data, "tokens"), DatasetType.Test)
    assert [int(n) for n in (targets != -100).sum(1)] == [len(words) for words in TEST.words]


def test_texts_to_add_may_be_a_frame(slow):
    for task, columns in (("single", ["text"]), ("pairs", ["text", "second"]), ("tokens", ["words"])):
        data = make_data(slow, task)
        expected = rows_of(data, DatasetType.Test)
        data.add_test(TEST[columns])
        assert rows_of(data, DatasetType.Test) == expected


@pytest.mark.parametrize("task, items, said", (
    ("single", "the fox", "'the fox' was given; expected a list of texts, or a DataFrame or CSV "
                          "file with the column 'text': "
                          "data.add_test([text, ...])"),
    ("single", [], "No text was given; expected at least one: data.add_test([text, ...])"),
    ("single", ["a", 3], "3 (int) was given; expected a text: data.add_test(['some text', ...])"),
    ("single", TEST[["second"]], "A DataFrame with the columns 'second' was given; expected 'text', as in training; "
                                  "write frame.rename(columns={'second': 'text'})"),
    ("pairs", ["a", "b"], "'a' (str) was given; expected a pair of texts, as these data have: "
                          "data.add_test([(first, second), ...])"),
), ids=["a text", "none", "a number", "another column", "no pairs"])
def test_what_cannot_be_added_is_refused(slow, task, items, said):
    with pytest.raises(UnusableInput) as caught:
        make_data(slow, task).add_test(items)
    assert str(caught.value) == said


def test_an_unknown_label_of_texts_to_add_is_refused(slow):
    with pytest.raises(UnusableInput, match="label='zz' was given; expected one of the classes, or none"):
        make_data(slow).add_test(["a"], label="zz")


@pytest.mark.parametrize("item", (["the fox", "an owl"], ("a", "b"), 5))
def test_several_texts_are_not_glued_into_one(slow, item):
    with pytest.raises(UnusableInput, match=r"expected a text: learn.predict\('some text'\)"):
        make_learner(make_data(slow)).predict(item)


def test_several_numbers_keep_their_names_and_their_count_when_loaded(slow, tmp_path):
    data = make_data(slow, labels=["share", "plural"], task="number", path=tmp_path)
    assert data.c == 2 and data.classes == ["share", "plural"] and data.one_batch()[1].shape == (8, 2)
    make_learner(data, "number").export("model.pkl")
    with trusted(tmp_path / "model.pkl"):
        loaded = load_learner(tmp_path, "model.pkl", test=VALID)
    assert loaded.data.c == 2 and loaded.data.classes == ["share", "plural"]
    assert ordered_preds(loaded, DatasetType.Test)[0].shape == (len(VALID), 2)
    with pytest.raises(UnusableInput, match="the valid set has no rows"):
        ordered_preds(loaded)


def test_ordered_preds_keep_the_last_fits_recorder_and_doctor(slow):
    learn = make_learner(make_data(slow), callback_fns=[Doctor])
    with quiet(learn):
        learn.fit(1, 1e-3)
    recorder, doctor = learn.recorder, learn.doctor
    ordered_preds(learn)
    assert learn.recorder is recorder and learn.doctor is doctor and doctor.diagnosis.healthy


@pytest.mark.parametrize("changed, said", (
    (dict(bs=0), "bs=0 was given; expected a whole number from 1 on"),
    (dict(bs="8"), "bs='8' was given; expected a whole number from 1 on"),
    (dict(val_bs=2.5), "val_bs=2.5 was given; expected a whole number from 1 on"),
    (dict(num_workers=-1), "num_workers=-1 was given; expected a whole number from 0 on"),
    (dict(path=None), "path=None was given; expected a folder: path='.'"),
))
def test_settings_that_cannot_be_are_refused_before_anything_is_read(changed, said):
    with pytest.raises(UnusableInput) as caught:
        text_data(None, None, None, text="text", labels="kind", **changed)
    assert str(caught.value) == said


def test_a_device_that_is_none_is_refused(slow):
    with pytest.raises(UnusableInput, match="device='gpu' was given, and torch cannot use it"):
        make_data(slow, device="gpu")


def test_a_learner_without_rows_is_not_called_healthy(slow, tmp_path):
    make_learner(make_data(slow, path=tmp_path)).export("model.pkl")
    with trusted(tmp_path / "model.pkl"):
        learn = load_learner(tmp_path, "model.pkl")
    with pytest.raises(UnusableInput, match="no training rows"):
        diagnose(learn)


def test_sets_can_be_written_down(slow, tmp_path):
    frame = make_data(slow, path=tmp_path).valid_ds.to_df()
    assert frame.y.tolist() == VALID.kind.tolist() and "[CLS]" in frame.x[0]


@pytest.mark.parametrize("item", (3, None, float("nan")))
def test_an_exception_inside_predict_leaves_the_learner_as_it_was(slow, item):
    data = make_data(slow)
    learn = make_learner(data)
    callbacks = list(learn.callbacks)
    with pytest.raises(UnusableInput):
        learn.predict(item)
    assert len(data.valid_ds) == len(VALID) and data.valid_ds.item is None and learn.callbacks == callbacks


def test_a_failing_batch_inside_predict_leaves_the_learner_as_it_was(slow, monkeypatch):
    data = make_data(slow)
    learn = make_learner(data)
    monkeypatch.setattr("fastai_hf_callback.texts.feeding.pad_rows", None)
    with pytest.raises(TypeError):
        learn.predict("the fox")
    assert len(data.valid_ds) == len(VALID) and data.valid_ds.item is None


def test_a_pair_is_asked_for_where_the_data_have_pairs(slow):
    learn = make_learner(make_data(slow, "pairs"), "pairs")
    with pytest.raises(UnusableInput, match=r"learn.predict\(\(first, second\)\)"):
        learn.predict("the fox")


# -- files -------------------------------------------------------------------------------------------


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
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                           env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert there.returncode == 0, there.stderr
    assert there.stdout.strip().splitlines() == [f"{task} {told[0]}" for task, told in here.items()]
    for task, told in here.items():
        assert torch.equal(torch.load(str(tmp_path / f"{task}.pt")), told[2])


def test_a_loaded_learner_forgets_an_item_that_failed_too(slow, tmp_path):
    make_learner(make_data(slow, path=tmp_path)).export("model.pkl")
    with trusted(tmp_path / "model.pkl"):
        learn = load_learner(tmp_path, "model.pkl")
    with pytest.raises(UnusableInput):
        learn.predict(None)
    assert learn.data.single_ds.item is None


def test_a_learner_saved_and_loaded_predicts_the_same(slow, tmp_path):
    data = make_data(slow, path=tmp_path)
    learn = make_learner(data)
    with quiet(learn):
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


# -- what does not fit -------------------------------------------------------------------------------


def test_texts_cannot_be_mixed_up(slow):
    learn = make_learner(make_data(slow)).mixup()
    loss_func = learn.loss_func
    with pytest.raises(InputError) as caught, quiet(learn):
        learn.fit(1, 1e-2)
    assert re.fullmatch(r"mixup was asked for and the input is int64 \(8, \d+\): token ids cannot be averaged. "
                        r"Expected inputs of floats. Take learn.mixup\(\) away.", str(caught.value))
    assert learn.loss_func is loss_func


def test_gradients_accumulate_over_batches_of_several_tensors(slow):
    """``AccumulateScheduler`` counts rows of a single tensor only; ``heal`` mends it."""
    learn = make_learner(make_data(slow), callback_fns=[partial(AccumulateScheduler, n_step=2)])
    before = learn.model.model.classifier.weight.clone()
    with pytest.raises(AttributeError, match="'list' object has no attribute 'shape'"), quiet(learn):
        learn.fit(1, 1e-2)
    with heal(), quiet(learn):
        learn.fit(1, 1e-2)
    assert not torch.equal(before, learn.model.model.classifier.weight)


def test_a_model_with_another_head_is_refused_at_once(slow):
    data = make_data(slow)
    with pytest.raises(Exception, match="3 output.*num_labels=3"):
        HFModel(tiny_model("bert", 2), inputs=data.inputs)


def test_the_callers_frames_stay_as_they_are(slow):
    before = TRAIN.copy(deep=True), VALID.copy(deep=True)
    make_data(slow, "tokens")
    assert before[0].equals(TRAIN) and before[1].equals(VALID)


# -- Hugging Face datasets, and what is there on fastai 2 alone ---------------------------------------


def test_a_hugging_face_dataset_makes_the_same_batches_as_its_frame(slow):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install datasets")
    named = datasets.ClassLabel(names=["plant", "other", "animal"])
    train, valid = (datasets.Dataset.from_dict({"text": frame.text.tolist(),
                                                "kind": [named.str2int(kind) for kind in frame.kind]}
                                               ).cast_column("kind", named) for frame in (TRAIN, VALID))
    data = text_data(train, valid, slow, bs=8, progress=False, device=torch.device("cpu"), test=valid,
                     **TASKS["single"])
    of_frame = make_data(slow, classes=["plant", "other", "animal"])
    assert data.classes == of_frame.classes == ["plant", "other", "animal"]
    for (mine, targets), (frames, others) in zip(data.valid_dl, of_frame.valid_dl):
        assert all(map(torch.equal, mine, frames)) and torch.equal(targets, others)
    assert len(data.test_ds) == len(VALID)


@pytest.mark.parametrize("asked", (dict(task="answer"), {}), ids=("asked for", "told by the column"))
def test_answers_in_contexts_are_refused_in_one_line(asked):
    with pytest.raises(UnusableInput) as caught:
        text_data(TRAIN, VALID, fast_tokenizer("."), text="asked", pair="text", labels="answers", **asked)
    assert str(caught.value) == (
        "task 'answer' (questions, and answers in their contexts) is there on fastai 2 alone; on fastai 1 make a "
        "DataBunch of your own: HFCallback(element=span_logits), loss_func=SpanLoss()")


def test_a_bar_is_drawn_where_somebody_can_see_it_move(slow, monkeypatch, capsys):
    text_data(TRAIN, VALID, slow, progress=True, **TASKS["single"])
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    text_data(TRAIN, VALID, slow, progress=True, **TASKS["single"])
    assert "100.00%" in capsys.readouterr().out
