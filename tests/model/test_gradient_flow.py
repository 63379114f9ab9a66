"""reach: exactly the parameters that backward would give a gradient, found without backward."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from fastai_hf_callback import unwrap
from fastai_hf_callback.model.gradient_flow import find_reached_leaves
from tests.tiny_models import ARCHITECTURES, ids, tiny_model


class Doubled(torch.autograd.Function):
    """A Python autograd function, opaque to a walk."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        (saved,) = ctx.saved_tensors
        return gradient * 2 + 0 * saved


class Named(torch.autograd.Function):
    """Keeps what it was given under the name that a leaf's node has too."""

    @staticmethod
    def forward(ctx, x):
        ctx.variable = x
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


def layer():
    return nn.Linear(3, 2)


def same_objects(a, b):
    return {id(x) for x in a} == {id(x) for x in b}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_reaches_exactly_the_parameters_that_backward_does(name):
    model = tiny_model(name)
    loss = unwrap(model(ids())).sum()
    found = find_reached_leaves(loss)
    loss.backward()
    assert found.has_graph and found.may_train and found.parameters
    assert same_objects(found.parameters, [p for p in model.parameters() if p.grad is not None])
    assert not found.foreign and not found.opaque


def test_frozen_parameters_are_not_reached():
    body, head = layer(), nn.Linear(2, 1)
    for parameter in body.parameters():
        parameter.requires_grad = False
    assert same_objects(find_reached_leaves(head(body(torch.ones(4, 3))).sum()).parameters, head.parameters())


def test_a_parameter_used_twice_is_counted_once():
    model = nn.Linear(3, 3)
    assert len(find_reached_leaves(model(model(torch.ones(4, 3))).sum()).parameters) == 2


def test_an_output_with_no_graph_is_seen():
    with torch.no_grad():
        loss = layer()(torch.ones(4, 3)).sum()
    found = find_reached_leaves(loss)
    assert (found.has_graph, found.may_train, found.parameters, found.foreign) == (False, False, [], [])


def test_a_detached_output_made_to_require_grad_is_seen_as_foreign():
    output = layer()(torch.ones(4, 3)).detach().requires_grad_()
    found = find_reached_leaves(output.sum())
    assert found.has_graph and not found.may_train and not found.parameters
    assert found.foreign[0] is output


def test_an_input_that_requires_grad_is_foreign_beside_the_parameters():
    given, model = torch.ones(4, 3, requires_grad=True), layer()
    found = find_reached_leaves(model(given).sum())
    assert found.may_train and found.foreign[0] is given
    assert same_objects(found.parameters, model.parameters())


def test_what_hides_behind_a_python_function_may_train():
    model = layer()
    loss = checkpoint(model, torch.ones(4, 3, requires_grad=True), **reentrant()).sum()
    found = find_reached_leaves(loss)
    assert found.opaque == ["CheckpointFunctionBackward"] and found.may_train and not found.parameters
    loss.backward()
    assert model.weight.grad is not None


def test_parameters_in_front_of_a_python_function_are_found_all_the_same():
    model = layer()
    found = find_reached_leaves(Doubled.apply(model(torch.ones(4, 3))).sum())
    assert found.opaque == ["DoubledBackward"]
    assert same_objects(found.parameters, model.parameters())


def test_a_python_function_is_no_leaf_whatever_it_keeps():
    model = layer()
    found = find_reached_leaves(Named.apply(model(torch.ones(4, 3))).sum())
    assert found.opaque == ["NamedBackward"] and not found.foreign
    assert same_objects(found.parameters, model.parameters())


def test_the_graph_is_left_as_it_was():
    model = layer()
    loss = Doubled.apply(model(torch.ones(4, 3))).sum()
    find_reached_leaves(loss)
    assert model.weight.grad is None
    loss.backward()
    assert torch.equal(model.weight.grad, torch.full((2, 3), 8.0))


def test_a_graph_can_be_walked_after_backward_has_freed_it():
    model = layer()
    loss = Doubled.apply(model(torch.ones(4, 3))).sum()
    loss.backward()
    assert same_objects(find_reached_leaves(loss).parameters, model.parameters())


def test_a_saved_tensor_changed_in_place_is_for_backward_to_refuse():
    model = layer()
    saved = model(torch.ones(4, 3))
    loss = Doubled.apply(saved).sum()
    saved.detach().add_(1)
    assert same_objects(find_reached_leaves(loss).parameters, model.parameters())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_any_shape_will_do_and_depth_is_no_matter():
    weight = nn.Parameter(torch.ones(4))
    output = weight
    for _ in range(5000):
        output = output + 1
    assert find_reached_leaves(output).parameters[0] is weight


def reentrant():
    return {} if torch.__version__.startswith("1.") else {"use_reentrant": True}
