"""Models of each kind through the witness, and what it must see: another tensor, a group that misses something."""

import multiprocessing
import os
import signal

import pytest

pytest.importorskip("fastai.learner")
transformers = pytest.importorskip("transformers")

from fastai_hf_callback import HFCallback, layer_groups  # noqa: E402
from tests.models.head_classes import names_of_classes  # noqa: E402
from tests.models.model_check import build, compared, fault_of, faults_of_groups, groups_of, row_of  # noqa: E402
from tests.models.page import page  # noqa: E402
from tests.models.result_rows import row_from_a_process  # noqa: E402

AN_ENCODER = "BertForSequenceClassification"
OF_EVERY_KIND = {
    "encoder": AN_ENCODER,
    "decoder": "LlamaForTokenClassification",
    "encoder and decoder": "T5ForQuestionAnswering",
    "experts": "MixtralForSequenceClassification",
    "state space": "JambaForSequenceClassification",
    "long attention": "BigBirdForTokenClassification",
    "two outputs": "BrosSpadeEEForTokenClassification",
    "its own loss": "XLMForQuestionAnswering",
    "sound": "Wav2Vec2ForSequenceClassification",
}


@pytest.mark.parametrize(
    "kind",
    [
        kind if name == AN_ENCODER else pytest.param(kind, marks=pytest.mark.slow)
        for kind, name in OF_EVERY_KIND.items()
    ],
)
def test_it_passes(kind):
    row = row_of(OF_EVERY_KIND[kind])
    assert (row["outcome"], row["why"], row["doctor"]) == ("passed", "", "silent")
    assert int(row["groups"]) >= 3


class Scaled(HFCallback):
    def after_pred(self):
        super().after_pred()
        self.learn.pred = self.learn.pred * 1.0000001


def test_another_tensor_is_seen():
    assert "patched" in fault_of(compared(AN_ENCODER, Scaled()))


def test_a_model_that_trains_nothing_is_seen():
    class Still(HFCallback):
        def before_step(self):
            self.learn.model.zero_grad()
            self.learn.opt.set_hyper("wd", 0.0)

    comparison = compared(AN_ENCODER, Still())
    assert fault_of(comparison) is not None


def test_groups_with_a_fault_are_seen():
    model = build(AN_ENCODER)
    groups = layer_groups(model)
    assert faults_of_groups(groups, model) == [] and groups_of(model).isdigit()
    assert faults_of_groups(groups[1:], model) == [f"{len(groups[0])} in none"]
    assert faults_of_groups([*groups, groups[0][:1]], model) == ["1 in two groups"]


def test_a_model_that_cannot_be_built_says_why():
    row = row_of("LayoutLMv2ForSequenceClassification")
    assert row["outcome"] == "cannot" and "detectron2" in row["why"]


def test_a_process_that_dies_is_a_row():
    row = row_from_a_process(multiprocessing.get_context("fork"), AN_ENCODER, _killed)
    assert row["outcome"] == "FAILED" and "SIGKILL" in row["why"]


def _killed(name):
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_names_are_models():
    names = names_of_classes()
    assert len(names) == len(set(names)) > 200
    assert not {"AutoModelForSequenceClassification", "DataCollatorForTokenClassification"} & set(names)


def test_the_page_counts():
    rows = [
        {"name": AN_ENCODER, "outcome": "passed", "why": "", "groups": "4", "doctor": "silent", "special": ""},
        {
            "name": "LukeForQuestionAnswering",
            "outcome": "FAILED",
            "why": "a | b",
            "groups": "2, 1 in none",
            "doctor": "silent",
            "special": "so",
        },
    ]
    text = page({"python": "3", "torch": "2"}, rows)
    assert "| all | 2 | 1 | 0 | 1 | 1 of 2 | 2 of 2 |" in text
    assert "| Luke | FAILED | 2, 1 in none | silent | a \\| b; so |" in text
