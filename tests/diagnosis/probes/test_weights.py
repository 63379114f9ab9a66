"""probe_weights: finite, half, at initialisation, and how strongly matrices amplify."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from fastai_hf_callback.diagnosis.probes.weights import probe_weights
from tests.tiny_models import tiny_model


def a_body(width=8):
    return nn.Sequential(nn.Embedding(20, width), nn.Linear(width, width), nn.LayerNorm(width), nn.Linear(width, 2))


def changed(model, name, value):
    with torch.no_grad():
        dict(model.named_parameters())[name].view(-1)[0] = value
    return model


def test_a_fresh_body():
    seen = probe_weights(a_body())
    assert (seen.parameters, seen.non_finite, seen.half, seen.has_master_copies) == (7, 0, 0, False)
    assert seen.body_at_init is True and seen.body_trainable is True
    assert seen.elements == 20 * 8 + 8 * 8 + 8 + 8 + 8 + 2 * 8 + 2 and seen.pretrained_name is None
    assert 0.1 < seen.gain < 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_counted_and_named(value):
    seen = probe_weights(changed(a_body(), "1.weight", value))
    assert (seen.non_finite, seen.non_finite_names) == (1, ["1.weight"])
    assert seen.gain is not None and seen.gain < 2, "the other matrices still say something"


def test_no_more_than_five_are_named():
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(4)])
    for parameter in model.parameters():
        parameter.data.fill_(float("nan"))
    seen = probe_weights(model)
    assert seen.non_finite == 8 and len(seen.non_finite_names) == 5 and seen.gain is None


@pytest.mark.parametrize("name", ["2.weight", "2.bias"])
def test_one_layer_norm_that_moved_is_no_initialisation(name):
    assert probe_weights(changed(a_body(), name, 0.9)).body_at_init is False


def test_without_any_norm_nothing_is_said_about_the_start():
    seen = probe_weights(nn.Linear(3, 3))
    assert seen.body_at_init is None and seen.body_trainable is None


@pytest.mark.parametrize("frozen, trainable", [([0, 1, 2], False), ([0, 1], False), ([2], True), ([0, 2, 3], True)])
def test_a_body_trains_where_a_matrix_before_its_last_norm_does(frozen, trainable):
    model = a_body()
    for i in frozen:
        for parameter in model[i].parameters():
            parameter.requires_grad_(False)
    assert probe_weights(model).body_trainable is trainable


def test_norms_without_shifts_tell_of_the_start_too():
    model = a_body()
    model[2].bias = None
    assert probe_weights(model).body_at_init is True
    assert probe_weights(changed(model, "2.weight", 0.9)).body_at_init is False


# torch 1.4 once: isfinite of half weights on the CPU: '"abs_cpu" not implemented for 'Half''.
def test_half_weights_and_master_copies():
    seen = probe_weights(a_body().half(), has_master_copies=True)
    assert (seen.half, seen.parameters, seen.has_master_copies) == (7, 7, True)


def test_a_matrix_that_amplifies_is_seen_and_an_embedding_is_not_asked():
    model = a_body()
    model[1].weight.data.fill_(2.0)
    assert probe_weights(model).gain == pytest.approx(2 * 8**0.5)
    model = a_body()
    model[0].weight.data.fill_(50.0)
    assert probe_weights(model).gain < 2


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "xlnet", "xlm", "gpt2"])
def test_a_real_model_from_scratch_is_at_initialisation(name):
    seen = probe_weights(tiny_model(name))
    assert seen.body_at_init is True and seen.non_finite == 0 and 0 < seen.gain < 6


def test_the_name_a_model_came_from():
    model = a_body()
    assert probe_weights(model).pretrained_name is None
    model[1].config = SimpleNamespace(_name_or_path="bert-base-uncased")
    assert probe_weights(model).pretrained_name == "bert-base-uncased"
    model[1].config = SimpleNamespace(name_or_path="", _name_or_path=None)
    assert probe_weights(model).pretrained_name is None


def test_the_model_is_left_as_it_was():
    model = a_body()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    probe_weights(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_matrices_of_zeros_are_named_after_masks():
    model = a_body()
    prune.l1_unstructured(model[1], "weight", amount=1.0)
    assert probe_weights(model).zero_matrices == ["1"]
    sound = a_body()
    prune.l1_unstructured(sound[1], "weight", amount=1)
    assert probe_weights(sound).zero_matrices == []


@pytest.mark.parametrize("momentum, stale", [(0.0, ["0"]), (0.1, [])])
def test_statistics_that_stay_where_they_began_are_named_once_batches_were_seen(momentum, stale):
    model = nn.Sequential(nn.BatchNorm1d(4, momentum=momentum))
    assert probe_weights(model).stale_statistics == []
    model(torch.randn(8, 4))
    assert probe_weights(model).stale_statistics == stale


def test_an_embedding_is_named_where_it_alone_is_frozen():
    model = a_body()
    assert probe_weights(model).embedding_alone_frozen is None
    model[0].weight.requires_grad_(False)
    assert probe_weights(model).embedding_alone_frozen == "0"
    model[1].weight.requires_grad_(False)
    assert probe_weights(model).embedding_alone_frozen is None
