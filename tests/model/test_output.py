"""unwrap and describe: the very tensor, however it is nested, or an error that says what to write."""

import pickle
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastai_hf_callback import OutputError, unwrap
from fastai_hf_callback.model.output import describe
from tests.tiny_models import ARCHITECTURES, ClassifierOutput, ids, tiny_model

quick = settings(deadline=None, max_examples=60)
Pair = namedtuple("Pair", "logits extra")
Scores = namedtuple("Scores", "scores")


@dataclass
class Record:
    logits: Any
    extra: Any = None


def hidden():
    return torch.ones(4, 5, 6)


# -- any nesting -----------------------------------------------------------------------------------

AROUND = {
    "tuple": lambda x: (x, hidden(), (hidden(), hidden())),
    "list": lambda x: [x, [hidden()]],
    "tuple with None": lambda x: (None, x, None),
    "tuple after a loss": lambda x: (torch.tensor(0.5), x, hidden()),
    "list after a loss": lambda x: [torch.tensor(0.5), x],
    "dict": lambda x: {"hidden": hidden(), "logits": x},
    "dict with one tensor": lambda x: {"logits": x, "loss": None, "kind": "text"},
    "ModelOutput": lambda x: ClassifierOutput(loss=torch.tensor(0.5), logits=x, hidden_states=(hidden(),)),
    "namedtuple": lambda x: Pair(x, hidden()),
    "dataclass": lambda x: Record(x, {"hidden": hidden()}),
}


def nested(inner, names):
    for name in names:
        inner = AROUND[name](inner)
    return inner


def gradient_through(pick, names):
    """What arrives at a weight when the loss is the sum of what `pick` takes from a nest of `names`."""
    weight = torch.ones(3, requires_grad=True)
    pick(nested(torch.zeros(4, 3) + weight, names)).sum().backward()
    return weight.grad


@quick
@given(st.lists(st.sampled_from(sorted(AROUND)), max_size=4))
def test_the_very_tensor_comes_out_of_any_nest(names):
    logits = torch.zeros(4, 3)
    assert unwrap(nested(logits, names)) is logits


@quick
@given(st.lists(st.sampled_from(sorted(AROUND)), max_size=4))
def test_gradients_flow_through_any_nest(names):
    assert torch.equal(gradient_through(unwrap, names), torch.full((3,), 4.0))


def test_a_detached_output_would_be_noticed():
    assert gradient_through(lambda output: unwrap(output).detach().requires_grad_(), ["tuple"]) is None


tensors = st.sampled_from([(), (1,), (2,), (4,), (4, 3), (4, 1), (0,), (4, 5, 6)]).map(torch.zeros)
leaves = tensors | st.none() | st.just("text") | st.integers(0, 9)
keys = st.sampled_from(["logits", "loss", "a", "b"])


def containers(inner):
    return (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=3)
        | st.builds(Pair, inner, inner)
        | st.builds(Record, inner, inner)
        | st.builds(ClassifierOutput, inner, inner, inner)
    )


def all_tensors(output):
    if isinstance(output, Tensor):
        return [output]
    values = (
        output.values()
        if isinstance(output, dict)
        else vars(output).values()
        if isinstance(output, Record)
        else output
        if isinstance(output, (list, tuple))
        else ()
    )
    return [tensor for value in values for tensor in all_tensors(value)]


@settings(deadline=None, max_examples=200)
@given(st.recursive(leaves, containers, max_leaves=8))
def test_whatever_a_model_returns_gives_one_of_its_tensors_or_an_output_error(output):
    try:
        found = unwrap(output)
    except OutputError as error:
        assert error.cause in ("ambiguous-output", "no-tensor-in-output", "only-a-loss")
        assert error.message.startswith("The model returned ")
    else:
        assert any(found is tensor for tensor in all_tensors(output))


@quick
@given(st.recursive(leaves, containers, max_leaves=8))
def test_describe_is_one_line_whatever_it_is_given(output):
    assert "\n" not in describe(output)


# -- what counts as a loss -------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [torch.tensor(0.5), torch.tensor([0.5, 0.7])], ids=["one", "one per device"])
@pytest.mark.parametrize("kind", [tuple, list])
def test_a_loss_before_the_logits_is_stepped_over(loss, kind):
    logits = torch.zeros(4, 3)
    assert unwrap(kind([loss, logits])) is logits


@pytest.mark.parametrize("logits", [torch.zeros(4), torch.zeros(4, dtype=torch.int64), torch.zeros(4, 1)], ids=describe)
def test_flat_logits_are_not_mistaken_for_losses(logits):
    assert unwrap((logits, torch.zeros(4, 8))) is logits


