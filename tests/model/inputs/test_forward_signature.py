"""What a forward takes: names are found where they are really taken, and no others."""

import functools

import pytest
import torch
from torch import nn

from fastai_hf_callback.model.inputs.forward_signature import (
    ForwardSignature,
    find_pretrained,
    main_input_name,
    read_forward_signature,
)
from tests.installed_stack import is_installed
from tests.tiny_models import tiny_model


class Declared(nn.Module):
    """A model as transformers has them: says what its main input is called, and takes any name besides."""

    main_input_name = "input_ids"
    config = "its config"

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Layer()])

    def forward(self, input_ids, attention_mask=None, position_ids=None, **kwargs):
        for number, layer in enumerate(self.layers[:1]):
            input_ids = layer(input_ids + number, attention_mask=attention_mask, **kwargs)
        return input_ids


class Layer(nn.Module):
    def forward(self, hidden, attention_mask=None, bias=None, **kwargs):
        return hidden if kwargs.get("scale") is None else hidden * kwargs["scale"]


def undecorated(function):
    def called(self, *args, **kwargs):
        kwargs.pop("return_dict", None)
        return function(self, *args, **kwargs)

    return called


def decorated(function):
    return functools.wraps(function)(undecorated(function))


class Head(nn.Module):
    """A head of one's own around a model; each way of handing keywords on is a class below."""

    def __init__(self, model=None):
        super().__init__()
        self.body = Declared() if model is None else model
        self.name, self.mine = "ages", ("heights", "weights")


class HandsOn(Head):
    def forward(self, input_ids, **more):
        return self.body(input_ids=input_ids, **more)


class HandsAllOn(Head):
    def forward(self, *args, **kwargs):
        return self.body.forward(*args, **kwargs)


class ByLocalName(Head):
    def forward(self, input_ids, **more):
        body = self.body if self.training else getattr(self, "body")  # noqa: B009  as transformers' heads write it
        return body(input_ids, **more)


class ThroughMethod(Head):
    def forward(self, input_ids, **more):
        return self.encode(input_ids, **more)

    def encode(self, ids, **more):
        return self.body(ids, **more)


class ThroughSuper(HandsOn):
    def forward(self, input_ids, **more):
        return super().forward(input_ids, **more)


class Decorated(Head):
    @decorated
    def forward(self, input_ids, **more):
        return self.body(input_ids, **more)


class DecoratedWithoutWraps(Head):
    @undecorated
    def forward(self, input_ids, **more):
        return self.body(input_ids, **more)


class Filters(Head):
    def forward(self, input_ids, **more):
        more = {name: value for name, value in more.items() if name not in self.mine}
        return self.body(input_ids, **more)


class TakesOut(Head):
    def forward(self, input_ids, **more):
        ages = more.pop(self.name) if "labels" in more else more["sizes"]
        for name in ("a", "b"):
            more.pop(name, None)
        return self.body(input_ids, **more) + ages


class Swallows(Head):
    def forward(self, input_ids, **more):
        return self.body(input_ids)


class GivesItself(Head):
    def forward(self, input_ids, **more):
        return self.body(input_ids, position_ids=None, **more)


class Unknown(nn.Module):
    def forward(self, input_ids, **more):
        return more


FOLLOWED = ("attention_mask", "position_ids", "bias", "scale")


@pytest.mark.parametrize(
    "head",
    [
        HandsOn,
        HandsAllOn,
        ByLocalName,
        ThroughMethod,
        ThroughSuper,
        Decorated,
        DecoratedWithoutWraps,
        Filters,
        TakesOut,
    ],
    ids=lambda head: head.__name__,
)
def test_names_are_followed_to_whoever_takes_them_and_misspelt_ones_to_nobody(head):
    for model in (head(), head(head()), nn.DataParallel(head())):
        signature = read_forward_signature(model)
        assert all(signature.takes(name) for name in ("input_ids", *FOLLOWED))
        assert not any(signature.takes(name) for name in ("attn_mask", "hidden", "self", "more", "kwargs"))
        assert signature.required == ("input_ids",)


