"""text_data on fastai 2: from a frame to batches, through training, predictions, files and back."""
import os
import pickle
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.interpret import ClassificationInterpretation, Interpretation
from fastai.learner import Learner, load_learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy, accuracy_multi

from fastai_hf_callback import (
    ColumnwiseAUC,
    HFCallback,
    HFModel,
    InputError,
    UnusableInput,
    WordAccuracy,
    compare,
    layer_groups,
    ordered_preds,
    span_logits,
    span_match,
    text_data,
)
from fastai_hf_callback.texts.batching import padded_share
from tests.fastai2.learners import hushed
from tests.tables import COLUMNS, fast_tokenizer, frame
from tests.tiny import model_of_today

TRAIN, VALID, TEST = frame(60, 0), frame(30, 1), frame(20, 2)
TASKS = {
    "single": dict(text="text", labels="kind"),
    "several": dict(text="text", labels=list(COLUMNS)),
    "number": dict(text="text", labels="share"),
    "pairs": dict(text="text", pair="second", labels="kind"),
    "tokens": dict(text="words", labels="tags"),
    "answers": dict(text="asked", pair="text", labels="answers"),
}
HEADS = {"tokens": "TokenClassification", "answers": "QuestionAnswering"}
ELEMENT = {"answers": span_logits}
METRICS = {"single": [accuracy], "several": [accuracy_multi, ColumnwiseAUC()], "number": [], "pairs": [accuracy],
           "tokens": [WordAccuracy()], "answers": [span_match]}
ITEM = {"pairs": ("the fox sees", "a fern"), "tokens": "the foxs sees a fern",
        "answers": ("the fox", "The OLD foxs hide near two ferns")}
SETS = {"train": 0, "valid": 1, "test": 2}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return fast_tokenizer(tmp_path_factory.mktemp("vocabulary"))


def make_data(tokenizer, task="single", **changed):
    settings = dict(bs=8, max_len=32, device=torch.device("cpu"), progress=False, test=TEST)
    return text_data(TRAIN, VALID, tokenizer, **{**settings, **TASKS[task], **changed})


def make_learner(dls, task="single", **kwargs):
    torch.manual_seed(0)
    bare = model_of_today("bert", dls.c, HEADS.get(task, "SequenceClassification"))
    head = bare.qa_outputs if task == "answers" else bare.classifier
    head.weight.data.mul_(50)  # rows differ visibly, untrained
    settings = dict(metrics=METRICS[task], cbs=[HFCallback(element=ELEMENT.get(task))], splitter=layer_groups)
    return hushed(Learner(dls, HFModel(bare, inputs=dls.inputs), **{**settings, **kwargs}))


def rows_of(loader):
    """Ids without padding, row by row, as the loader gives them."""
    return [ids[mask > 0].tolist() for batch in loader
            for ids, mask in zip(batch[0], batch[loader.n_inp - 1])]


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


@pytest.mark.parametrize("task, shape, dtype, loss", (
    ("single", (8,), torch.int64, "CrossEntropyLoss"), ("several", (8, 3), torch.float32, "BCEWithLogitsLoss"),
    ("number", (8,), torch.float32, "MSELoss"), ("tokens", (8, None), torch.int64, "CrossEntropyLoss")))
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
    assert len(rows_of(dls.test)) == len(TEST) and rows_of(dls.test.longest_first()) != rows_of(dls.test)
    assert rows_of(dls.train) != rows_of(in_order)
    assert sorted(rows_of(dls.train)) == sorted(rows_of(in_order))


