"""Models with adapters under fastai's verbs: the base stands still to the bit, and what peft trains trains always."""

from functools import partial

import pytest
import torch

pytest.importorskip("peft")

import peft
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from safetensors.torch import load_file

from fastai_hf_callback import HFCallback, HFModel, InputError, compare, layer_groups
from tests.adapters import KINDS, add_adapter, build_adapted
from tests.fastai2.learners import loaders, two_groups, without_progress_bar
from tests.slow_marks import mark_slow_after
from tests.tiny_models import tiny_transformers_model

MODELS = {
    **{kind: partial(build_adapted, kind) for kind in KINDS},
    "added": add_adapter,
    "added with a head": partial(add_adapter, modules_to_save=["classifier"]),
}


def make(model, splitter=layer_groups, **kwargs):
    torch.manual_seed(0)
    wrapped = HFModel(model, inputs=("input_ids", "attention_mask"))
    settings = dict(loss_func=CrossEntropyLossFlat(), splitter=splitter, cbs=[HFCallback()])
    return without_progress_bar(Learner(loaders(), wrapped, **{**settings, **kwargs}))


def fine_tune(learn):
    learn.fine_tune(1, 1e-2)


def freeze_then_unfreeze(learn):
    learn.freeze()
    learn.fit(1, 1e-2)
    learn.unfreeze()
    learn.fit_one_cycle(1, slice(1e-3, 1e-2))


def freeze_to_and_a_new_optimizer(learn):
    for n in (1, -2):
        learn.freeze_to(n)
        learn.fit(1, 1e-2, reset_opt=True)


def lr_find_then_fit(learn):
    learn.lr_find(num_it=5, show_plot=False)
    learn.fit(1, 1e-2)


PHASES = (fine_tune, freeze_then_unfreeze, freeze_to_and_a_new_optimizer, lr_find_then_fit)


def split_by_gradient(model):
    """The values of what peft froze, and of what it trains."""
    values = {wants: {} for wants in (False, True)}
    for name, p in model.named_parameters():
        values[p.requires_grad][name] = p.detach().clone()
    return values[False], values[True]


def moved(model, before):
    return {name for name, p in model.named_parameters() if name in before and not torch.equal(p, before[name])}


def check_base_still_and_adapter_trained(model, learn, phase):
    base, adapter = split_by_gradient(model)
    phase(learn)
    assert base and not moved(model, base)
    assert moved(model, adapter) == set(adapter)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == set(adapter)


@pytest.mark.parametrize("kind", mark_slow_after(2, MODELS))
def test_the_base_stands_still_and_the_adapter_trains_in_every_phase(kind):
    model = MODELS[kind]()
    learn = make(model)
    for phase in PHASES:
        check_base_still_and_adapter_trained(model, learn, phase)


def test_groups_of_ones_own_are_seen_to_train_the_base():
    model = build_adapted()
    with pytest.raises(AssertionError):
        check_base_still_and_adapter_trained(model, make(model, two_groups, train_bn=False), freeze_then_unfreeze)


@pytest.mark.parametrize("kind", mark_slow_after(2, MODELS))
def test_the_saved_adapter_on_its_base_predicts_what_the_learner_predicts(kind, tmp_path):
    learn = make(MODELS[kind]())
    learn.fine_tune(1, 1e-2)
    learn.model.save_pretrained(tmp_path)
    torch.manual_seed(0)
    base = tiny_transformers_model("bert", 3)
    if kind.startswith("added"):
        base.load_adapter(tmp_path)
    loaded = base if kind.startswith("added") else peft.PeftModel.from_pretrained(base, tmp_path)
    assert torch.equal(make(loaded).get_preds()[0], learn.get_preds()[0])


def test_an_adapter_that_was_saved_trains_on(tmp_path):
    made = build_adapted()
    made.save_pretrained(tmp_path)
    torch.manual_seed(0)
    model = peft.PeftModel.from_pretrained(tiny_transformers_model("bert", 3), tmp_path, is_trainable=True)
    check_base_still_and_adapter_trained(model, make(model), freeze_then_unfreeze)


def test_an_adapter_loaded_for_inference_is_not_unfrozen_but_told_of(tmp_path):
    build_adapted().save_pretrained(tmp_path)
    model = peft.PeftModel.from_pretrained(tiny_transformers_model("bert", 3), tmp_path)
    with pytest.raises(InputError, match="is_trainable=True") as raised:
        make(model).unfreeze()
    assert raised.value.cause == "adapter-not-trained"
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("n", (None, 2, 3))
def test_groups_hold_what_is_trained_in_the_last(n):
    model = build_adapted()
    groups = layer_groups(HFModel(model), n)
    assert len(groups) == (n or 5) and not any(groups[:-1])
    assert {id(p) for p in groups[-1]} == {id(p) for p in model.parameters() if p.requires_grad}
    with pytest.raises(InputError, match="n=1 was given"):
        layer_groups(model, 1)


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES[:2])
def test_compare_is_identical(phase):
    comparison = compare(lambda: make(build_adapted()), phase, progress=False)
    assert comparison.identical and comparison.broken_arm_differs


def around_an_hf_model(inputs, **kwargs):
    """A learner whose adapter was put around the HFModel, not inside."""
    torch.manual_seed(0)
    wrapped = HFModel(tiny_transformers_model("bert", 3), inputs=inputs)
    model = peft.get_peft_model(wrapped, KINDS["lora"]())
    settings = dict(loss_func=CrossEntropyLossFlat(), splitter=layer_groups, cbs=[HFCallback()])
    return without_progress_bar(Learner(loaders(), model, **{**settings, **kwargs}))


def test_an_adapter_around_an_hf_model_works_where_the_names_agree():
    learn = around_an_hf_model(("input_ids", "attention_mask"))
    with pytest.warns(UserWarning, match=r"save_pretrained finds none .* HFModel\(get_peft_model\(model, config\)"):
        check_base_still_and_adapter_trained(learn.model, learn, fine_tune)


@pytest.mark.parametrize("inside", (True, False))
def test_what_is_written_of_an_adapter_is_as_the_warning_says(inside, tmp_path):
    config = peft.LoraConfig(r=4, target_modules=["query", "value"])
    bare = tiny_transformers_model("bert", 3)
    learn_model = HFModel(peft.get_peft_model(bare, config)) if inside else peft.get_peft_model(HFModel(bare), config)
    learn_model.save_pretrained(tmp_path)
    assert bool(load_file(tmp_path / "adapter_model.safetensors")) is inside


@pytest.mark.parametrize("kind", ("prompts", "prefixes"))
def test_prompts_and_prefixes_around_an_hf_model_end_in_the_right_order(kind):
    wrapped = HFModel(tiny_transformers_model("bert", 3), inputs=("input_ids", "attention_mask"))
    with pytest.raises(AttributeError, match=r"HFModel\(get_peft_model\(model, config\), inputs=") as raised:
        peft.get_peft_model(wrapped, KINDS[kind]())
    assert isinstance(raised.value, InputError) and raised.value.cause == "attribute-of-inner-model"
    assert not hasattr(wrapped, "device") and wrapped.model.device.type == "cpu"


def test_and_says_the_right_order_where_they_do_not():
    with pytest.raises(InputError, match=r"HFModel\(get_peft_model\(model, config\)") as raised:
        around_an_hf_model(("input_ids", "token_type_ids")).fit(1, 1e-3)
    assert raised.value.cause == "adapter-outside"
    make(build_adapted()).fit(1, 1e-3)
