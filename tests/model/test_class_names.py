"""Class names in a model's config, where a saved folder and pipeline() look for them. No fastai here."""

import json
import warnings

import pytest

from fastai_hf_callback import HFModel, InputError
from fastai_hf_callback.data.batches.batch_spec import BatchSpec
from fastai_hf_callback.model.class_names import name_outputs, read_output_names
from tests.tiny_models import VOCAB, tiny_model, tiny_transformers_model

SINGLE, MULTI = "single_label_classification", "multi_label_classification"


def spec(classes, task=SINGLE):
    return BatchSpec(
        ("input_ids", "attention_mask"),
        longest=8,
        vocab_size=VOCAB,
        num_labels=len(classes),
        task=task,
        classes=classes,
    )


def model_of(names=None, n=3, head="SequenceClassification"):
    pytest.importorskip("transformers", minversion="5")
    model = tiny_transformers_model("bert", n, head)
    if names:
        model.config.id2label = dict(enumerate(names))
    return model


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        yield


@pytest.mark.parametrize(
    "task, head",
    (
        (SINGLE, "SequenceClassification"),
        (MULTI, "SequenceClassification"),
        ("token-classification", "TokenClassification"),
    ),
)
def test_the_saved_config_names_the_classes_in_the_order_of_the_outputs(task, head, tmp_path):
    model = model_of(head=head)
    wrapped = HFModel(model, spec(["no", "so", "yes"], task))
    wrapped.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["id2label"] == {"0": "no", "1": "so", "2": "yes"} and saved["label2id"] == {"no": 0, "so": 1, "yes": 2}
    assert saved.get("problem_type") == (None if task == "token-classification" else task)


def test_a_config_of_pytorch_transformers_too(tmp_path):
    pytest.importorskip("pytorch_transformers")
    HFModel(tiny_model("bert", 2), spec(["no", "yes"])).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["id2label"] == {"0": "no", "1": "yes"}
    loaded = type(tiny_model("bert", 2)).from_pretrained(str(tmp_path))
    assert read_output_names(loaded.config) == ["no", "yes"]
    with pytest.raises(InputError, match="another order"):
        HFModel(loaded, spec(["yes", "no"]))


def test_the_same_names_in_another_order_are_refused_and_both_cures_work():
    given = ["positive", "neutral", "negative"]
    model, of_data = model_of(given), sorted(given)
    with pytest.raises(
        InputError, match=r"names its outputs \['positive', 'neutral', 'negative'\], .*another order"
    ) as caught:
        HFModel(model, spec(of_data))
    assert caught.value.cause == "class-names-disagree" and f"classes={given}" in str(caught.value)
    assert read_output_names(model.config) == given and model.config.problem_type is None
    HFModel(model, spec(given))
    assert read_output_names(model.config) == given
    assert f"model.config.id2label = {dict(enumerate(of_data))}" in str(caught.value)
    model.config.id2label = dict(enumerate(of_data))
    HFModel(model, spec(of_data))
    assert read_output_names(model.config) == of_data and model.config.label2id["negative"] == 0


def test_spelling_is_no_other_order_and_the_data_s_is_kept():
    model = model_of(["NEGATIVE", "Neutral ", "POSITIVE"])
    HFModel(model, spec(["negative", "neutral", "positive"]))
    assert read_output_names(model.config) == ["negative", "neutral", "positive"]
    with pytest.raises(InputError, match=r"classes=\['positive', 'negative', 'neutral'\]"):
        HFModel(model_of(["POSITIVE", "NEGATIVE", "NEUTRAL"]), spec(["negative", "neutral", "positive"]))


def test_names_of_another_task_are_replaced_and_it_is_said():
    model = model_of(["entailment", "neutral", "contradiction"])
    with pytest.warns(
        UserWarning, match=r"named its outputs \['entailment', .* classes of the data are \['a', 'b', 'c'\]"
    ):
        HFModel(model, spec(["a", "b", "c"]))
    assert read_output_names(model.config) == ["a", "b", "c"]


def test_mere_numbers_leave_a_checkpoint_s_names_and_name_outputs_without():
    named, unnamed = model_of(["bad", "so", "good"]), model_of()
    for model in (named, unnamed):
        HFModel(model, spec(["0", "1", "2"]))
    assert read_output_names(named.config) == ["bad", "so", "good"] and read_output_names(unnamed.config) == [
        "0",
        "1",
        "2",
    ]
    with pytest.warns(UserWarning, match="are named so from now on"):
        HFModel(model_of(["bad", "so", "good"]), spec(["1", "2", "3"]))  # numbers, but not those of the outputs


def test_numbers_to_predict_are_no_classes():
    model = model_of()
    HFModel(model, spec(["a", "b", "c"], "regression"))
    assert read_output_names(model.config) is None and model.config.problem_type == "regression"


def test_what_names_nothing_stays_as_it_is():
    model = model_of(n=2)
    name_outputs(model, ["start", "end"], "question-answering")
    name_outputs(model, ["a", "b", "c"], SINGLE)  # of another count
    assert read_output_names(model.config) is None and model.config.problem_type is None
    name_outputs(object(), ["a"], SINGLE)
    model.config.id2label = {"x": "a", "y": "b"}
    assert read_output_names(model.config) is None
