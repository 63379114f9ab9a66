"""HFModel: inputs by name in any order, and a mask where none was given."""

import copy
import pickle
import warnings
from collections import UserDict
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fastai_hf_callback import HFModel, InputError, unwrap
from tests.tiny_models import ARCHITECTURES, PAD, ids, padded, tiny_model

quick = settings(deadline=None, max_examples=50)
NAMES = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


class Echo(nn.Module):
    """Returns what its forward was called with, by name."""

    def __init__(self, **config):
        super().__init__()
        self.config = SimpleNamespace(**config)

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        token_type_ids=None,
        position_ids=None,
        input_mask=None,
        inputs_embeds=None,
    ):
        return {name: value for name, value in locals().items() if name not in ("self", "__class__")}


class Needy(nn.Module):
    def forward(self, input_ids, lengths, *, langs, scale=1.0):
        return input_ids, lengths, langs, scale


class OpenEnded(nn.Module):
    def forward(self, input_ids, **kwargs):
        return kwargs


TWO = (torch.ones(2, 3), torch.ones(2, 1))


class NoMask(nn.Module):
    def forward(self, input_ids):
        return (input_ids,)


# -- any naming, any order -------------------------------------------------------------------------

given_in = {
    "positional": lambda model, batch: model(*batch.values()),
    "tuple": lambda model, batch: model(tuple(batch.values())),
    "list": lambda model, batch: model(list(batch.values())),
    "dict": lambda model, batch: model(batch),
    "UserDict": lambda model, batch: model(UserDict(batch)),
}


@pytest.mark.parametrize("how", sorted(given_in))
@quick
@given(names=st.permutations(NAMES).flatmap(lambda names: st.integers(1, 4).map(lambda n: names[:n])))
def test_each_tensor_arrives_at_the_argument_of_its_name(how, names):
    batch = {name: torch.full((2, 3), i) for i, name in enumerate(names)}
    arrived = given_in[how](HFModel(Echo(), inputs=names, pad_token_id=9), batch)
    assert all(arrived[name] is tensor for name, tensor in batch.items())
    assert all(arrived[name] is None for name in NAMES if name not in names and name != "attention_mask")


@pytest.mark.parametrize("order", [NAMES[:3], NAMES[2::-1], ("attention_mask", "token_type_ids", "input_ids")], ids=str)
def test_a_real_model_gives_the_same_in_any_order(order):
    bare = tiny_model("bert").eval()
    tokens, mask = padded(6, 3)
    batch = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": torch.ones_like(mask)}
    expected = bare(tokens, attention_mask=mask, token_type_ids=torch.ones_like(mask))[0]
    assert torch.equal(HFModel(bare, inputs=order)(*(batch[name] for name in order))[0], expected)


def test_wrong_names_would_be_noticed():
    bare = tiny_model("bert").eval()
    tokens, mask = padded(6, 3)
    right, wrong = (HFModel(bare, ("input_ids", name), PAD) for name in ("attention_mask", "token_type_ids"))
    assert not torch.equal(right(tokens, mask)[0], wrong(tokens, mask)[0])


def test_one_tensor_needs_no_name():
    tokens = ids()
    assert HFModel(Echo(), pad_token_id=PAD)(tokens)["input_ids"] is tokens
    assert HFModel(Echo(), pad_token_id=PAD)([tokens])["input_ids"] is tokens


def test_one_name_may_be_a_plain_string():
    assert HFModel(Echo(), inputs="inputs_embeds")(torch.ones(1)).get("inputs_embeds") is not None


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_wrapped_model_computes_what_the_bare_one_does_and_every_gradient_with_it(name):
    bare = tiny_model(name).eval()
    wrapped, tokens = HFModel(copy.deepcopy(bare), pad_token_id=PAD), ids()
    gradients = []
    for model in (bare, wrapped):
        logits = unwrap(model(tokens))
        logits.sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    assert torch.equal(unwrap(bare(tokens)), unwrap(wrapped(tokens)))
    assert len(gradients[0]) == len(gradients[1]) and any(g is not None for g in gradients[0])
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(*gradients))