def test_training_batches_are_of_like_length_and_others_each_epoch(tokenizer):
    train = make_data(tokenizer).train
    torch.manual_seed(0)
    epochs = [train.get_idxs() for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert padded_share(train.lengths, epochs[0], 8) < padded_share(train.lengths, range(len(TRAIN)), 8) - 0.1
    torch.manual_seed(0)
    assert train.get_idxs() == epochs[0]
    fastais = [random.Random(0).sample(range(len(TRAIN)), len(TRAIN))]  # the broken arm: fastai's own shuffling
    assert padded_share(train.lengths, fastais[0], 8) > padded_share(train.lengths, epochs[0], 8) + 0.1


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
    make_data(tokenizer, "tokens")
    text_data(TRAIN, 0.2, tokenizer, progress=False, **TASKS["single"])
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
    train, valid = (part.map(lambda row: {"kind": named.str2int(row["kind"])}).cast_column("kind", named)
                    for part in (train, valid))
    dls = text_data(train, valid, tokenizer, bs=8, progress=False, test=valid, device=torch.device("cpu"),
                    **TASKS["single"])
    of_frame = make_data(tokenizer, classes=["plant", "other", "animal"], test=VALID)
    assert dls.classes == of_frame.classes == ["plant", "other", "animal"]
    for mine, frames in zip(dls.loaders[1:], of_frame.loaders[1:]):
        assert all(torch.equal(a, b) for one, other in zip(mine, frames) for a, b in zip(one, other))
    assert rows_of(dls.test_dl(valid)) == rows_of(dls.test_dl(valid["text"])) == rows_of(dls.valid)


# -- training and predicting -------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_every_task_trains_validates_shows_and_predicts(tokenizer, task, tmp_path, capsys):
    dls = make_data(tokenizer, task, path=tmp_path)
    learn = make_learner(dls, task)
    before = float(learn.validate()[0])
    learn.fine_tune(1, 1e-3)
    assert np.isfinite(learn.recorder.losses).all() and float(learn.validate()[0]) < before * 1.2
    capsys.readouterr()
    dls.show_batch(max_n=2)
    learn.show_results(max_n=2)
    said = capsys.readouterr().out
    assert said.count("[CLS]") == 4 and "prediction" in said and "[PAD]" not in said
    whole, targets = learn.get_preds()
    assert len(whole) == len(targets) == len(VALID)
    told, decoded, probabilities = learn.predict(ITEM.get(task, VALID.text[0]))
    if task == "single":
        assert told in dls.classes and dls.classes[decoded] == told
        assert torch.allclose(probabilities, whole[0], atol=1e-6) and float(probabilities.sum()) == pytest.approx(1)
    if task == "several":
        assert set(told) <= set(COLUMNS) and decoded.tolist() == (probabilities > 0.5).tolist()
    if task == "number":
        assert told == pytest.approx(float(probabilities))
    if task == "tokens":
        assert len(told) == 5 and set(told) <= set(dls.classes)
    if task == "answers":
        assert told in ITEM["answers"][1] and decoded[0] <= decoded[1] and probabilities.shape[0] == 2


def test_a_model_learns_what_can_be_learned(tokenizer):
    """The proof that inputs and targets belong together; the broken arm is given other rows' labels."""
    animals = {words: "fox owl oak fern".split()[at % 4] for at, words in enumerate(TRAIN.text)}
    train = TRAIN.assign(text=[animals[words] for words in TRAIN.text])
    train["kind"] = ["animal" if word in ("fox", "owl") else "plant" for word in train.text]

    def score(labels):
        dls = text_data(train.assign(kind=labels), train, tokenizer, bs=8, progress=False, max_len=8,
                        device=torch.device("cpu"), **TASKS["single"])
        learn = make_learner(dls)
        learn.fit_one_cycle(4, 1e-2)
        return float(learn.validate()[1])

    assert score(train.kind) == 1
    assert score(["plant" if kind == "animal" else "animal" for kind in train.kind]) == 0


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", SETS)
def test_ordered_preds_are_get_preds_rows_in_the_callers_order(tokenizer, task, name):
    learn = make_learner(make_data(tokenizer, task), task)
    found, expected = ordered_preds(learn, name), learn.get_preds(SETS[name])
    assert len(found) == len(expected) == 2
    assert torch.allclose(found[0], expected[0], rtol=0, atol=1e-5)
    assert found[1] is expected[1] is None or torch.equal(found[1], expected[1])
    turned = found[0].flip(0)  # an order that was not restored would show
    assert not torch.allclose(turned, expected[0], rtol=0, atol=1e-5)


def test_ordered_preds_take_a_position_a_loader_or_texts(tokenizer, tmp_path):
    learn = make_learner(make_data(tokenizer))
    expected = ordered_preds(learn, "test")[0]
    TEST.to_csv(tmp_path / "test.csv", index=False)
    for asked in (2, learn.dls.test_dl(TEST), TEST, TEST.text, TEST.text.tolist(), tmp_path / "test.csv"):
        assert torch.equal(ordered_preds(learn, asked)[0], expected)
    assert torch.equal(ordered_preds(learn, dl=learn.dls.test_dl(TEST))[0], expected)
    assert not torch.equal(ordered_preds(learn, learn.dls.test_dl(TEST[::-1]))[0], expected)


@pytest.mark.parametrize("task", TASKS)
def test_losses_inputs_and_decoded_come_in_the_callers_order_too(tokenizer, task):
    learn = make_learner(make_data(tokenizer, task), task)
    asked = dict(with_input=True, with_loss=True, with_decoded=True)
    found, expected = ordered_preds(learn, **asked), learn.get_preds(**asked)
    ids = [[row[row > 0].tolist() for row in inputs[0]] for inputs in (found[0], expected[0])]
    assert ids[0] == ids[1] == rows_of(learn.dls.valid)
    for mine, fastais in zip(found[3:], expected[3:]):
        assert torch.allclose(mine.float(), fastais.float(), atol=1e-5)


def test_predictions_do_not_depend_on_how_they_are_asked_for(tokenizer):
    learn = make_learner(make_data(tokenizer))
    whole = learn.get_preds()[0]
    one_by_one = torch.stack([learn.predict(text)[2] for text in VALID.text[:5]])
    assert torch.allclose(one_by_one, whole[:5], atol=1e-6)
    assert torch.allclose(learn.get_preds(dl=learn.dls.test_dl(VALID.text.tolist()))[0], whole, atol=1e-6)
    learn.get_preds(dl=learn.dls.train)  # drawn anew, and put back
    assert torch.allclose(learn.get_preds(dl=learn.dls.train)[0], learn.get_preds(0)[0], atol=1e-6)


def test_ordered_preds_leave_the_learner_as_it_was_also_when_they_fail(tokenizer):
    learn = make_learner(make_data(tokenizer))
    learn.fit(1, 1e-3)
    losses, before, callbacks = list(learn.recorder.losses), dict(vars(learn)), list(learn.cbs)
    ordered_preds(learn)
    assert learn.recorder.losses == losses and vars(learn) == before
    learn.model.model.forward = None
    with pytest.raises(TypeError):
        ordered_preds(learn)
    assert vars(learn) == before and list(learn.cbs) == callbacks


def test_ordered_preds_say_what_they_cannot_do(tokenizer):
    learn = make_learner(make_data(tokenizer, test=None))
    assert learn.dls.test is None
    with pytest.raises(UnusableInput, match="no test set; write text_data"):
        ordered_preds(learn, "test")
    with pytest.raises(UnusableInput, match="learn.predict"):
        ordered_preds(learn, "single")
    with pytest.raises(UnusableInput, match="expected a text"):
        ordered_preds(learn, [1])
    with pytest.raises(UnusableInput, match="rows have no lengths"):
        ordered_preds(learn, DataLoader(TEST.text.tolist()))
    with pytest.raises(UnusableInput, match="expected a fastai Learner"):
        ordered_preds(learn.dls)


def test_a_label_per_word_is_predicted_for_each_word(tokenizer):
    learn = make_learner(make_data(tokenizer, "tokens"), "tokens")
    labels, pieces, _ = learn.predict("the foxs sees a fern".split())
    assert len(labels) == 5 and len(pieces) > 7  # 'foxs' and 'sees' are two pieces; then [CLS] and [SEP]
    assert str(labels) == " ".join(labels) and labels == learn.predict("the foxs sees a fern")[0]


def test_word_accuracy_counts_words_and_nothing_else(tokenizer):
    learn = make_learner(make_data(tokenizer, "tokens", bs=7), "tokens")
    preds, targets = learn.get_preds()
    word = targets != -100
    assert int(word.sum()) == sum(map(len, VALID.words))
    assert float(learn.validate()[1]) == pytest.approx(float((preds.argmax(-1) == targets)[word].float().mean()))


def test_a_batch_without_a_single_word_is_no_end_of_the_training(tokenizer):
    """Rows without words are of like length and share a batch; a mean over no word would be NaN."""
    train = TRAIN.copy()
    for row in range(12):
        train.at[row, "words"], train.at[row, "tags"] = [], []
    dls = text_data(train, VALID, tokenizer, text="words", labels="tags", bs=4, max_len=32, progress=False,
                    device=torch.device("cpu"))
    assert any(bool((y == -100).all()) for *_, y in dls.train)
    learn = make_learner(dls, "tokens")
    learn.fit(1, 1e-3)
    assert np.isfinite(learn.recorder.losses).all() and np.isfinite(float(learn.validate()[0]))
    nothing = torch.zeros(2, 4, 3), torch.full((2, 4), -100).long()
    assert float(dls.loss_func(*nothing)) == 0
    assert bool(torch.isnan(CrossEntropyLossFlat()(*nothing)))  # the broken arm


def test_labels_per_word_are_padded_to_the_batch_in_training_and_to_the_set_in_prediction(tokenizer):
    dls = make_data(tokenizer, "tokens")
    assert all(ids.shape == y.shape and ids.shape[1] == mask.sum(1).max() for ids, mask, y in dls.train)
    assert {ids.shape[1] for ids, *_ in dls.valid} == {int(dls.valid.lengths.max())}
    learn = make_learner(dls, "tokens")
    drawn, in_order = learn.get_preds(dl=dls.train), learn.get_preds(0)  # both in the rows' own order
    assert torch.allclose(drawn[0], in_order[0], atol=1e-5) and torch.equal(drawn[1], in_order[1])


def test_words_without_a_piece_or_cut_off_have_no_label_and_keep_their_place(tokenizer):
    learn = make_learner(make_data(tokenizer, "tokens", max_len=6), "tokens")
    labels, _, _ = learn.predict(["the", "\u200b", "fox", "sees", "moss", "here"])
    assert labels[1] == "-" and len(labels) == 6 and labels[-1] == "-"
    assert all(label in learn.dls.classes for label in (labels[0], labels[2]))


def test_the_places_of_words_can_be_told_in_a_test_set_without_labels(tokenizer):
    dls = make_data(tokenizer, "tokens", test=TEST.words.tolist())
    _, targets = ordered_preds(make_learner(dls, "tokens"), "test")
    assert [int(n) for n in (targets != -100).sum(1)] == [len(words) for words in TEST.words]


def test_interpretation_finds_classes_and_top_losses(tokenizer, capsys):
    learn = make_learner(make_data(tokenizer))
    interpretation = ClassificationInterpretation.from_learner(learn)
    preds, targets, decoded, losses = learn.get_preds(with_decoded=True, with_loss=True)
    expected = [[int(((targets == t) & (decoded == d)).sum()) for d in range(3)] for t in range(3)]
    assert interpretation.confusion_matrix().tolist() == expected
    found, rows, items = interpretation.top_losses(3, items=True)
    assert torch.equal(torch.as_tensor(found), losses.topk(3)[0]) and len(rows) == 3
    assert [str(item) for item in items] == [str(learn.dls.valid_ds[int(row)]) for row in rows]
    again = interpretation[rows]
    assert torch.allclose(again[1], preds[rows], atol=1e-6) and torch.equal(again[2], targets[rows])
    interpretation.show_results(rows)
    interpretation.print_classification_report()
    said = capsys.readouterr().out
    assert all(str(item) in said for item in items) and "precision" in said


@pytest.mark.parametrize("task", ("several", "number", "tokens"))
def test_interpretation_of_the_other_tasks_finds_top_losses(tokenizer, task, capsys):
    interpretation = Interpretation.from_learner(make_learner(make_data(tokenizer, task), task))
    interpretation.show_results(interpretation.top_losses(2)[1])
    assert capsys.readouterr().out.count("[CLS]") == 2


def test_the_learning_rate_is_found_and_nothing_is_changed(tokenizer, tmp_path):
    learn = make_learner(make_data(tokenizer, path=tmp_path))
    before = learn.model.model.classifier.weight.clone()
    assert learn.lr_find(num_it=10, show_plot=False).valley > 0
    assert torch.equal(learn.model.model.classifier.weight, before)


def test_callback_and_patched_loop_are_equal_on_these_data(tokenizer):
    """Batches are drawn from torch's generator, so the arms of a comparison see the same ones."""
    dls = make_data(tokenizer)
    comparison = compare(lambda: make_learner(dls), fit=lambda learn: learn.fit(1, 1e-2), arms=("callback", "patched"),
                         progress=False)
    assert comparison.identical


@pytest.mark.filterwarnings("error")
def test_predict_warns_of_nothing(tokenizer):
    """fastai's own callback keeps ``inputs``, and warns where the learner, or its model, has one too."""
    learn = make_learner(make_data(tokenizer))
    learn.predict("the fox")
    learn.model.inputs = ()  # the broken arm
    with pytest.raises(UserWarning, match="shadowing an attribute"):
        learn.predict("the fox")


# -- what cannot be predicted ------------------------------------------------------------------------


def test_texts_to_predict_may_be_a_frame(tokenizer):
    for task, columns in (("single", ["text"]), ("pairs", ["text", "second"]), ("tokens", ["words"])):
        dls = make_data(tokenizer, task)
        assert rows_of(dls.test_dl(TEST[columns])) == rows_of(dls.test)


@pytest.mark.parametrize("task, columns", [("single", ["text"]), ("pairs", ["text", "second"])])
def test_a_file_of_texts_is_read_as_its_table(tokenizer, tmp_path, task, columns):
    dls = make_data(tokenizer, task)
    TEST[columns].to_csv(tmp_path / "test.csv", index=False)
    for path in (tmp_path / "test.csv", str(tmp_path / "test.csv")):
        assert rows_of(dls.test_dl(path)) == rows_of(dls.test)
    TEST[["second"]].to_csv(tmp_path / "renamed.csv", index=False)
    with pytest.raises(UnusableInput, match=r"renamed.csv with the columns 'second' was given; .*; write pd.read_csv"
                                            r"\('.*renamed.csv'\).rename\(columns=\{'second': 'text'\}\)"):
        make_data(tokenizer).test_dl(tmp_path / "renamed.csv")
    with pytest.raises(UnusableInput, match=r"other.csv: no such file.*nearest: test.csv"):
        dls.test_dl(tmp_path / "other.csv")


@pytest.mark.parametrize("task, items, said", (
    ("single", "the fox", "'the fox' was given; expected a list of texts, or a DataFrame or CSV "
                          "file with the column 'text': "
                          "dls.test_dl([text, ...])"),
    ("single", {"a": 1}, "{'a': 1} was given; expected a list of texts, or a DataFrame or CSV "
                          "file with the column 'text': "
                         "dls.test_dl([text, ...])"),
    ("single", [], "No text was given; expected at least one: dls.test_dl([text, ...])"),
    ("single", ["a", 3], "3 (int) was given; expected a text: dls.test_dl(['some text', ...])"),
    ("single", TEST[["second"]], "A DataFrame with the columns 'second' was given; expected 'text', as in training; "
                                  "write frame.rename(columns={'second': 'text'})"),
    ("pairs", ["a", "b"], "'a' (str) was given; expected a pair of texts, as these data have: "
                          "dls.test_dl([(first, second), ...])"),
    ("tokens", ["a", "b"], "'a' (str) was given; expected a list of words: dls.test_dl([['some', 'text'], ...])"),
), ids=["a text", "a dict", "none", "a number", "another column", "no pairs", "no words"])
def test_what_cannot_be_predicted_is_refused(tokenizer, task, items, said):
    with pytest.raises(UnusableInput) as caught:
        make_data(tokenizer, task).test_dl(items)
    assert str(caught.value) == said


def test_labels_do_not_come_with_texts_to_predict(tokenizer):
    with pytest.raises(UnusableInput, match="learn.validate"):
        make_data(tokenizer).test_dl(TEST, with_labels=True)
    learn = make_learner(make_data(tokenizer))
    assert len(learn.validate(dl=make_data(tokenizer).test)) == 2


@pytest.mark.parametrize("item", (["the fox", "an owl"], ("a", "b"), 5))
def test_several_texts_are_not_glued_into_one(tokenizer, item):
    with pytest.raises(UnusableInput, match=r"expected a text: learn.predict\('some text'\)"):
        make_learner(make_data(tokenizer)).predict(item)


def test_a_pair_is_asked_for_where_the_data_have_pairs(tokenizer):
    with pytest.raises(UnusableInput, match=r"learn.predict\(\(first, second\)\)"):
        make_learner(make_data(tokenizer, "pairs"), "pairs").predict("the fox")


@pytest.mark.parametrize("item", (3, None, float("nan")))
def test_an_exception_inside_predict_leaves_the_learner_as_it_was(tokenizer, item):
    learn = make_learner(make_data(tokenizer))
    callbacks, loaders = list(learn.cbs), list(learn.dls.loaders)
    with pytest.raises(UnusableInput):
        learn.predict(item)
    assert list(learn.cbs) == callbacks and learn.dls.loaders == loaders


def test_a_failing_batch_inside_predict_leaves_the_learner_usable(tokenizer, monkeypatch):
    learn = make_learner(make_data(tokenizer))
    callbacks, expected = list(learn.cbs), learn.predict("the fox")[2]
    with monkeypatch.context() as patched:
        patched.setattr("fastai_hf_callback.texts.feeding.pad_rows", None)
        with pytest.raises(TypeError):
            learn.predict("the fox")
    assert list(learn.cbs) == callbacks and torch.equal(learn.predict("the fox")[2], expected)


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


def test_a_device_that_is_none_is_refused(tokenizer):
    with pytest.raises(UnusableInput, match="device='gpu' was given, and torch cannot use it"):
        make_data(tokenizer, device="gpu")


# -- files -------------------------------------------------------------------------------------------


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
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                           env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert there.returncode == 0, there.stderr
    assert there.stdout.strip().splitlines() == [f"{task} {told[0]!r}" for task, told in here.items()]
    for task, told in here.items():
        assert torch.equal(torch.load(str(tmp_path / f"{task}.pt")), told[2])


def test_an_export_has_no_texts_and_takes_new_ones(tokenizer, tmp_path):
    learn = make_learner(make_data(tokenizer, labels=["share", "plural"], task="number", path=tmp_path), "number")
    assert learn.dls.c == 2 and learn.dls.classes == ["share", "plural"] and learn.dls.one_batch()[-1].shape == (8, 2)
    learn.export("model.pkl")
    loaded = hushed(load_learner(tmp_path / "model.pkl"))
    assert loaded.dls.c == 2 and loaded.dls.classes == ["share", "plural"] and not len(loaded.dls.valid_ds)
    found = ordered_preds(loaded, loaded.dls.test_dl(VALID))[0]
    assert torch.allclose(found, learn.get_preds()[0], atol=1e-6) and len(loaded.predict("the fox")[0]) == 2
    with pytest.raises(UnusableInput, match="the valid set has no rows"):
        ordered_preds(loaded)
    with pytest.raises(UnusableInput):
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


# -- what does not fit -------------------------------------------------------------------------------


def test_texts_cannot_be_mixed_up(tokenizer):
    MixUp = pytest.importorskip("fastai.callback.mixup").MixUp
    with pytest.raises(InputError, match="token ids cannot be averaged"):
        make_learner(make_data(tokenizer)).fit(1, 1e-2, cbs=MixUp())


def test_a_model_with_another_head_is_refused_at_once(tokenizer):
    with pytest.raises(InputError, match="3 output.*num_labels=3"):
        HFModel(model_of_today("bert", 2), inputs=make_data(tokenizer).inputs)


def test_dict_batches_of_ones_own_train_still():
    ids = torch.randint(5, 48, (16, 6))
    rows = [({"input_ids": row, "attention_mask": torch.ones_like(row)}, int(row[0] > 20)) for row in ids]
    dls = DataLoaders(*(DataLoader(rows, bs=8, num_workers=0) for _ in range(2)), device=torch.device("cpu"))
    bare = model_of_today("bert", 2)
    before = bare.classifier.weight.clone()
    learn = hushed(Learner(dls, HFModel(bare), loss_func=CrossEntropyLossFlat(), cbs=[HFCallback()]))
    learn.fit(1, 1e-2)
    assert np.isfinite(learn.recorder.losses).all() and not torch.equal(bare.classifier.weight, before)
    outputs, targets, decoded, losses = learn.get_preds(with_decoded=True, with_loss=True)
    assert outputs.shape == (16, 2) and len(targets) == len(decoded) == len(losses) == 16
    assert float(learn.validate()[0]) == pytest.approx(float(losses.mean()), abs=1e-5)
    with pytest.raises(Exception):  # noqa: B017  fastai's own limit: it puts inputs together as tensors
        learn.get_preds(with_input=True)


def test_a_bar_is_drawn_where_somebody_can_see_it_move(tokenizer, monkeypatch, capsys):
    text_data(TRAIN, VALID, tokenizer, progress=True, **TASKS["single"])
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    text_data(TRAIN, VALID, tokenizer, progress=True, **TASKS["single"])
    assert "100.00%" in capsys.readouterr().out