@pytest.mark.parametrize(
    "make",
    [
        lambda loss: (loss,),
        lambda loss: [loss, None],
        lambda loss: {"loss": loss},
        lambda loss: ClassifierOutput(loss=loss),
    ],
    ids=["tuple", "list", "dict", "ModelOutput"],
)
def test_a_loss_alone_is_no_logits(make):
    with pytest.raises(OutputError, match="a loss and no logits. Call the model without labels") as error:
        unwrap(make(torch.tensor(0.5)))
    assert error.value.cause == "only-a-loss"


# -- element ---------------------------------------------------------------------------------------

A, B, C = torch.zeros(4, 1), torch.zeros(4, 2), torch.zeros(4, 3)


@pytest.mark.parametrize(
    "output, element, expected",
    [
        ((A, B), 1, B),
        ([A, B], -1, B),
        ({"a": None, "b": B, "c": C}, 0, B),
        (ClassifierOutput(logits=A, hidden_states=B), 1, B),
        ({"a": A, "b": B}, "b", B),
        (Pair(A, B), "extra", B),
        (Record(A, B), "extra", B),
        (Record(A, B), 1, B),
        ((A, (B, C)), lambda output: output[1][0], B),
        (A, 7, A),
        (A, "no such name", A),
    ],
)
def test_element_picks_the_very_tensor(output, element, expected):
    assert unwrap(output, element) is expected


@pytest.mark.parametrize(
    "output, element",
    [
        ({"a": A, "b": B, "c": C}, ("a", "c")),
        ((A, B, C), [0, -1]),
        (ClassifierOutput(logits=A, hidden_states=C), ("logits", 1)),
        ((A, (B, C)), lambda output: (output[0], output[1][1])),
    ],
    ids=["names", "positions", "both", "callable"],
)
def test_several_elements_give_a_tuple_for_losses_that_take_several(output, element):
    found = unwrap(output, element)
    assert isinstance(found, tuple) and found[0] is A and found[1] is C


BAD_ELEMENTS = {
    "name": (
        {"a": A, "b": B},
        "logit",
        "element='logit' was given, but the model returned dict(a: float32 (4, 1), b: float32 (4, 2)). "
        "Write one of ['a', 'b'].",
    ),
    "name of a None": (
        {"a": A, "b": None},
        "b",
        "element='b' was given, but the model returned dict(a: float32 (4, 1), b: None). Write one of ['a'].",
    ),
    "name without names": (
        (A, B),
        "logits",
        "element='logits' was given, but the model returned tuple(float32 (4, 1), float32 (4, 2)), "
        "which has no names. Write a position instead: element=0.",
    ),
    "position": (
        (A, B),
        2,
        "element=2 was given, but the model returned tuple(float32 (4, 1), float32 (4, 2)); expected a "
        "position below 2, counted from 0.",
    ),
    "position without positions": (
        3.5,
        0,
        "element=0 was given, but the model returned float, which has no positions. "
        "Write element=lambda output: ... instead.",
    ),
    "no tensor there": (
        (A, (B, C)),
        1,
        "element=1 gave tuple(float32 (4, 2), float32 (4, 3)) out of tuple(float32 (4, 1), "
        "tuple(float32 (4, 2), float32 (4, 3))); expected a tensor. To reach deeper write a callable, "
        "for example element=lambda output: output['hidden_states'][-1].",
    ),
    "callable gives no tensor": (
        (A, "text"),
        lambda output: output[1],
        "element=<lambda> gave str out of tuple(float32 (4, 1), str); expected a tensor.",
    ),
    "bool": (
        (A, B),
        True,
        "element=True (bool) was given; expected a name, a position, a callable, or a sequence of names and positions.",
    ),
    "dict": ((A, B), {}, "element={} (dict) was given; expected a name, a position, a callable"),
}


@pytest.mark.parametrize("case", sorted(BAD_ELEMENTS))
def test_an_element_that_is_not_there_says_what_is(case):
    output, element, message = BAD_ELEMENTS[case]
    with pytest.raises(OutputError) as error:
        unwrap(output, element)
    assert str(error.value).startswith(message)
    assert error.value.cause == "bad-element"


@pytest.mark.parametrize("element", [(), []], ids=str)
def test_an_empty_sequence_of_elements_is_refused(element):
    with pytest.raises(OutputError, match="expected a name, a position"):
        unwrap((A, B), element)


# -- what cannot be unwrapped ----------------------------------------------------------------------

