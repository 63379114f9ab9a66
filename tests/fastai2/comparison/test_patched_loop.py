import ast
import functools
import inspect
import textwrap

import pytest
import torch
from fastai.callback.core import Callback, event
from fastai.learner import Learner
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback import PatchError, patched_loop
from fastai_hf_callback.fastai2.comparison import patched_loop as room
from fastai_hf_callback.fastai2.compat.training_loop import find_active_patch
from tests.fastai2.learners import make_learner

ORIGINAL = Learner._do_one_batch


def foreign(self):
    return ORIGINAL(self)


@pytest.fixture(autouse=True)
def check_loop_restored():
    yield
    assert Learner._do_one_batch is ORIGINAL
    assert find_active_patch() is None


def test_it_trains_without_the_callback():
    learn = make_learner("bert", cbs=[])
    with patched_loop():
        learn.fit(1, 1e-2)
        assert learn.get_preds()[0].shape == (48, 3)


def test_it_says_where_the_patch_comes_from():
    with patched_loop():
        assert "_do_one_batch in" in find_active_patch() and "loop.py" in find_active_patch()


def test_it_refuses_to_nest():
    with patched_loop():
        inside = Learner._do_one_batch
        with pytest.raises(PatchError, match="already patched, by _do_one_batch in .*loop.py"):
            with patched_loop():
                pass
        assert Learner._do_one_batch is inside


@pytest.mark.parametrize(
    "patch",
    (foreign, functools.partialmethod(foreign), functools.wraps(ORIGINAL)(foreign)),
    ids=("function", "partial", "wraps"),
)
def test_it_refuses_a_foreign_patch_and_leaves_it_alone(patch, monkeypatch):
    with monkeypatch.context() as patching:
        patching.setattr(Learner, "_do_one_batch", patch)
        with pytest.raises(PatchError, match="already patched"):
            with patched_loop():
                pass
        assert vars(Learner)["_do_one_batch"] is patch


class Broken(BaseException):
    pass


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([KeyboardInterrupt, SystemExit, RuntimeError, MemoryError, StopIteration, GeneratorExit, Broken])
)
def test_the_very_function_comes_back_whatever_happens_inside(error):
    with pytest.raises(error if error is not StopIteration else (StopIteration, RuntimeError)):
        with patched_loop():
            assert Learner._do_one_batch is not ORIGINAL
            raise error()
    assert Learner._do_one_batch is ORIGINAL


def test_it_comes_back_after_a_fit_that_fails():
    learn = make_learner("bert", cbs=[], loss_func=lambda output, target: torch.zeros(1)[5])
    with pytest.raises(IndexError), patched_loop():
        learn.fit(1, 1e-2)


def test_it_comes_back_over_a_patch_set_inside():
    with patched_loop():
        Learner._do_one_batch = foreign


# -- it is fastai's own body, with one line changed -------------------------------------------------------------


def body(function):
    """The statements of a function, without its docstring, as text that layout does not change."""
    statements = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0].body
    return [
        ast.unparse(statement)
        for statement in statements
        if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant)
    ]


def differing_lines(function):
    ours, fastais = body(function), body(ORIGINAL)
    return len(ours) - len(fastais), [(a, b) for a, b in zip(ours, fastais) if a != b]


def test_the_body_is_that_of_the_installed_fastai_with_one_line_changed():
    assert differing_lines(room._build_article_do_one_batch(0)) == (
        0,
        [("self.pred = take(self.model(*self.xb))", "self.pred = self.model(*self.xb)")],
    )


def test_and_another_body_would_be_seen():
    def without_the_backward_events(self):
        self.pred = take(self.model(*self.xb))  # noqa: F821
        self("after_pred")
        if len(self.yb):
            self.loss_grad = self.loss_func(self.pred, *self.yb)
            self.loss = self.loss_grad.clone()
        self("after_loss")
        if not self.training or not len(self.yb):
            return
        self.loss_grad.backward()

    assert len(differing_lines(without_the_backward_events)[1]) == 2


class Events(Callback):
    """Writes down every event."""

    def __init__(self):
        self.seen = []

    def __call__(self, event_name):
        self.seen.append(event_name)


def test_all_events_are_there_and_in_the_same_order():
    def events_of(enter, **kwargs):
        callback = Events()
        learn = make_learner("bert", **kwargs)
        learn.add_cb(callback)
        with enter():
            learn.fit(1, 1e-2)
        return callback.seen

    patched, own = events_of(patched_loop, cbs=[]), events_of(contextlib_null)
    assert patched == own
    assert {"before_backward", "after_backward", "before_step", "after_step", "after_loss", "after_pred"} <= set(own)
    assert set(own) <= {name for name in dir(event) if not name.startswith("_")}


def contextlib_null():
    import contextlib

    return contextlib.ExitStack()


def test_the_same_steps_as_a_model_that_returns_its_logits():
    """The patched loop over a bare model, against fastai's own over a model that unwraps itself."""

    class Logits(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, *batch):
            return self.model(*batch)[0]

    def fitted(wrap, enter):
        torch.manual_seed(1)
        learn = make_learner("bert", cbs=[])
        learn.model = wrap(learn.model)
        with enter():
            learn.fit_one_cycle(1, 1e-2)
            return [*learn.model.state_dict().values(), *learn.get_preds()]

    import random

    random.seed(1)
    theirs = fitted(Logits, contextlib_null)
    random.seed(1)
    ours = fitted(lambda model: model, patched_loop)
    assert len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs))
