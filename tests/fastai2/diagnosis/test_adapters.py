"""What the doctor offers for a model with adapters: never that its base is trained."""

import pytest

pytest.importorskip("peft")

import peft

from fastai_hf_callback import diagnose, layer_groups
from fastai_hf_callback.fastai2.diagnosis.fixes import FIXES
from tests.adapters import add_adapter, build_adapted
from tests.fastai2.test_adapters import make
from tests.tiny_models import tiny_transformers_model


def trainable(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("with_groups", (True, False))
def test_an_adapter_loaded_for_inference_is_to_be_loaded_for_training(with_groups, tmp_path):
    build_adapted().save_pretrained(tmp_path)
    model = peft.PeftModel.from_pretrained(tiny_transformers_model("bert", 3), tmp_path)
    learn = make(model, layer_groups) if with_groups else make(model, lambda module: [list(module.parameters())])
    found = diagnose(learn).findings
    assert found[0].cause == "everything-frozen" and "is_trainable=True" in found[0].fix
    for finding in found:
        assert "unfreeze()" not in finding.fix
        if finding.can_apply:
            finding.apply(learn)
    assert not trainable(model)


def test_a_head_that_add_adapter_leaves_frozen_is_told_of_with_its_cure():
    found = {f.cause: f for f in diagnose(make(add_adapter())).findings}
    assert "modules_to_save" in found["head-frozen"].fix and not found["head-frozen"].can_apply
    healthy = diagnose(make(add_adapter(modules_to_save=["classifier"])))
    assert "head-frozen" not in healthy.causes


def test_a_model_without_adapters_is_still_unfrozen():
    learn = make(tiny_transformers_model("bert", 3))
    learn.model.requires_grad_(False)
    finding = diagnose(learn).findings[0]
    assert finding.cause == "everything-frozen" and finding.fix.startswith("learn.unfreeze()")
    finding.apply(learn)
    assert len(trainable(learn.model)) > 30


@pytest.mark.parametrize("action", ("unfreeze", "one-group", "one-group-and-optimizer", "split-with-everything"))
def test_no_fix_of_the_table_trains_the_base(action):
    model = build_adapted()
    learn, before = make(model), trainable(model)
    FIXES[action].apply(learn)
    assert trainable(model) == before


@pytest.mark.slow
def test_freeze_without_groups_is_told_of_and_no_healthy_use_is():
    learn = make(tiny_transformers_model("bert", 3), lambda module: list(module.parameters()))
    assert "freeze-without-groups" not in diagnose(learn).causes
    learn.freeze()
    assert "freeze-without-groups" in diagnose(learn).causes
    learn.fit(1, 1e-3)
    assert "freeze-without-groups" not in diagnose(learn).causes
    learn.freeze()
    assert "freeze-without-groups" in diagnose(learn).causes
    learn.lr_find(num_it=3, show_plot=False)
    assert "freeze-without-groups" not in diagnose(learn).causes


def test_freeze_with_groups_is_not():
    learn = make(tiny_transformers_model("bert", 3))
    learn.freeze()
    assert "freeze-without-groups" not in diagnose(learn).causes