REFUSED = {
    "headless": (
        {"last_hidden_state": torch.zeros(4, 5, 6), "pooler_output": torch.zeros(4, 6)},
        "ambiguous-output",
        "The model returned dict(last_hidden_state: float32 (4, 5, 6), pooler_output: float32 (4, 6)): 2 "
        "tensors and none is called 'logits'. Training on a hidden state would go unnoticed, so say which "
        "one the loss needs: element='last_hidden_state' for one of ['last_hidden_state', 'pooler_output'], "
        "or element=('last_hidden_state', 'pooler_output') for a loss that takes several; a model with a "
        "head (…ForSequenceClassification) returns logits.",
    ),
    "two heads": (
        {"start_logits": C, "end_logits": C},
        "ambiguous-output",
        "The model returned dict(start_logits: float32 (4, 3), end_logits: float32 (4, 3)): 2 tensors and "
        "none is called 'logits'. Training on a hidden state would go unnoticed, so say which one the loss "
        "needs: element='start_logits' for one of ['start_logits', 'end_logits'], or element="
        "('start_logits', 'end_logits') for a loss that takes several; element=span_logits (of this package) "
        "puts both into one tensor, as fastai's predictions need it.",
    ),
    "only a loss": (
        (torch.tensor(0.5),),
        "only-a-loss",
        "The model returned tuple(float32 ()): a loss and no logits. Call the model without labels and let "
        "the Learner's loss_func compute the loss, or write element=0 to take what is there.",
    ),
    "nothing": (
        (),
        "no-tensor-in-output",
        "The model returned tuple(): nothing in it. Expected the logits; check what forward returns.",
    ),
    "no tensor": (
        {"text": "abc", "n": None},
        "no-tensor-in-output",
        "The model returned dict(text: str, n: None): no tensor in it. Expected the logits; check what "
        "forward returns.",
    ),
    "not an output": (
        3.5,
        "no-tensor-in-output",
        "The model returned float; expected a tensor, tuple, list, mapping, namedtuple or dataclass that "
        "holds the logits. Write element=lambda output: ... to pick them.",
    ),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_cannot_be_unwrapped_is_refused_word_for_word(case):
    output, cause, message = REFUSED[case]
    with pytest.raises(OutputError) as error:
        unwrap(output)
    assert (str(error.value), error.value.cause) == (message, cause)


def test_an_output_error_is_a_type_error():
    with pytest.raises(TypeError):
        unwrap(None)


def test_an_error_survives_pickling_as_workers_need_it():
    with pytest.raises(OutputError) as error:
        unwrap(())
    twin = pickle.loads(pickle.dumps(error.value))
    assert type(twin) is OutputError and (str(twin), twin.cause) == (str(error.value), "no-tensor-in-output")


# -- nothing is copied, cast or changed ------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool], ids=str)
def test_any_dtype_passes_as_it_is(dtype):
    logits = torch.zeros(4, 3).to(dtype)
    assert unwrap((logits, hidden())) is logits


def test_unwrapping_twice_changes_nothing():
    logits = unwrap((C, hidden()))
    assert unwrap(logits) is logits and unwrap(logits, "any") is logits


def test_the_output_itself_is_not_changed():
    inner = [A, None]
    output = {"logits": inner, "loss": None}
    unwrap(output)
    assert list(output) == ["logits", "loss"] and output["logits"] is inner
    assert len(inner) == 2 and inner[0] is A and inner[1] is None


# -- describe --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "output, line",
    [
        (C, "float32 (4, 3)"),
        (torch.zeros((), dtype=torch.int64), "int64 ()"),
        ((C, (hidden(),) * 13), "tuple(float32 (4, 3), tuple of 13)"),
        ([A, None, "text"], "list(float32 (4, 1), None, str)"),
        (Pair(A, None), "Pair(logits: float32 (4, 1), extra: None)"),
        (ClassifierOutput(logits=A), "ClassifierOutput(logits: float32 (4, 1))"),
        ([[[[A]]]], "list(list(list(list of 1)))"),
        ({"a": {"b": {"c": {"d": A}}}}, "dict(a: dict(b: dict(c: dict of 1)))"),
        (None, "None"),
    ],
)
def test_describe_says_types_names_and_shapes(output, line):
    assert describe(output) == line


# -- real ones -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_real_models_logits_are_found(name):
    output = tiny_model(name)(ids())
    assert unwrap(output) is output[0]
    assert tuple(unwrap(output).shape) == (4, 2)


def test_a_real_model_called_with_labels_gives_its_logits_too():
    output = tiny_model("bert")(ids(), labels=torch.tensor([0, 1, 0, 1]))
    assert output[0].dim() == 0
    assert unwrap(output) is output[1]


def test_transformers_own_model_output():
    outputs = pytest.importorskip("transformers.modeling_outputs")
    assert unwrap(outputs.SequenceClassifierOutput(loss=torch.tensor(0.5), logits=C, hidden_states=(hidden(),))) is C
    with pytest.raises(OutputError, match="none is called 'logits'.*ForSequenceClassification"):
        unwrap(outputs.BaseModelOutputWithPooling(last_hidden_state=hidden(), pooler_output=C))
