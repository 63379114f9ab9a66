"""The classes of fastai 1's own data block, and of batches of one's own, reach the model's config when a fit begins."""

import json
import warnings

import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.data_block import CategoryList, FloatList, MultiCategoryList
    from fastai.train import Learner
from torch import nn

from fastai_hf_callback import HFCallback, HFModel, InputError, diagnose
from fastai_hf_callback.model.class_names import read_output_names
from tests.fastai1.data.text_learners import make_data
from tests.fastai1.data_block import IdList, block_data
from tests.fastai1.learners import databunch, texts_and_targets
from tests.tiny_models import tiny_model
from tests.tiny_texts import slow_tokenizer

SINGLE, MULTI = "single_label_classification", "multi_label_classification"
NAMES = ["low", "mid", "top"]
MASKED = ("input_ids", "attention_mask")


def learner(data, n=3, inputs=None, loss=None, callbacks=None, names=None):
    pytest.importorskip("pytorch_transformers")
    bare = tiny_model("bert", n)
    if names:
        bare.config.id2label = dict(enumerate(names))
    callbacks = [HFCallback()] if callbacks is None else callbacks
    wrapped = HFModel(bare, inputs, pad_token_id=0)
    return Learner(data, wrapped, loss_func=loss, silent=True, callbacks=callbacks)


def config_of(learn):
    return learn.model.model.config


def names_in(learn):
    return read_output_names(config_of(learn))


def problem_in(learn):
    return getattr(config_of(learn), "problem_type", None)


def labelled(labels, label_cls, **kwargs):
    ids = texts_and_targets("classes")[0].numpy()
    rows = IdList(ids).split_by_idx(list(range(16)))
    by_row = {tuple(row.tolist()): label for row, label in zip(ids, labels)}
    rows = rows.label_from_func(lambda row: by_row[tuple(row.tolist())], label_cls=label_cls, **kwargs)
    return rows.databunch(bs=8, num_workers=0, device=torch.device("cpu"), pin_memory=False)


def test_a_category_list_names_the_outputs_of_the_saved_folder(tmp_path):
    learn = learner(block_data())
    learn.validate(), learn.get_preds(), diagnose(learn)
    assert names_in(learn) is None  # nothing was trained yet
    learn.fit(1, 1e-3)
    learn.model.save_pretrained(str(tmp_path))
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["id2label"] == {str(n): name for n, name in enumerate(NAMES)} and saved["problem_type"] == SINGLE


def test_several_categories_are_labels_and_numbers_have_no_classes():
    targets = texts_and_targets("classes")[2].tolist()
    learn = learner(labelled([["mid", NAMES[n]] for n in targets], MultiCategoryList))
    learn.fit(1, 1e-3)
    assert names_in(learn) == NAMES and problem_in(learn) == MULTI
    learn = learner(labelled([[float(n), 0.0, 1.0] for n in targets], FloatList))
    learn.fit(1, 1e-3)
    assert names_in(learn) is None and problem_in(learn) is None


@pytest.mark.parametrize(
    "task, classes, loss, names, problem",
    (
        ("classes", NAMES, nn.CrossEntropyLoss(), NAMES, SINGLE),
        ("labels", list("abcd"), nn.BCEWithLogitsLoss(), "abcd", MULTI),
        ("labels", list("abcd"), nn.MSELoss(), None, None),
        ("classes", list("ab"), nn.CrossEntropyLoss(), None, None),
        ("classes", None, nn.CrossEntropyLoss(), None, None),
    ),
)
def test_classes_of_one_s_own(task, classes, loss, names, problem):
    data = databunch(task)
    if classes is not None:
        data.classes = classes
    learn = learner(data, 3 if task == "classes" else 4, MASKED, loss)
    learn.fit(1, 1e-3)
    assert names_in(learn) == (None if names is None else list(names)) and problem_in(learn) == problem


def test_another_order_is_refused_when_the_fit_begins_and_both_cures_work():
    names = ["top", "low", "mid"]
    targets = [NAMES[n] for n in texts_and_targets("classes")[2].tolist()]
    learn = learner(labelled(targets, CategoryList), names=names)
    before = [p.clone() for p in learn.model.parameters()]
    with pytest.raises(InputError, match=r"label_from_df\(..., classes=\['top', 'low', 'mid'\]\); or") as told:
        learn.fit(1, 1e-3)
    assert told.value.cause == "class-names-disagree" and names_in(learn) == names
    assert all(torch.equal(p, b) for p, b in zip(learn.model.parameters(), before))
    right = learner(labelled(targets, CategoryList, classes=names), names=names)
    right.fit(1, 1e-3)
    assert names_in(right) == names
    config_of(learn).id2label = dict(enumerate(NAMES))
    learn.fit(1, 1e-3)
    assert names_in(learn) == NAMES


def test_data_of_text_data_are_named_once(tmp_path):
    data = make_data(slow_tokenizer(tmp_path))
    learn = learner(data, inputs=data.inputs)
    assert names_in(learn) == data.classes
    config_of(learn).id2label = {0: "A", 1: "O", 2: "P"}
    learn.fit(1, 1e-3)
    assert names_in(learn) == ["A", "O", "P"]  # what was written since stands