@quick
@given(names=st.permutations(NAMES), as_dict=st.booleans())
def test_the_callers_batch_is_not_touched(names, as_dict):
    tensors = [torch.randint(0, 3, (2, 3)) for _ in names[:2]]
    batch = dict(zip(names, tensors)) if as_dict else list(tensors)
    before, values = copy.copy(batch), [t.clone() for t in tensors]
    HFModel(Echo(pad_token_id=PAD), inputs=names[:2])(batch)
    assert batch == before and type(batch) is type(before)
    assert all(map(torch.equal, tensors, values))


# -- keywords, constants ----------------------------------------------------------------------------


@quick
@given(names=st.permutations(NAMES), by_place=st.integers(0, 4), named=st.booleans())
def test_keywords_arrive_as_positions_do_in_any_mixture(names, by_place, named):
    batch = {name: torch.full((2, 3), i) for i, name in enumerate(names)}
    model = HFModel(Echo(), names if named or by_place > 1 else None, pad_token_id=9)
    if not model.input_names and by_place:  # the one without a name is the ids
        batch = {"input_ids": batch.pop("input_ids"), **batch}
    arrived = model(*list(batch.values())[:by_place], **dict(list(batch.items())[by_place:]))
    assert all(arrived[name] is tensor for name, tensor in batch.items())


def test_a_dict_and_keywords_are_joined():
    tokens, mask = padded(5, 2)
    arrived = HFModel(Echo())({"input_ids": tokens}, attention_mask=mask)
    assert arrived["input_ids"] is tokens and arrived["attention_mask"] is mask


TWICE = r"\['input_ids'\] was given by position and by name; expected it once."


@pytest.mark.parametrize(
    "batch, named, said",
    [
        ((TWO[0],), {"input_ids": TWO[1]}, TWICE),
        (({"input_ids": TWO[0]},), {"input_ids": TWO[1]}, TWICE),
        ((*TWO, TWO[0]), {"position_ids": TWO[1]}, "A batch of 3 .* names 2"),
        ((TWO[0],), {"token_types": TWO[1]}, r"\['token_types'\] was given, .* Did you mean 'token_type_ids'\?"),
    ],
    ids=["twice", "twice, in a dict", "too many", "misspelt"],
)
def test_keywords_that_do_not_fit_are_refused(batch, named, said):
    with pytest.raises(InputError, match=said):
        HFModel(Echo(), NAMES[:2], PAD)(*batch, **named)


def test_constants_are_given_with_every_batch_and_travel_with_the_model():
    model = HFModel(Needy(), ("input_ids", "lengths"), forward_kwargs={"langs": torch.ones(1), "scale": 3})
    for one in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)), HFModel(Needy(), **settings_of(model))):
        assert one(*TWO)[3] == 3 and one.half()(*TWO)[2].dtype == torch.float16
        assert one(*TWO, scale=4)[3] == 4 and one(*TWO)[3] == 3, "what a batch brings goes before"
    assert list(model.state_dict()) == []


def settings_of(model):
    return {"inputs": model.input_names, "forward_kwargs": model.forward_kwargs}


@pytest.mark.parametrize(
    "given, said",
    [
        ({"output_attention": True}, r"\['output_attention'\] was given, .* Write forward_kwargs=\{...\} with these"),
        ({"input_ids": 1}, r"\['input_ids'\] is in inputs and in forward_kwargs; expected it in one"),
        ("langs", "forward_kwargs='langs' was given; expected a dict"),
        ({1: 2}, r"forward_kwargs=\{1: 2\} was given; expected a dict"),
    ],
    ids=["misspelt", "twice", "no dict", "no names"],
)
def test_constants_that_forward_does_not_take_are_refused_at_construction(given, said):
    with pytest.raises(InputError, match=said):
        HFModel(Echo(), ("input_ids",), forward_kwargs=given)


class Sound(nn.Module):
    main_input_name = "input_values"

    def forward(self, input_values, attention_mask=None):
        return input_values