@pytest.mark.parametrize(
    "head, taken",
    [
        (TakesOut, ("ages", "labels", "sizes", "a", "b")),
        (Filters, ("heights", "weights")),
        (Decorated, ("return_dict",)),
        (DecoratedWithoutWraps, ("return_dict",)),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_what_is_taken_out_of_the_keywords_is_taken(head, taken):
    assert all(read_forward_signature(head()).takes(name) for name in taken)
    assert not any(read_forward_signature(HandsOn()).takes(name) for name in taken)


def test_what_is_swallowed_is_not_taken():
    assert read_forward_signature(Swallows()) == ForwardSignature(("input_ids",), ("input_ids",))


def test_what_a_wrapper_gives_itself_cannot_be_given_too():
    assert not read_forward_signature(GivesItself()).takes("position_ids")
    assert read_forward_signature(GivesItself()).takes("attention_mask")


def test_a_forward_that_does_anything_with_its_keywords_may_take_any_name():
    assert read_forward_signature(Unknown()).takes("whatever")
    assert read_forward_signature(HandsOn(Unknown())).takes("whatever")
    assert not read_forward_signature(HandsOn()).takes("whatever")


def test_a_forward_without_source_hands_on_to_the_models_inside():
    named = {"Head": Head}
    exec(
        "class NoSource(Head):\n    def forward(self, ids, **more): return self.body(ids, **more) + more.pop('own')",
        named,
    )
    signature = read_forward_signature(named["NoSource"]())
    assert all(signature.takes(name) for name in ("ids", "own", *FOLLOWED)) and not signature.takes("attn_mask")


def test_a_forward_set_on_the_instance_and_a_partial_one_are_read():
    model = Unknown()
    model.forward = functools.partial(HandsOn().forward, attention_mask=None)
    signature = read_forward_signature(model)
    assert signature.named[0] == "input_ids" and signature.takes("position_ids") and not signature.takes("whatever")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(torch, "compile"), reason="torch.compile came with torch 2")
def test_a_compiled_model_is_read_as_itself():
    assert read_forward_signature(torch.compile(HandsOn())) == read_forward_signature(HandsOn())


def test_a_scripted_model_is_read_too():
    assert read_forward_signature(torch.jit.script(nn.Linear(2, 1))).takes("input")


def test_an_attribute_that_raises_is_no_obstacle():
    class Raises(HandsOn):
        @property
        def config(self):
            raise RuntimeError("not now")

    assert read_forward_signature(Raises()).takes("position_ids")


def test_the_config_and_the_main_input_are_those_of_the_model_inside():
    head = HandsOn()
    assert find_pretrained(nn.DataParallel(head)) is head.body and find_pretrained(nn.Linear(1, 1)).in_features == 1
    assert main_input_name(head, read_forward_signature(head)) == "input_ids"
    head.body.main_input_name = "pixel_values"  # which this forward does not take
    assert main_input_name(head, read_forward_signature(head)) is None


# -- real ones ---------------------------------------------------------------------------------------------------

needs_transformers = pytest.mark.skipif(not is_installed("transformers"), reason="takes **kwargs in transformers alone")


@needs_transformers
@pytest.mark.parametrize("name", ["bert of transformers 5", "distilbert of transformers 5", "gpt2 of transformers 5"])
@pytest.mark.parametrize("head", [None, HandsOn, HandsAllOn, Filters], ids=str)
def test_models_of_transformers_take_what_they_name_and_no_misspelt_name(name, head):
    bare = tiny_model(name)
    signature = read_forward_signature(bare if head is None else head(bare))
    right = ("attention_mask", "position_ids", "inputs_embeds", "labels", "output_attentions", "return_dict")
    assert all(signature.takes(one) for one in right)
    assert not any(signature.takes(f"{one}s") for one in (*right, "mask", "attn_mask", "token_types", "hidden_state"))


@needs_transformers
def test_names_are_read_through_an_adapter_of_peft():
    peft = pytest.importorskip("peft")
    bare = tiny_model("bert of transformers 5")
    expected = read_forward_signature(bare)
    for task in ("SEQ_CLS", None):
        adapted = peft.get_peft_model(bare, peft.LoraConfig(task_type=task, target_modules=["query"]))
        signature = read_forward_signature(adapted)
        assert set(expected.named) <= set(signature.named) and signature.takes("adapter_names")
        assert not any(signature.takes(name) for name in ("attn_mask", "token_types", "args"))
        bare = adapted.unload()
