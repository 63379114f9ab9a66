"""The classes of fastai 2's own blocks, and of batches of one's own, reach the model's config when a fit begins."""

import json
import warnings

import pytest
import torch
from fastai.callback.core import Callback
from fastai.data.block import CategoryBlock, DataBlock, MultiCategoryBlock, RegressionBlock, TransformBlock
from fastai.data.transforms import ColReader, IndexSplitter
from fastai.learner import Learner
from fastai.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat
from fastai.text.core import BaseTokenizer
from fastai.text.data import TextBlock
from torch import nn

from fastai_hf_callback import HFCallback, HFModel, InputError, diagnose
from fastai_hf_callback.model.class_names import read_output_names
from tests.fastai2.data.text_learners import make_data
from tests.fastai2.data_block import NAMES, block_loaders
from tests.fastai2.learners import loaders, without_progress_bar
from tests.tiny_models import tiny_transformers_model
from tests.tiny_texts import fast_tokenizer, frame

SINGLE, MULTI = "single_label_classification", "multi_label_classification"
KINDS, CPU = ["animal", "other", "plant"], torch.device("cpu")
MASKED = ("input_ids", "attention_mask")


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(named its outputs|in another order)", category=UserWarning)
        yield


def learner(dls, n=3, inputs=None, loss=None, cbs=None, names=None, **kwargs):
    bare = tiny_transformers_model("bert", n)
    if names:
        bare.config.id2label = dict(enumerate(names))
    cbs = [HFCallback()] if cbs is None else cbs
    return without_progress_bar(Learner(dls, HFModel(bare, inputs, pad_token_id=0), loss_func=loss, cbs=cbs, **kwargs))


def config_of(learn):
    return learn.model.model.config


def names_in(learn):
    return read_output_names(config_of(learn))


def ids_of(row):
    return torch.tensor([5 + len(word) for word in row["text"].split()][:4] + [5] * 4)[:4]


def kinds_of(row):
    return [row["kind"], "plant"]


def shares_of(row):
    return [row["share"], 0.5, 1.0]


def made_of(get_y, *targets, texts=False):
    """DataLoaders of fastai's data block, on ids, or on fastai's own texts."""
    text = TextBlock.from_df("text", tok=BaseTokenizer(), max_vocab=20, min_freq=1) if texts else TransformBlock
    get_x = ColReader("text") if texts else ids_of
    data = DataBlock((text, *targets), get_x=get_x, get_y=get_y, n_inp=1, splitter=IndexSplitter(range(10)))
    return data.dataloaders(frame(40), bs=8, num_workers=0, device=CPU)


def test_a_category_block_names_the_outputs_of_the_saved_folder(tmp_path):
    learn = learner(block_loaders(tmp_path), inputs=MASKED)
    assert names_in(learn) is None
    learn.validate(), learn.get_preds(), diagnose(learn)
    assert names_in(learn) is None  # nothing was trained yet
    learn.fit(1, 1e-3)
    learn.model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["id2label"] == {str(n): name for n, name in enumerate(NAMES)} and saved["problem_type"] == SINGLE
    assert saved["label2id"] == {name: n for n, name in enumerate(NAMES)}


class Logits(Callback):
    """Gives fastai the logits, and does nothing else."""

    def after_pred(self):
        self.learn.pred = self.learn.pred.logits


def test_without_the_callback_nobody_names_them_the_broken_arm(tmp_path):
    learn = learner(block_loaders(tmp_path), inputs=MASKED, cbs=[Logits()])
    learn.fit(1, 1e-3)
    assert names_in(learn) is None


def test_a_text_block_s_words_are_no_classes():
    dls = made_of(ColReader("kind"), CategoryBlock, texts=True)
    assert len(dls.vocab) == 2 and list(dls.vocab[-1]) == KINDS
    learn = learner(dls)
    learn.fit(1, 1e-3)
    assert names_in(learn) == KINDS and config_of(learn).problem_type == SINGLE


