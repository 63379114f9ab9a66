"""A model that was asked for attentions can be pickled, gives them on, and gives them when it is loaded."""

import copy
import io
import pickle

import pytest
import torch

from fastai_hf_callback import HFModel
from fastai_hf_callback.model.capture_hooks import without_capture_hooks
from tests.installed_stack import is_installed
from tests.tiny_models import ids, tiny_model

if not is_installed("transformers"):
    pytest.skip("pytorch-transformers leaves no hooks", allow_module_level=True)


BATCH = ids(3)


def asked(given=("hidden_states", "attentions")):
    """Make a model that has given hidden states and attentions."""
    bare = tiny_model("bert of transformers 5").eval()
    bare.set_attn_implementation("eager")
    wrapped = HFModel(bare, "input_ids", 0, {f"output_{name}": True for name in given})
    assert has_given(wrapped(BATCH))
    return wrapped


def has_given(output):
    return len(output.attentions) == 2 and len(output.hidden_states) == 3


def double(module, args, output):
    """Double what a head gives: a hook that is part of what a model computes."""
    return output * 2


def test_without_care_it_cannot_be_pickled():
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        pickle.dumps(asked().model)


@pytest.mark.parametrize(
    "travel",
    [lambda m: pickle.loads(pickle.dumps(m)), lambda m: torch.load(saved(m), weights_only=False), copy.deepcopy],
    ids=["pickle", "torch.save", "deepcopy"],
)
@pytest.mark.parametrize("around", [lambda model: model, torch.nn.DataParallel], ids=["alone", "DataParallel"])
def test_it_travels_gives_attentions_on_and_gives_them_there(travel, around):
    model = around(asked())
    expected = model(BATCH).logits
    for _ in range(2):  # and again, of a model that was pickled already
        there = travel(model)
        for one in (model, there, travel(there)):
            output = one(BATCH)
            assert has_given(output) and torch.equal(output.logits, expected)


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return file


def test_a_copy_of_the_bare_model_gives_them_too_after_a_pickle():
    model = asked()
    pickle.dumps(model)
    twin = copy.deepcopy(model.model)
    assert has_given(twin(BATCH, output_attentions=True, output_hidden_states=True))


def test_other_hooks_are_kept():
    model = asked()
    expected = model(BATCH).logits * 2
    model.model.classifier.register_forward_hook(double)
    there = pickle.loads(pickle.dumps(model))
    assert torch.equal(model(BATCH).logits, expected) and torch.equal(there(BATCH).logits, expected)


def test_taken_out_they_come_back_whatever_happens():
    model = asked().model
    before = [dict(module._forward_hooks) for module in model.modules()]
    with pytest.raises(KeyError), without_capture_hooks(model):
        assert has_given(pickle.loads(pickle.dumps(model))(BATCH, output_attentions=True, output_hidden_states=True))
        raise KeyError
    assert [dict(module._forward_hooks) for module in model.modules()] == before and any(before)
    assert has_given(model(BATCH, output_attentions=True, output_hidden_states=True))
