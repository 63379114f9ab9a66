import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("fastai.basic_train")

from fastai import basic_train
from fastai.train import Learner

from fastai_hf_callback import PatchError, patched_loop
from fastai_hf_callback.fastai1.compat.training_loop import find_active_patch
from tests.fastai1.learners import make_learner

ORIGINAL = basic_train.loss_batch


def foreign(*args, **kwargs):
    return ORIGINAL(*args, **kwargs)


@pytest.fixture(autouse=True)
def check_loop_restored():
    yield
    assert basic_train.loss_batch is ORIGINAL
    assert find_active_patch() is None


def test_it_trains_without_the_callback():
    learn = make_learner("bert", callbacks=[])
    with patched_loop():
        learn.fit(1, 1e-2)
        assert learn.pred_batch().shape == (8, 3)


def test_it_says_where_the_patch_comes_from():
    with patched_loop():
        assert "loss_batch in" in find_active_patch() and "loop.py" in find_active_patch()


def test_it_refuses_to_nest():
    with patched_loop():
        inside = basic_train.loss_batch
        with pytest.raises(PatchError, match="already patched, by loss_batch in .*loop.py"):
            with patched_loop():
                pass
        assert basic_train.loss_batch is inside


@pytest.mark.parametrize(
    "patch",
    (foreign, functools.partial(foreign), functools.wraps(ORIGINAL)(foreign)),
    ids=("function", "partial", "wraps"),
)
def test_it_refuses_a_foreign_patch_and_leaves_it_alone(patch, monkeypatch):
    with monkeypatch.context() as patching:
        patching.setattr(basic_train, "loss_batch", patch)
        with pytest.raises(PatchError, match="already patched"):
            with patched_loop():
                pass
        assert basic_train.loss_batch is patch


class Broken(BaseException):
    pass


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([KeyboardInterrupt, SystemExit, RuntimeError, MemoryError, StopIteration, GeneratorExit, Broken])
)
def test_the_very_function_comes_back_whatever_happens_inside(error):
    with pytest.raises(error if error is not StopIteration else (StopIteration, RuntimeError)):
        with patched_loop():
            assert basic_train.loss_batch is not ORIGINAL
            raise error()
    assert basic_train.loss_batch is ORIGINAL


def test_it_comes_back_after_a_fit_that_fails():
    learn = make_learner("bert", callbacks=[])
    learn.loss_func = lambda output, target: torch.zeros(1)[5]
    with pytest.raises(IndexError), patched_loop():
        learn.fit(1, 1e-2)


def test_it_comes_back_over_a_patch_set_inside():
    with patched_loop():
        basic_train.loss_batch = foreign


def test_the_same_steps_as_the_articles_own_function():
    """The article's ``loss_batch_bert``, as it was printed, against ours: the same weights, bit for bit."""

    def loss_batch_bert(model, xb, yb, loss_func=None, opt=None, cb_handler=None):
        cb_handler = basic_train.ifnone(cb_handler, basic_train.CallbackHandler())
        if not basic_train.is_listy(xb):
            xb = [xb]
        if not basic_train.is_listy(yb):
            yb = [yb]
        out = model(*xb)[0]
        out = cb_handler.on_loss_begin(out)
        if not loss_func:
            return basic_train.to_detach(out), yb[0].detach()
        loss = loss_func(out, *yb)
        if opt is not None:
            loss, skip_bwd = cb_handler.on_backward_begin(loss)
            if not skip_bwd:
                loss.backward()
            if not cb_handler.on_backward_end():
                opt.step()
            if not cb_handler.on_step_end():
                opt.zero_grad()
        return loss.detach().cpu()

    def fitted(enter):
        torch.manual_seed(1)
        learn = make_learner("bert", callbacks=[])
        with enter():
            learn.fit_one_cycle(1, 1e-2)
            return [*learn.model.state_dict().values(), *learn.get_preds()]

    assert isinstance(make_learner("bert"), Learner)
    with pytest.MonkeyPatch.context() as patching:
        import contextlib

        def article():
            patching.setattr(basic_train, "loss_batch", loss_batch_bert)
            return contextlib.ExitStack()

        theirs = fitted(article)
    ours = fitted(patched_loop)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