def test_several_categories_are_labels():
    learn = learner(made_of(kinds_of, MultiCategoryBlock))
    learn.fit(1, 1e-3)
    assert names_in(learn) == KINDS and config_of(learn).problem_type == MULTI


@pytest.mark.parametrize("texts", (False, True))
@pytest.mark.parametrize("get_y, n", ((shares_of, 3), (ColReader("share"), 1)))
def test_numbers_have_no_classes(get_y, n, texts):
    dls = made_of(get_y, RegressionBlock(n), texts=texts)
    assert not texts or len(dls.vocab) > n  # of words
    learn = learner(dls, n)
    learn.fit(1, 1e-3)
    assert names_in(learn) is None and config_of(learn).problem_type is None


def test_two_targets_are_not_the_outputs_classes():
    dls = made_of([ColReader("kind"), ColReader("kind")], CategoryBlock, CategoryBlock)
    learn = learner(dls, loss=lambda outputs, one, other: nn.functional.cross_entropy(outputs, other))
    learn.fit(1, 1e-3)
    assert names_in(learn) is None


@pytest.mark.parametrize(
    "task, vocab, loss, names, problem",
    (
        ("classes", NAMES, CrossEntropyLossFlat(), NAMES, SINGLE),
        ("classes", list(NAMES), nn.CrossEntropyLoss(), NAMES, SINGLE),
        ("classes", [["the", "fox"], list(NAMES)], nn.CrossEntropyLoss(), NAMES, SINGLE),
        ("labels", list("abcd"), BCEWithLogitsLossFlat(), "abcd", MULTI),
        ("labels", list("abcd"), MSELossFlat(), None, None),
        ("classes", list("ab"), CrossEntropyLossFlat(), None, None),
        ("classes", None, CrossEntropyLossFlat(), None, None),
    ),
)
def test_a_vocab_of_one_s_own(task, vocab, loss, names, problem):
    dls = loaders(task)
    if vocab is not None:
        dls.vocab = vocab
    learn = learner(dls, 3 if task == "classes" else 4, MASKED, loss)
    learn.fit(1, 1e-3)
    assert names_in(learn) == (None if names is None else list(names)) and config_of(learn).problem_type == problem


def test_another_order_is_refused_when_the_fit_begins_and_both_cures_work(tmp_path):
    names = ["plant", "animal", "other"]
    learn = learner(made_of(ColReader("kind"), CategoryBlock), names=names)
    written = r"CategoryBlock\(vocab=\['plant', 'animal', 'other'\], sort=False\); or"
    before = [p.clone() for p in learn.model.parameters()]
    with pytest.raises(InputError, match=written) as told:
        learn.fit(1, 1e-3)
    assert told.value.cause == "class-names-disagree" and names_in(learn) == names
    assert all(torch.equal(p, b) for p, b in zip(learn.model.parameters(), before))
    right = learner(made_of(ColReader("kind"), CategoryBlock(vocab=names, sort=False)), names=names)
    right.fit(1, 1e-3)
    assert names_in(right) == names
    config_of(learn).id2label = dict(enumerate(KINDS))
    learn.fit(1, 1e-3)
    assert names_in(learn) == KINDS


def test_a_model_that_is_set_later_is_the_one_that_is_named():
    learn = learner(made_of(ColReader("kind"), CategoryBlock))
    first, learn.model = config_of(learn), HFModel(tiny_transformers_model("bert", 3), pad_token_id=0)
    learn.fit(1, 1e-3)
    assert names_in(learn) == KINDS and read_output_names(first) is None


def test_data_of_text_data_are_named_once(tmp_path):
    data = make_data(fast_tokenizer(tmp_path))
    learn = learner(data, inputs=data.inputs)
    assert names_in(learn) == data.classes
    config_of(learn).id2label = {0: "A", 1: "O", 2: "P"}
    learn.fit(1, 1e-3)
    assert names_in(learn) == ["A", "O", "P"]  # what was written since stands
