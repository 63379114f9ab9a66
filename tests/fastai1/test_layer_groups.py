"""``layer_groups`` in a real learner: freezing, learning rates, decay and steps, as in fastai's own text models."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("fastai.basic_train")

from fastai.torch_core import ParameterModule, flatten_model

from fastai_hf_callback import InputError, layer_groups, patched_loop
from fastai_hf_callback.model.layer_groups import build_layer_groups
from tests.fastai1.learners import make_learner
from tests.tiny_models import ARCHITECTURES, tiny_model

pytestmark = pytest.mark.slow
NOW = ("albert", "electra", "mpnet", "deberta", "roformer")
every_architecture = pytest.mark.parametrize("name", [*ARCHITECTURES, *(f"{name} of transformers 5" for name in NOW)])
LR = 1e-2


def ids_of(parameters):
    return [id(p) for p in parameters]


def trainable(learn):
    return {name for name, p in learn.model.named_parameters() if p.requires_grad}


def group_names(learn):
    names = {id(p): name for name, p in learn.model.named_parameters()}
    return [{names[id(p)] for p in group.parameters()} for group in learn.layer_groups]


def check_freezes_groups(learn):
    """Every parameter is in one group; ``freeze`` and its like train the groups that they say, and no other."""
    groups = group_names(learn)
    assert set().union(*groups) == {name for name, _ in learn.model.named_parameters()}
    assert sum(map(len, groups)) == len(set().union(*groups))
    for freeze, kept in [
        (learn.freeze, groups[-1:]),
        (partial(learn.freeze_to, -2), groups[-2:]),
        (learn.unfreeze, groups),
    ]:
        freeze()
        assert trainable(learn) == set().union(*kept)
        held = sum((ids_of(group["params"]) for group in learn.opt.opt.param_groups), [])
        assert sorted(held) == sorted(id(p) for p in learn.model.parameters() if p.requires_grad)


def check_undecayed(learn):
    """Norms and biases, and these alone, are in the optimizer's groups without decay."""
    learn.unfreeze()
    names = {id(p): name for name, p in learn.model.named_parameters()}
    flat = {names[id(p)] for p in learn.model.parameters() if p.dim() == 1}
    held = {names[id(p)] for group in learn.opt.opt.param_groups[1::2] for p in group["params"]}
    assert held == flat


