"""The patched loop against the article's own; the rest stands in tests/comparison/test_patched_loop.py."""

from unittest.mock import patch

import pytest
import torch

pytest.importorskip("fastai.basic_train")

from fastai import basic_train
from fastai.train import Learner

from fastai_hf_callback import patched_loop
from tests.fastai1.learners import make_learner


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

    def fitted(patched):
        torch.manual_seed(1)
        learn = make_learner("bert", callbacks=[])
        with patched:
            learn.fit_one_cycle(1, 1e-2)
            return [*learn.model.state_dict().values(), *learn.get_preds()]

    assert isinstance(make_learner("bert"), Learner)
    theirs, ours = fitted(patch.object(basic_train, "loss_batch", loss_batch_bert)), fitted(patched_loop())
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
