"""Models with adapters in fastai 1 with transformers 5: the base stands still, and what peft trains trains always."""

import pytest
import torch
from torch import nn

pytest.importorskip("peft")
pytest.importorskip("transformers")

import peft
from fastai.train import Learner

from fastai_hf_callback import HFCallback, HFModel, InputError, compare, layer_groups
from tests.adapters import KINDS, add_adapter, build_adapted
from tests.fastai1.learners import databunch, two_groups
from tests.tiny_models import tiny_transformers_model


def make(model, split=layer_groups):
    torch.manual_seed(0)
    wrapped = HFModel(model, inputs=("input_ids", "attention_mask"))
    return Learner(databunch(), wrapped, loss_func=nn.CrossEntropyLoss(), silent=True, callbacks=[HFCallback()]).split(
        split
    )


def phases(learn):
    learn.freeze()
    learn.fit_one_cycle(1, 1e-2)
    learn.freeze_to(1)
    learn.fit(1, 1e-2)
    learn.unfreeze()
    learn.fit(1, slice(1e-3, 1e-2), wd=0.1)


def split_by_gradient(model):
    """The values of what peft froze, and of what it trains."""
    values = {wants: {} for wants in (False, True)}
    for name, p in model.named_parameters():
        values[p.requires_grad][name] = p.detach().clone()
    return values[False], values[True]


def moved(model, before):
    return {name for name, p in model.named_parameters() if name in before and not torch.equal(p, before[name])}


def check_base_still_and_adapter_trained(model, learn):
    base, adapter = split_by_gradient(model)
    phases(learn)
    assert base and not moved(model, base)
    assert moved(model, adapter) == set(adapter)


@pytest.mark.parametrize("kind", [*KINDS, "added"])
def test_the_base_stands_still_and_the_adapter_trains(kind):
    model = add_adapter() if kind == "added" else build_adapted(kind)
    check_base_still_and_adapter_trained(model, make(model))


def test_groups_of_ones_own_are_seen_to_train_the_base():
    model = build_adapted()
    with pytest.raises(AssertionError):
        check_base_still_and_adapter_trained(model, make(model, two_groups))


def test_without_groups_frozen_biases_stand_still():
    """fastai 1 gives its optimizer the bias of every ``nn.Linear``, frozen or not."""
    model = build_adapted()
    base, adapter = split_by_gradient(model)
    wrapped = HFModel(model, inputs=("input_ids", "attention_mask"))
    learn = Learner(databunch(), wrapped, loss_func=nn.CrossEntropyLoss(), silent=True, callbacks=[HFCallback()])
    learn.fit(1, 1e-2, wd=0.1)
    assert not moved(model, base) and moved(model, adapter) == set(adapter)


def test_the_saved_adapter_on_its_base_predicts_what_the_learner_predicts(tmp_path):
    learn = make(build_adapted())
    phases(learn)
    learn.model.save_pretrained(tmp_path)
    torch.manual_seed(0)
    loaded = peft.PeftModel.from_pretrained(tiny_transformers_model("bert", 3), tmp_path, is_trainable=True)
    assert torch.equal(make(loaded).get_preds()[0], learn.get_preds()[0])


def test_an_adapter_loaded_for_inference_is_told_of(tmp_path):
    build_adapted().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is_trainable=True"):
        make(peft.PeftModel.from_pretrained(tiny_transformers_model("bert", 3), tmp_path))


def test_compare_is_identical():
    comparison = compare(lambda: make(build_adapted()), phases, progress=False)
    assert comparison.identical and comparison.broken_arm_differs
