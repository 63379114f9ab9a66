"""The patched loop against fastai's own body; the rest stands in tests/comparison/test_patched_loop.py."""

import ast
import inspect
import random
import textwrap
from contextlib import nullcontext

import torch
from fastai.callback.core import Callback, event
from fastai.learner import Learner

from fastai_hf_callback import patched_loop
from fastai_hf_callback.fastai2.comparison import patched_loop as module
from tests.fastai2.learners import make_learner

ORIGINAL = Learner._do_one_batch


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
    assert differing_lines(module._build_article_do_one_batch(0)) == (
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

    patched, own = events_of(patched_loop, cbs=[]), events_of(nullcontext)
    assert patched == own
    assert {"before_backward", "after_backward", "before_step", "after_step", "after_loss", "after_pred"} <= set(own)
    assert set(own) <= {name for name in dir(event) if not name.startswith("_")}


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

    random.seed(1)
    theirs = fitted(Logits, nullcontext)
    random.seed(1)
    ours = fitted(lambda model: model, patched_loop)
    assert len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs))
