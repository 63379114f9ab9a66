"""The article's patch of the loop: what it refuses, and that the very function comes back."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("fastai")

from fastai_hf_callback import PatchError, patched_loop
from tests.installed_fastai import FASTAI, LOOP, find_active_patch, make_learner

OWNER, NAME = LOOP
ORIGINAL = vars(OWNER)[NAME]


def foreign(*args, **kwargs):
    return ORIGINAL(*args, **kwargs)


@pytest.fixture(autouse=True)
def check_loop_restored():
    yield
    assert vars(OWNER)[NAME] is ORIGINAL
    assert find_active_patch() is None


def test_it_trains_without_the_callback():
    learn = make_learner("bert", callbacks=[])
    with patched_loop():
        learn.fit(1, 1e-2)
        assert learn.get_preds()[0].shape == (48, 3)
        assert FASTAI == 2 or learn.pred_batch().shape == (8, 3)


def test_it_says_where_the_patch_comes_from():
    with patched_loop():
        assert f"{NAME} in" in find_active_patch() and "loop.py" in find_active_patch()


def test_it_refuses_to_nest():
    with patched_loop():
        inside = vars(OWNER)[NAME]
        with pytest.raises(PatchError, match=f"already patched, by {NAME} in .*loop.py"):
            with patched_loop():
                pass
        assert vars(OWNER)[NAME] is inside


@pytest.mark.parametrize(
    "patch",
    (
        foreign,
        (functools.partial if FASTAI == 1 else functools.partialmethod)(foreign),
        functools.wraps(ORIGINAL)(foreign),
    ),
    ids=("function", "partial", "wraps"),
)
def test_it_refuses_a_foreign_patch_and_leaves_it_alone(patch, monkeypatch):
    with monkeypatch.context() as patching:
        patching.setattr(OWNER, NAME, patch)
        with pytest.raises(PatchError, match="already patched"):
            with patched_loop():
                pass
        assert vars(OWNER)[NAME] is patch


class Broken(BaseException):
    pass


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([KeyboardInterrupt, SystemExit, RuntimeError, MemoryError, StopIteration, GeneratorExit, Broken])
)
def test_the_very_function_comes_back_whatever_happens_inside(error):
    with pytest.raises(error if error is not StopIteration else (StopIteration, RuntimeError)):
        with patched_loop():
            assert vars(OWNER)[NAME] is not ORIGINAL
            raise error()
    assert vars(OWNER)[NAME] is ORIGINAL


def test_it_comes_back_after_a_fit_that_fails():
    learn = make_learner("bert", callbacks=[])
    learn.loss_func = lambda output, target: torch.zeros(1)[5]
    with pytest.raises(IndexError), patched_loop():
        learn.fit(1, 1e-2)


def test_it_comes_back_over_a_patch_set_inside():
    with patched_loop():
        setattr(OWNER, NAME, foreign)
