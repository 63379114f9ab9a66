"""Random states: seeded together, and put back whatever happened."""

import random

import numpy as np
import pytest
import torch

from fastai_hf_callback.utils.rng import preserve_rng_state, seed_everything


def draw():
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def draws(n=3):
    return [draw() for _ in range(n)]


@pytest.mark.parametrize("seed", [0, 42, 2**32 + 7])
def test_one_seed_sets_all_three(seed):
    seed_everything(seed)
    first = draws()
    seed_everything(seed)
    assert draws() == first


def test_another_seed_gives_other_numbers_from_all_three():
    seed_everything(1)
    first = draw()
    seed_everything(2)
    assert all(a != b for a, b in zip(first, draw()))


def disturb():
    seed_everything(99)
    draws(700)  # past the end of numpy's and python's blocks of 624
    torch.randperm(10)
    torch.randn(1)
    np.random.randn()  # leaves half a pair behind
    random.gauss(0, 1)


def test_what_is_drawn_inside_does_not_show_outside():
    seed_everything(3)
    expected = draws()
    seed_everything(3)
    with preserve_rng_state():
        disturb()
    assert draws() == expected


def test_without_it_the_same_draws_would_show():
    seed_everything(3)
    expected = draws()
    seed_everything(3)
    disturb()
    assert draws() != expected


def test_an_exception_puts_them_back_too():
    seed_everything(3)
    expected = draws()
    seed_everything(3)
    with pytest.raises(KeyError), preserve_rng_state():
        disturb()
        raise KeyError
    assert draws() == expected


def test_it_nests():
    seed_everything(3)
    expected = draws()
    seed_everything(3)
    with preserve_rng_state():
        disturb()
        inside = torch.get_rng_state()
        with preserve_rng_state():
            draws()
        assert torch.equal(torch.get_rng_state(), inside)
    assert draws() == expected
