"""What modules are given while a model runs: all of it seen, and every hook taken off again."""

import copy

import pytest
import torch
from torch import nn

from fastai_hf_callback.diagnosis.probes.forward_calls import (
    record_arguments,
    record_embedding_calls,
    record_executed_modules,
    takes_mask,
)
from tests.tiny_models import VOCAB, WITHOUT_MASK, ids, tiny_model

WATCHERS = {"embeddings": record_embedding_calls, "executed": record_executed_modules, "arguments": record_arguments}


def traces_of_watching(model):
    return [m for m in model.modules() if m._forward_pre_hooks or m._forward_hooks or "forward" in vars(m)]


@pytest.mark.parametrize("watcher", WATCHERS)
def test_what_is_watched_is_left_as_it_was_also_after_an_exception(watcher):
    model = tiny_model("bert")
    with WATCHERS[watcher](model) as calls:
        assert traces_of_watching(model)
        model(ids())
    assert calls and not traces_of_watching(model)
    with pytest.raises(ZeroDivisionError), WATCHERS[watcher](model):
        raise ZeroDivisionError
    with pytest.raises((IndexError, RuntimeError)), WATCHERS[watcher](model):
        model(ids() + VOCAB)
    assert not traces_of_watching(model)


def test_watching_changes_neither_the_output_nor_what_was_noted():
    model, table = tiny_model("bert").eval(), ids()
    before = model(table)[0]
    with record_embedding_calls(model) as calls, record_executed_modules(model) as ran, record_arguments(
        model
    ) as given_names:
        assert torch.equal(model(table)[0], before)
    table.zero_()
    assert int(calls[0].ids.max()) > 0, "a copy, not the batch's own tensor"
    assert ran[-1] is model.classifier and list(given_names[0]) == ["input_ids"]


@pytest.mark.parametrize("name", ["bert", "xlnet", "distilbert"])
def test_arguments_are_named_also_when_given_by_position(name):
    model, (table, mask) = tiny_model(name), (ids(), torch.ones_like(ids()))
    with record_arguments(model) as calls:
        model(table, attention_mask=mask)
    assert any(call.get("attention_mask") is mask for call in calls) and name not in WITHOUT_MASK
    with record_arguments(model) as calls:
        model(table, mask)
    assert len(calls[0]) == 2


@pytest.mark.parametrize("watcher", WATCHERS)
def test_a_copy_made_while_watched_runs_on_its_own_weights(watcher):
    model = tiny_model("bert").eval()
    with WATCHERS[watcher](model):
        made = copy.deepcopy(model)
        with torch.no_grad():
            for weight in made.parameters():
                weight.zero_()
    assert not made(ids())[0].bool().any() and model(ids())[0].bool().any()


class WithoutMask(nn.Module):
    def forward(self, input_ids, token_type_ids=None):
        return input_ids


@pytest.mark.parametrize(
    "model, expected",
    [
        (tiny_model("bert"), True),
        (tiny_model("xlnet"), True),
        (WithoutMask(), False),
        (nn.Linear(1, 1), True),
        (nn.ModuleList([WithoutMask(), tiny_model("bert")]), True),
    ],
)
def test_whether_a_mask_could_be_given(model, expected):
    assert takes_mask(model) is expected


def test_a_call_that_does_not_bind_still_says_so_itself():
    with record_arguments(tiny_model("bert")) as calls, pytest.raises(TypeError):
        tiny_model("bert")(ids(), langs=1)
    assert calls == []
