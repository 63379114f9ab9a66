"""The classes of a learner's own data in a config: which are names of its outputs, and of what task. No fastai here."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fastai_hf_callback import HFModel, InputError
from fastai_hf_callback.model.class_names import read_output_names
from fastai_hf_callback.model.loss.traits import find_class_task
from fastai_hf_callback.model.trained_classes import TargetClasses, name_trained_outputs, read_names
from tests.tiny_models import VOCAB, tiny_model, tiny_transformers_model

SINGLE, MULTI = "single_label_classification", "multi_label_classification"
NAMES = ("low", "mid", "top")


def flat(outputs, targets):
    return F.cross_entropy(outputs.view(-1, outputs.shape[-1]), targets.view(-1))


def name_of(value):
    return value if isinstance(value, str) else getattr(value, "__name__", type(value).__name__)


@pytest.mark.parametrize("n_outputs", (2, 3, 8, 9))
@pytest.mark.parametrize(
    "loss, task",
    (
        (nn.CrossEntropyLoss(), SINGLE),
        (nn.NLLLoss(), SINGLE),
        (flat, SINGLE),
        (partial(F.cross_entropy, label_smoothing=0.1), SINGLE),
        (nn.BCEWithLogitsLoss(), MULTI),
        (lambda outputs, targets: F.binary_cross_entropy_with_logits(outputs, targets.float()).mean(), MULTI),
        (nn.MSELoss(), None),
        (nn.L1Loss(), None),
        (nn.SmoothL1Loss(), None),
        (lambda outputs, targets: ((outputs - targets) ** 2).mean(), None),
        (lambda outputs, targets: 1 / 0, None),
        (None, None),
    ),
    ids=name_of,  # the same in every process: a function's repr holds its address
)
def test_a_loss_tells_classes_from_labels_from_numbers(loss, task, n_outputs):
    if isinstance(loss, partial) and torch.__version__.startswith("1.4"):
        pytest.skip("no label_smoothing yet")
    assert find_class_task(loss, n_outputs) == task


def test_one_output_is_no_class_for_any_loss():
    assert find_class_task(nn.CrossEntropyLoss(), 1) is None and find_class_task(nn.MSELoss(), 1) is None


@pytest.mark.parametrize(
    "given, names",
    (
        (["a", "b"], ("a", "b")),
        (("a", 2), ("a", "2")),
        ([["the", "fox"], ["a", "b"]], ("a", "b")),
        (np.array(["a", "b"]), ("a", "b")),
        ([np.int64(0), np.int64(1)], ("0", "1")),
        (None, ()),
        ("ab", ()),
        ({"a": 0}, ()),
        ([object()], ()),
        ([], ()),
    ),
)
def test_names_are_read_from_lists_of_any_kind(given, names):
    assert read_names(given) == names


def named(model, names=NAMES, task=SINGLE, loss=None):
    name_trained_outputs(model, TargetClasses(tuple(names), task, "Block({})"), loss)
    return model


def bert(n=3, head="SequenceClassification", **config):
    pytest.importorskip("transformers", minversion="5")
    model = tiny_transformers_model("bert", n, head)
    for name, value in config.items():
        setattr(model.config, name, value)
    return model


def names_in(model):
    return read_output_names(model.config)


def test_a_bare_a_wrapped_and_an_adapted_model_are_reached():
    peft = pytest.importorskip("peft")
    for wrap in (
        lambda model: model,
        HFModel,
        lambda model: nn.DataParallel(HFModel(model)),
        lambda model: HFModel(nn.DataParallel(model)),
        lambda model: HFModel(peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", r=2))),
    ):
        model = bert()
        named(wrap(model))
        assert names_in(model) == list(NAMES) and model.config.problem_type == SINGLE
        assert model.config.label2id == {"low": 0, "mid": 1, "top": 2}


def test_a_config_of_pytorch_transformers_too():
    pytest.importorskip("pytorch_transformers")
    assert names_in(named(tiny_model("bert", 3))) == list(NAMES)


def test_what_they_are_no_names_of_stays_as_it_is():
    body = nn.Linear(2, 3)
    named(body)
    body.config = SimpleNamespace(num_labels="three")
    named(body)
    for model, names in (
        (bert(2), NAMES),
        (bert(), ()),
        (bert(num_labels=VOCAB), [f"token {n}" for n in range(VOCAB)]),
    ):
        assert names_in(named(model, names)) is None and model.config.problem_type is None


def test_where_the_data_do_not_say_the_task_the_loss_does():
    model = named(bert(), task=None, loss=nn.BCEWithLogitsLoss())
    assert names_in(model) == list(NAMES) and model.config.problem_type == MULTI
    model = named(bert(problem_type=MULTI), task=None, loss=nn.CrossEntropyLoss())
    assert names_in(model) == list(NAMES) and model.config.problem_type == SINGLE
    model = named(bert(problem_type="regression"), task=None, loss=nn.MSELoss())
    assert names_in(model) is None and model.config.problem_type == "regression"


def test_another_order_is_refused_with_the_order_to_write():
    model = bert(id2label=dict(enumerate(reversed(NAMES))))
    with pytest.raises(InputError, match=r"another order.* as in Block\(\['top', 'mid', 'low'\]\); or") as caught:
        named(model)
    assert caught.value.cause == "class-names-disagree" and names_in(model) == list(reversed(NAMES))
    named(model, reversed(NAMES))
    with pytest.warns(UserWarning, match=r"named its outputs .* order: Block\(\[...\]\)"):
        named(model, "abc")
    assert names_in(model) == list("abc")