class AroundSound(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = Sound()

    def forward(self, **batch):
        return self.body(**batch)


@pytest.mark.parametrize("model", [Sound(), AroundSound(), nn.DataParallel(Sound())], ids=["bare", "head", "parallel"])
def test_one_tensor_is_the_models_own_main_input_without_a_word_about_text(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert HFModel(model)(TWO[0]) is TWO[0]


def test_what_is_put_inside_later_is_read_again():
    model = HFModel(AroundSound())
    assert model(input_values=TWO[0]) is TWO[0]
    model.model.body = NoMask()
    assert model(input_ids=TWO[0])[0] is TWO[0]
    model.model = Needy()
    assert model(input_ids=1, lengths=2, langs=3) == (1, 2, 3, 1.0)
    model.model.forward = lambda other: other
    assert model(other=5) == 5
    with pytest.raises(InputError, match="does not take it"):
        model(input_ids=1)


# -- the mask --------------------------------------------------------------------------------------


def test_a_mask_is_built_where_the_caller_gave_none():
    tokens, mask = padded(5, 2, 4)
    built = HFModel(Echo(), pad_token_id=PAD)(tokens)["attention_mask"]
    assert torch.equal(built, mask) and built.dtype == torch.int64


def test_a_mask_of_none_counts_as_not_given():
    tokens, mask = padded(5, 2)
    assert torch.equal(HFModel(Echo(), NAMES[:2], PAD)(tokens, None)["attention_mask"], mask)


@pytest.mark.parametrize("name", ["attention_mask", "input_mask"])
def test_the_callers_own_mask_stays_and_gets_no_rival(name):
    tokens, own = padded(5, 2)[0], torch.zeros(2, 5)
    arrived = HFModel(Echo(), ("input_ids", name), PAD)(tokens, own)
    assert arrived[name] is own
    assert [n for n in ("attention_mask", "input_mask") if arrived[n] is not None] == [name]


@pytest.mark.parametrize(
    "config, pad_token_id, used",
    [
        ({}, 7, 7),
        ({"pad_token_id": 5}, None, 5),
        ({"pad_token_id": 5}, 7, 7),
        ({"pad_token_id": 0}, None, 0),
        ({"pad_token_id": 5}, 0, 0),
        ({"pad_index": 6}, None, 6),
        ({"pad_token_id": None, "pad_index": 6}, None, 6),
        ({"pad_token_id": 5, "eos_token_id": 8}, None, 5),
        ({"pad_token_id": 5, "eos_token_id": [8, 9]}, None, 5),
        ({"pad_token_id": 5, "eos_token_id": 5}, 5, 5),
    ],
)
def test_the_padding_id_comes_from_the_caller_else_from_the_config(config, pad_token_id, used):
    tokens = torch.arange(10)[None]
    mask = HFModel(Echo(**config), pad_token_id=pad_token_id)(tokens)["attention_mask"]
    assert (mask == 0).nonzero().tolist() == [[0, used]]


@pytest.mark.parametrize(
    "config",
    [{}, {"pad_token_id": None}, {"pad_token_id": 5, "eos_token_id": 5}, {"pad_token_id": 5, "eos_token_id": [8, 5]}],
    ids=str,
)
def test_one_warning_and_no_mask_when_no_padding_id_is_known(config):
    model = HFModel(Echo(**config))
    with pytest.warns(UserWarning) as said:
        masks = [model(ids())["attention_mask"] for _ in range(3)]
    assert masks == [None, None, None]
    assert [str(warning.message) for warning in said] == [
        "No attention mask: the batch brings none and the padding id is unknown (Echo's config has none that differs "
        "from its end-of-text token), so padding is read as text. Write HFModel(model, "
        "pad_token_id=tokenizer.pad_token_id), "
        "or name an attention_mask in inputs."
    ]


@pytest.mark.parametrize(
    "model, batch",
    [
        (HFModel(NoMask()), {"input_ids": ids()}),
        (HFModel(Echo()), {"inputs_embeds": torch.ones(2, 3, 4)}),
        (HFModel(Echo()), {"input_ids": ids(), "attention_mask": torch.ones(4, 6)}),
        (HFModel(Echo(pad_token_id=PAD)), {"input_ids": ids()}),
    ],
    ids=["forward takes no mask", "no ids", "mask given", "padding id known"],
)
def test_no_warning_where_nothing_is_missing(model, batch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(batch)


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "xlnet"])
def test_with_the_mask_a_text_is_scored_alike_alone_and_in_a_longer_batch(name):
    bare = tiny_model(name).eval()
    tokens, _ = padded(8, 3)
    alone, masked, unmasked = tokens[1:, :3], HFModel(bare, pad_token_id=PAD)(tokens), bare(tokens)
    expected = HFModel(bare, pad_token_id=PAD)(alone)[0][0]
    if name == "xlnet":  # reads its summary from the last position: padding, unless it is put in front
        masked, unmasked = (model(tokens.flip(1)) for model in (HFModel(bare, pad_token_id=PAD), bare))
        expected = HFModel(bare, pad_token_id=PAD)(alone.flip(1))[0][0]
    assert torch.allclose(masked[0][1], expected, atol=1e-6)
    assert not torch.allclose(unmasked[0][1], expected, atol=1e-6), "without the mask padding is read as text"


# -- names that do not fit -------------------------------------------------------------------------

ECHO_TAKES = "Echo.forward takes input_ids, attention_mask, token_type_ids, position_ids, input_mask, inputs_embeds."
MISFITS = {
    "unnamed": (
        Echo(),
        None,
        TWO,
        "inputs-unnamed",
        "A batch of 2 (float32 (2, 3), float32 (2, 1)) was given without names, and names are never guessed. "
        f"{ECHO_TAKES} Write HFModel(model, inputs=('input_ids', 'attention_mask')) with a name for each "
        "tensor.",
    ),
    "nothing": (
        Echo(),
        None,
        (),
        "inputs-unnamed",
        f"A batch of 0 () was given without names, and names are never guessed. {ECHO_TAKES} Write "
        "HFModel(model, inputs=('input_ids', 'attention_mask')) with a name for each tensor.",
    ),
    "count": (
        Echo(),
        ("input_ids",),
        TWO,
        "inputs-count",
        "A batch of 2 (float32 (2, 3), float32 (2, 1)) was given, but inputs=('input_ids',) names 1. Give as "
        "many names as the batch has tensors.",
    ),
    "unknown": (
        Echo(),
        ("input_ids", "atention_mask"),
        TWO,
        "inputs-unknown",
        f"['atention_mask'] was given, and Echo.forward does not take it. Did you mean 'attention_mask'? "
        f"{ECHO_TAKES} Write inputs=(...) "
        "with these names.",
    ),
    "missing": (
        Needy(),
        ("input_ids",),
        TWO[:1],
        "inputs-missing",
        "['input_ids'] was given, but Needy.forward also needs ['lengths', 'langs']. Needy.forward takes "
        "input_ids, lengths, langs, scale. Add it to the batch and to inputs=(...).",
    ),
    "missing beside any name": (
        OpenEnded(),
        ("x",),
        TWO[:1],
        "inputs-missing",
        "['x'] was given, but OpenEnded.forward also needs ['input_ids']. OpenEnded.forward "
        "takes input_ids and any name. Add it to the batch and to inputs=(...).",
    ),
    "not input_ids": (
        nn.Linear(3, 2),
        None,
        TWO[:1],
        "inputs-unknown",
        "['input_ids'] was given, and Linear.forward does not take it. Did you mean 'input'? Linear.forward takes "
        "input. Write inputs=(...) with these names.",
    ),
}


@pytest.mark.parametrize("case", sorted(MISFITS))
def test_names_that_do_not_fit_are_refused_word_for_word(case):
    model, inputs, batch, cause, message = MISFITS[case]
    with pytest.raises(InputError) as error:
        HFModel(model, inputs, pad_token_id=PAD)(*batch)
    assert (str(error.value), error.value.cause) == (message, cause)


def test_a_dict_with_an_unknown_name_is_refused_too():
    with pytest.raises(InputError, match=r"\['text'\] was given, and Echo.forward does not take it"):
        HFModel(Echo())({"input_ids": ids(), "text": ids()})


def test_a_forward_that_takes_any_name_is_given_any():
    assert HFModel(OpenEnded(), ("input_ids", "whatever"))(ids(), TWO[0])["whatever"] is TWO[0]


def test_names_are_read_through_dataparallel():
    with pytest.raises(InputError, match="Echo.forward takes input_ids, "):
        HFModel(nn.DataParallel(Echo()), ("nonsense",))(ids())


def test_names_are_read_from_a_forward_set_on_the_instance():
    model = NoMask()
    model.forward = lambda tokens: tokens
    assert HFModel(model, ("tokens",))(TWO[0]) is TWO[0]


def test_a_forward_without_names_is_refused_in_words():
    class Star(nn.Module):
        def forward(self, *inputs):
            return inputs

    with pytest.raises(InputError, match=r"Star.forward takes no names"):
        HFModel(Star())(ids())


def test_ids_that_are_no_tensor_are_refused():
    with pytest.raises(InputError, match="input_ids.*list.*expected.*tensor"):
        HFModel(Echo(), pad_token_id=PAD)({"input_ids": [[1, 2], [3, 0]]})


CONSTRUCTED_WRONG = {
    "class": (
        lambda: HFModel(Echo),
        "class-instead-of-instance",
        "The class Echo was given; expected an instance. Write HFModel(Echo.from_pretrained(...)).",
    ),
    "twice": (
        lambda: HFModel(HFModel(Echo())),
        "wrapped-twice",
        "An HFModel was given; expected the bare model. Write HFModel(wrapped.model, inputs=...).",
    ),
    "twice, hidden": (lambda: HFModel(nn.DataParallel(HFModel(Echo()))), "wrapped-twice", "An HFModel was given;"),
    "name": (
        lambda: HFModel("bert-base-uncased"),
        "not-a-module",
        "str was given; expected a torch nn.Module, for example "
        "HFModel(BertForSequenceClassification.from_pretrained(...)).",
    ),
    "same name twice": (
        lambda: HFModel(Echo(), ("a", "a")),
        "inputs-unnamed",
        "inputs=('a', 'a') was given; expected different names, for example inputs=('input_ids', 'attention_mask').",
    ),
    "no names": (lambda: HFModel(Echo(), ()), "inputs-unnamed", "inputs=() was given; expected different names"),
    "no string": (lambda: HFModel(Echo(), (1,)), "inputs-unnamed", "inputs=(1,) was given; expected different names"),
    "nested names": (
        lambda: HFModel(Echo(), [["input_ids", "attention_mask"]]),
        "inputs-unnamed",
        "inputs=[['input_ids', 'attention_mask']] was given; expected different names",
    ),
    "number": (lambda: HFModel(Echo(), 2), "inputs-unnamed", "inputs=2 was given; expected different names"),
    "pad token": (
        lambda: HFModel(Echo(), pad_token_id="[PAD]"),
        "bad-pad-id",
        "pad_token_id='[PAD]' was given; expected an int",
    ),
}


@pytest.mark.parametrize("case", sorted(CONSTRUCTED_WRONG))
def test_what_cannot_be_wrapped_is_refused_at_construction(case):
    make, cause, message = CONSTRUCTED_WRONG[case]
    with pytest.raises(InputError) as error:
        make()
    assert str(error.value).startswith(message)
    assert error.value.cause == cause


# -- what is around it ------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(torch, "compile"), reason="torch.compile came with torch 2")
def test_a_compiled_model_is_called_by_its_own_names():
    compiled = HFModel(torch.compile(NoMask(), backend="eager"))
    assert torch.equal(compiled(ids(2, 3) * 0)[0], torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(InputError, match="NoMask.forward takes input_ids"):
        compiled({"text": ids()})


def test_config_is_the_models_own():
    bare = tiny_model("bert")
    assert HFModel(bare).config is bare.config is HFModel(nn.DataParallel(bare)).config
    assert HFModel(nn.Linear(1, 1)).config is None


def test_the_repr_names_inputs_and_padding():
    assert "inputs=('input_ids',), pad_token_id=3" in repr(HFModel(Echo(), ("input_ids",), 3))


def test_says_where_an_attribute_of_the_model_is_and_has_none_of_it():
    model = tiny_model("bert")
    wrapped = HFModel(model)
    model.answers = 42
    with pytest.raises(AttributeError, match=r"Write wrapped\.model\.answers,") as raised:
        wrapped.answers  # noqa: B018  # it raises
    assert isinstance(raised.value, InputError) and not hasattr(wrapped, "answers")
    with pytest.raises(AttributeError, match="no attribute 'questions'"):  # the model has none, either
        wrapped.questions  # noqa: B018  # it raises
    assert not hasattr(HFModel.__new__(HFModel), "answers")
