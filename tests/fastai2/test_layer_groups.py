"""``layer_groups`` in a real learner: freezing, learning rates and steps, as in fastai's own text models."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from fastai.torch_core import norm_bias_params
from torch import nn

from fastai_hf_callback import InputError, layer_groups
from tests.fastai2.learners import MODELS, OUTPUTS, make_learner
from tests.tiny_models import tiny_transformers_model

LR = 1e-2
every_architecture = pytest.mark.parametrize("name", [*MODELS, "mpnet", "deberta", "roformer"])


def split(name="bert", splitter=layer_groups, **kwargs):
    learn = make_learner(name, splitter=splitter, **kwargs)
    learn.create_opt()
    return learn


def trainable(learn):
    return {name for name, p in learn.model.named_parameters() if p.requires_grad}


def group_names(learn):
    names = {id(p): name for name, p in learn.model.named_parameters()}
    return [{names[id(p)] for p in group} for group in learn.opt.param_lists]


def check_freezes_groups(learn):
    """Every parameter is in one group; ``freeze`` and its like train the groups that they say, and of the others the
    norms alone, as fastai 2 wants it (``train_bn``)."""
    groups = group_names(learn)
    every = {name for name, _ in learn.model.named_parameters()}
    assert set().union(*groups) == every
    held = [id(p) for group in learn.opt.param_lists for p in group]
    assert sorted(held) == sorted(id(p) for p in learn.model.parameters())
    norms = {id(p) for p in norm_bias_params(learn.model, False)} if learn.train_bn else set()
    norms = {name for name, p in learn.model.named_parameters() if id(p) in norms}
    for freeze, kept in [
        (learn.freeze, groups[-1:]),
        (partial(learn.freeze_to, -2), groups[-2:]),
        (learn.unfreeze, groups),
    ]:
        freeze()
        assert trainable(learn) == set().union(*kept) | norms


def check_moves_what_is_trainable(learn):
    learn.freeze_to(-2)
    expected, before = trainable(learn), {k: p.detach().clone() for k, p in learn.model.named_parameters()}
    learn.fit(1, LR, wd=0.1)
    moved = {name for name, p in learn.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved <= expected
    assert len(moved) > 0.8 * len(expected)  # some that train get no gradient, such as BERT's key biases


@every_architecture
@pytest.mark.parametrize("train_bn", (True, False))
def test_freezing_and_rates(name, train_bn):
    learn = split(name, train_bn=train_bn)
    check_freezes_groups(learn)
    learn.opt.set_hyper("lr", slice(1e-5, 1e-3))
    rates = [hyper["lr"] for hyper in learn.opt.hypers]
    assert len(rates) == len(learn.opt.param_lists) > 2 and (np.diff(rates) > 0).all()
    check_moves_what_is_trainable(learn)


def test_freeze_leaves_the_head():
    learn = split("bert", train_bn=False)
    learn.freeze()
    assert trainable(learn) == {
        f"model.{name}"
        for name in ("bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias")
    }


def test_fine_tune_trains_the_head_and_then_everything():
    learn = split("bert")
    learn.fine_tune(1, 1e-3)
    assert trainable(learn) == {name for name, _ in learn.model.named_parameters()}
    rates = [hyper["lr"] for hyper in learn.opt.hypers]
    assert rates == sorted(rates) and rates[0] < rates[-1]


def test_a_number_of_groups():
    learn = split("bert", partial(layer_groups, n=3))
    assert len(learn.opt.param_lists) == 3
    check_freezes_groups(learn)


def test_a_bare_model_and_a_wrapped_one_split_alike():
    wrapped, bare = split("bert"), split("bert", masked=False, wrap=False)
    assert group_names(bare) == [{name[len("model.") :] for name in group} for group in group_names(wrapped)]


def test_the_groups_hold_the_models_own_parameters_and_survive_pickle():
    model = tiny_transformers_model("xlnet", OUTPUTS["classes"])
    groups = layer_groups(model)
    own = {id(p) for p in model.parameters()}
    assert all(isinstance(p, nn.Parameter) and id(p) in own for group in groups for p in group)
    again, copied = pickle.loads(pickle.dumps((model, groups)))
    assert {id(p) for group in copied for p in group} == {id(p) for p in again.parameters()}


@pytest.mark.parametrize("name", ("bert", "roberta", "distilbert", "electra", "albert"))
def test_a_tied_embedding_goes_with_the_output_layer_and_into_the_optimizer_once(name):
    learn = split(name, task="blanks", train_bn=False)
    check_freezes_groups(learn)
    learn.freeze()
    assert any("word_embeddings" in parameter for parameter in trainable(learn))


# -- broken splitters fail the same checks ---------------------------------------------------------------------------


def tied_weights_twice(model):
    groups = layer_groups(model)
    return [[groups[-1][0], *groups[0]], *groups[1:]]


def without_lone_parameters(model):
    return [[p for p in group if p.dim() < 3] for group in layer_groups(model)]


def test_what_is_in_two_groups_is_seen():
    with pytest.raises(AssertionError):
        check_freezes_groups(split("bert", tied_weights_twice))


def test_what_is_left_out_is_seen():
    with pytest.raises(AssertionError):
        check_freezes_groups(split("xlnet", without_lone_parameters))


def test_what_cannot_be_split_is_refused():
    with pytest.raises(InputError, match="no repeated blocks"):
        layer_groups(nn.Linear(2, 2))
    with pytest.raises(InputError, match="n=9 was given"):
        split("bert", partial(layer_groups, n=9))
