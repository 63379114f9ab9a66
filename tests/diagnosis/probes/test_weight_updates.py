"""Sample: of a step the gradient's part, the decay's, and what rounding swallowed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fastai_hf_callback.diagnosis.probes.weight_updates import WeightSample

quick = settings(deadline=None, max_examples=40)
rates = st.floats(1e-5, 1e-1)


def a_matrix(rows=6, columns=5, seed=0):
    return nn.Parameter(torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)))


def decayed_step(parameter, lr, wd, gradient):
    """AdamW's order, with plain gradients: decay first, decoupled, and then the step."""
    with torch.no_grad():
        parameter.mul_(1 - lr * wd)
        parameter.sub_(lr * gradient)


@quick
@given(rates, st.floats(0, 1), st.integers(0, 99))
def test_the_gradients_part_is_exactly_the_gradients_under_decoupled_decay(lr, wd, seed):
    parameter, gradient = a_matrix(seed=seed), a_matrix(seed=seed + 1).detach()
    before = parameter.detach().clone()
    sample = WeightSample([parameter])
    decayed_step(parameter, lr, wd, gradient)
    (move,) = sample.weight_updates({id(parameter): (lr, wd)})
    assert move.gradient_part == pytest.approx(float((lr * gradient).norm()), abs=2e-6)
    assert move.decay_part == pytest.approx(float((lr * wd * before).norm()), abs=2e-6)
    assert move.weight == pytest.approx(float(before.norm()), rel=1e-6) and move.is_matrix


@quick
@given(rates, st.floats(1e-2, 1), st.integers(0, 99))
def test_decay_alone_is_no_movement_and_without_its_figures_it_would_be(lr, wd, seed):
    parameter = a_matrix(seed=seed)
    sample = WeightSample([parameter])
    decayed_step(parameter, lr, wd, torch.zeros(6, 5))
    (move,), (naive,) = sample.weight_updates({id(parameter): (lr, wd)}), sample.weight_updates({})
    assert not move.moved
    assert naive.moved or lr * wd < 1e-6


def test_a_step_beside_the_decay_is_movement():
    parameter = a_matrix()
    sample = WeightSample([parameter])
    decayed_step(parameter, 1e-2, 0.1, torch.ones(6, 5))
    assert sample.weight_updates({id(parameter): (1e-2, 0.1)})[0].moved


def test_a_real_adamw_step():
    parameter = a_matrix()
    opt = torch.optim.AdamW([parameter], lr=1e-3, weight_decay=0.5)
    sample = WeightSample([parameter])
    parameter.sum().backward()
    sample.record_gradients()
    opt.step()
    (move,) = sample.weight_updates({id(parameter): (1e-3, 0.5)})
    assert move.moved and move.rounded_away == 0
    assert move.gradient_part == pytest.approx(1e-3 * 30**0.5, rel=1e-2)  # Adam's first step: lr in every element


def test_nothing_done_is_nothing_moved():
    parameter = a_matrix()
    (move,) = WeightSample([parameter]).weight_updates({id(parameter): (0.1, 0.0)})
    assert (move.moved, move.gradient_part, move.decay_part, move.rounded_away) == (False, 0.0, 0.0, None)


def test_rounding_is_no_movement_and_three_roundings_of_the_largest_are():
    for grains, moved in ((1, False), (3, True)):
        parameter = nn.Parameter(torch.tensor([1.0, 0.5]))
        sample = WeightSample([parameter])
        parameter.data[0] += grains * torch.finfo(torch.float32).eps
        assert sample.weight_updates({})[0].moved is moved


# torch 1.4 once: half tensors on the CPU cannot be compared ("ne_cpu").
def test_what_half_precision_swallows_is_counted_among_elements_with_a_gradient():
    parameter = nn.Parameter(torch.tensor([1.0, 1.0, 1.0, 1.0]).half())
    sample = WeightSample([parameter])
    parameter.grad = torch.tensor([1.0, 1.0, 0.0, 0.0]).half()
    sample.record_gradients()
    stepped = torch.tensor([1.0 + 1e-5, 1.1, 1.0, 1.0])  # 1e-5 beside 1 is lost in half precision
    parameter.data.copy_(stepped.half())
    assert sample.weight_updates({})[0].rounded_away == 0.5


def test_noted_gradients_outlive_zero_grad():
    parameter = a_matrix()
    sample = WeightSample([parameter])
    parameter.sum().backward()
    sample.record_gradients()
    parameter.grad.zero_()
    assert sample.weight_updates({})[0].rounded_away == 1.0


def test_a_gradient_of_zeros_pushes_nothing():
    parameter = a_matrix()
    sample = WeightSample([parameter])
    parameter.grad = torch.zeros(6, 5)
    sample.record_gradients()
    assert sample.weight_updates({})[0].rounded_away is None


@pytest.mark.parametrize("elements", [0, 1, 7, 255, 256, 257, 511, 512, 10_000])
def test_no_more_than_asked_for_is_taken_and_it_reaches_to_the_end(elements):
    parameter = nn.Parameter(torch.arange(elements).float())
    (taken,) = WeightSample([parameter], per_parameter=256).before
    assert min(elements, 128) <= len(taken) <= 256
    assert elements == 0 or taken[-1] >= 0.49 * (elements - 1)


# Once: 511 elements are sampled with a step of 1: the last 255 are never looked at, and a step there is not seen.
def test_a_step_at_the_end_of_a_middling_parameter_is_seen():
    parameter = nn.Parameter(torch.zeros(511))
    sample = WeightSample([parameter], per_parameter=256)
    parameter.data[300:] = 1.0
    assert sample.weight_updates({})[0].moved


def test_a_vector_is_no_matrix_and_an_unused_parameter_is_still():
    bias, unused = nn.Parameter(torch.zeros(3)), a_matrix()
    sample = WeightSample([bias, unused])
    bias.data += 1
    first, second = sample.weight_updates({})
    assert (first.is_matrix, first.moved, second.is_matrix, second.moved) == (False, True, True, False)


def test_the_parameters_are_read_only():
    parameter = a_matrix()
    before = parameter.detach().clone()
    sample = WeightSample([parameter])
    sample.before[0].add_(1)
    assert torch.equal(parameter, before) and parameter.grad is None


def test_a_transposed_parameter_is_sampled_too():
    parameter = nn.Parameter(torch.randn(6, 5).t())
    sample = WeightSample([parameter])
    parameter.data += 1
    assert sample.weight_updates({})[0].moved
