"""explain on fastai 2: failures of transformers and scikit-learn that its users meet, raised for real."""

import pytest
from fastai.metrics import F1Score, accuracy
from transformers import AutoModelForSequenceClassification

from fastai_hf_callback import explain
from tests.fastai2.learners import make_learner
from tests.tiny_models import ids, tiny_model


def told(action):
    with pytest.raises(Exception) as caught:
        action()
    (finding,) = explain(caught.value).findings
    return finding


def test_a_decoder_without_a_padding_id():
    model = tiny_model("gpt2")
    model.config.pad_token_id = None
    assert "pad_token" in told(lambda: model(input_ids=ids())).fix


def test_a_folder_with_another_number_of_classes(tmp_path):
    tiny_model("bert").save_pretrained(tmp_path)
    load = AutoModelForSequenceClassification.from_pretrained
    assert "ignore_mismatched_sizes=True" in told(lambda: load(tmp_path, num_labels=7)).fix
    load(tmp_path, num_labels=7, ignore_mismatched_sizes=True)  # the cure


def test_a_bare_function_among_the_metrics():
    learn = make_learner()
    learn.metrics.append(accuracy)
    finding = told(lambda: learn.fit(1))
    assert finding.cause == "metric-not-wrapped" and "learn.metrics = " in finding.fix


def test_attentions_where_there_are_none():
    config = tiny_model("bert").config
    assert "eager" in told(lambda: setattr(config, "output_attentions", True)).fix


def test_a_metric_of_two_classes_says_how_to_average():
    finding = told(lambda: F1Score().func([0, 1, 2], [0, 2, 1]))
    assert "average=" in finding.fix