def check_moves_what_is_trainable(learn):
    learn.freeze_to(-2)
    for p in learn.model.parameters():
        p.data += 0.1  # a zero would not be seen to decay
    expected, before = trainable(learn), {k: p.detach().clone() for k, p in learn.model.named_parameters()}
    learn.fit(1, LR, wd=0.1)
    moved = {name for name, p in learn.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == expected


@every_architecture
def test_freezing_rates_and_decay(name):
    learn = make_learner(name).split(layer_groups)
    check_freezes_groups(learn)
    check_undecayed(learn)
    rates = learn.lr_range(slice(1e-5, 1e-3))
    assert len(rates) == len(learn.layer_groups) and (np.diff(rates) > 0).all()
    check_moves_what_is_trainable(learn)


def test_freeze_leaves_the_head():
    learn = make_learner("bert").split(layer_groups)
    learn.freeze()
    assert {name.split(".")[-2] for name in trainable(learn)} == {"dense", "classifier"}
    assert {name.split(".")[2] for name in trainable(learn)} == {"pooler", "weight", "bias"}


def test_slices_of_rates_arrive_group_by_group():
    learn = make_learner("bert").split(layer_groups)
    learn.unfreeze()
    learn.fit(1, slice(1e-5, 1e-3))
    rates = [group["lr"] for group in learn.opt.opt.param_groups]
    assert rates[::2] == rates[1::2] == pytest.approx([1e-5, 10 ** (-13 / 3), 10 ** (-11 / 3), 1e-3])


def test_a_number_of_groups():
    learn = make_learner("bert").split(partial(layer_groups, n=3))
    assert len(learn.layer_groups) == 3
    check_freezes_groups(learn)


def test_a_bare_model_and_a_wrapped_one_split_alike():
    wrapped = make_learner("bert").split(layer_groups)
    bare = make_learner("bert", masked=False, wrap=False).split(layer_groups)
    assert group_names(bare) == [{name[len("model.") :] for name in group} for group in group_names(wrapped)]


def test_without_decay_norms_and_biases_stay_where_no_gradient_arrives():
    learn = make_learner("bert", bn_wd=False).split(layer_groups)
    learn.unfreeze()
    learn.create_opt(LR, 0.5)
    before = {k: p.detach().clone() for k, p in learn.model.named_parameters()}
    for p in learn.model.parameters():
        p.grad = torch.zeros_like(p)
    learn.opt.step()
    stayed = {k for k, p in learn.model.named_parameters() if torch.equal(p, before[k])}
    assert stayed == {k for k, p in before.items() if p.dim() == 1}


def test_the_groups_survive_pickle_and_hold_flattened_modules():
    model = tiny_model("xlnet")
    groups = layer_groups(model)
    assert all(not list(leaf.children()) for group in groups for leaf in group)
    _, copied = pickle.loads(pickle.dumps((model, groups)))
    assert [[p.shape for leaf in group for p in leaf.parameters()] for group in copied] == [
        [p.shape for leaf in group for p in leaf.parameters()] for group in groups
    ]
    assert "_NoDecayParameter((16,))" in str(layer_groups(tiny_model("gpt2")))


# -- tied weights ----------------------------------------------------------------------------------------------------


def language_model(kind):
    library = pytest.importorskip("pytorch_transformers")
    return getattr(library, kind)(tiny_model({"B": "bert", "G": "gpt2", "X": "xlnet"}[kind[0]]).config)


@pytest.mark.parametrize("kind", ["BertForMaskedLM", "GPT2LMHeadModel", "XLNetLMHeadModel"])
def test_a_tied_embedding_goes_with_the_output_layer_and_into_the_optimizer_once(kind):
    learn = make_learner("bert")
    learn.model = language_model(kind)
    check_freezes_groups(learn.split(layer_groups))
    check_undecayed(learn)
    learn.freeze()
    assert any("embedding" in name or "wte" in name for name in trainable(learn))


# -- broken splitters fail the same checks ---------------------------------------------------------------------------


def without_tying(model):
    """Leaves cut in two by count, as is done by hand: what is tied is in both."""
    leaves = [leaf for leaf in flatten_model(model) if list(leaf.parameters())]
    return [leaves[: len(leaves) // 2], leaves[len(leaves) // 2 :]]


def without_lone_parameters(model):
    return [[leaf for leaf in group if type(leaf).__module__.startswith("torch")] for group in layer_groups(model)]


def whole_linears(model):
    """The same groups as fastai would flatten them."""
    return [
        [ParameterModule(part) if isinstance(part, nn.Parameter) else part for part in group]
        for group in build_layer_groups(model)
    ]


def unflattened(model):
    return [[model.model.bert], [model.model.classifier]]


def test_what_is_tied_and_split_is_seen():
    learn = make_learner("bert")
    learn.model = language_model("BertForMaskedLM")
    with pytest.raises((AssertionError, ValueError)):
        check_freezes_groups(learn.split(without_tying))


def test_what_is_left_out_is_seen():
    with pytest.raises(AssertionError):
        check_freezes_groups(make_learner("xlnet").split(without_lone_parameters))


def test_groups_that_are_not_flattened_are_seen():
    learn = make_learner("bert").split(unflattened)
    check_freezes_groups(learn)
    with pytest.raises(AssertionError):
        check_undecayed(learn)


def test_frozen_biases_that_decay_are_seen():
    with pytest.raises(AssertionError), patched_loop():
        check_moves_what_is_trainable(make_learner("bert", callbacks=[]).split(whole_linears))


def test_frozen_biases_stand_still_with_the_callback_whatever_the_groups():
    check_moves_what_is_trainable(make_learner("bert").split(whole_linears))


def test_what_cannot_be_split_is_refused():
    with pytest.raises(InputError, match="no repeated blocks"):
        layer_groups(nn.Linear(2, 2))
    with pytest.raises(InputError, match="n=9 was given"):
        make_learner("bert").split(partial(layer_groups, n=9))
