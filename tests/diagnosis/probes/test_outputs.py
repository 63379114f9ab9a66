"""probe_outputs: shape, range and spread over rows."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fastai_hf_callback.diagnosis.probes.outputs import probe_outputs
from tests.tiny_models import ids, tiny_model

TARGET = torch.tensor([0, 1, 1, 0])


def with_config(**settings):
    model = nn.Linear(2, 2)
    model.config = SimpleNamespace(**settings)
    return nn.Sequential(model)


def look(output, target=TARGET, model=None):
    return probe_outputs([output], [target], model or nn.Linear(2, 2))


def test_the_figures_of_a_small_table():
    seen = look(torch.tensor([[0.0, 1.0], [0.0, 2.0], [0.0, -3.0], [0.0, 0.0]]))
    assert (seen.shape, seen.target_shape, seen.rows, seen.finite) == ((4, 2), (4,), 4, True)
    assert (seen.lowest, seen.highest, seen.size) == (-3.0, 2.0, 3.0)
    assert seen.spread == pytest.approx(float(torch.tensor([1.0, 2.0, -3.0, 0.0]).std()))


def test_equal_rows_have_no_spread_whatever_their_columns():
    assert look(torch.tensor([[5.0, -5.0]]).repeat(4, 1)).spread == 0


def test_the_spread_is_over_all_batches():
    ones = torch.ones(4, 2)
    assert probe_outputs([ones, ones * 3], [TARGET, TARGET], nn.Linear(2, 2)).spread > 1
    assert probe_outputs([ones, ones], [TARGET, TARGET], nn.Linear(2, 2)).spread == 0


def test_batches_of_different_length_are_no_trouble():
    seen = probe_outputs([torch.zeros(2, 5, 3), torch.ones(2, 7, 3)], [TARGET, TARGET], nn.Linear(2, 2))
    assert seen.shape == (2, 5, 3) and seen.highest == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_said_and_has_no_spread(value):
    output = torch.zeros(4, 2)
    output[1, 1] = value
    seen = look(output)
    assert (seen.finite, seen.spread, seen.size) == (False, 0.0, float("inf"))


@pytest.mark.parametrize(
    "last, expected", [(lambda t: t.log_softmax(-1), True), (lambda t: t, False), (lambda t: t.softmax(-1), False)]
)
def test_log_probabilities_are_known_by_their_sum(last, expected):
    assert look(last(torch.randn(4, 3))).rows_are_log_probabilities is expected
    assert look(last(torch.randn(4, 3)).half()).rows_are_log_probabilities is expected


def test_a_single_number_and_a_single_row():
    assert look(torch.tensor(2.0)).shape == () and look(torch.tensor(2.0)).highest == 2
    assert look(torch.zeros(1, 3)).spread == 0


def test_a_row_of_numbers():
    assert look(torch.tensor([1.0, 2.0, 3.0, 4.0])).spread == pytest.approx(1.29, abs=0.01)


@pytest.mark.parametrize("target, rows, shape", [(torch.tensor(1), 0, ()), ([1, 2], 0, ()), (None, 0, ())])
def test_targets_that_are_no_rows(target, rows, shape):
    seen = look(torch.zeros(4, 2), target)
    assert (seen.rows, seen.target_shape) == (rows, shape)


@pytest.mark.parametrize("name", ["hidden_size", "d_model", "dim", "n_embd", "emb_dim"])
def test_the_hidden_size_goes_by_many_names(name):
    assert look(torch.zeros(4, 2), model=with_config(**{name: 16})).hidden_size == 16


def test_a_config_without_them_or_no_config_at_all():
    assert look(torch.zeros(4, 2), model=with_config(hidden_size=True, num_labels="2")).hidden_size is None
    assert look(torch.zeros(4, 2)).num_labels is None


@pytest.mark.parametrize("name", ["bert", "xlnet", "distilbert", "xlm", "gpt2"])
def test_the_sizes_of_real_models(name):
    model = tiny_model(name, 3)
    seen = look(model(ids())[0], model=model)
    assert (seen.hidden_size, seen.num_labels, seen.shape) == (16, 3, (4, 3))
    assert seen.finite and seen.spread > 0


def test_the_graph_of_the_outputs_is_left_alone():
    output = torch.zeros(4, 2, requires_grad=True)
    look(output)
    assert output.grad is None and output.requires_grad
