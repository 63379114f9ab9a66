"""Patches of fastai 2's loop, as articles have them; twin of ``loops_of_fastai1.py``."""

from typing import Any, Callable, List

import torch
from fastai.learner import Learner

_ORIGINALS: List[Any] = []


def patch(loop: Callable[..., Any]) -> None:
    _ORIGINALS.append(Learner._do_one_batch)
    Learner._do_one_batch = loop


def unpatch() -> None:
    while _ORIGINALS:
        Learner._do_one_batch = _ORIGINALS.pop()


def hf_do_one_batch(self):
    """The article's, carried over: fastai's own, unwrapping."""
    _forward(self)
    if self.training and len(self.yb):
        self._do_grad_opt()


def timed_do_one_batch(self):
    """Left from a cell that timed the forward pass alone."""
    with torch.no_grad():
        _forward(self)


def careful_do_one_batch(self):
    """Calls backward and forgets the step."""
    _forward(self)
    if self.training and len(self.yb):
        self("before_backward")
        self.loss_grad.backward()
        self("after_backward")
        self.opt.zero_grad()


def _forward(self):
    self.pred = self.model(*self.xb)[0]
    self("after_pred")
    if len(self.yb):
        self.loss_grad = self.loss_func(self.pred, *self.yb)
        self.loss = self.loss_grad.clone()
    self("after_loss")


loops = {"unwraps": hf_do_one_batch, "times": timed_do_one_batch, "forgets the step": careful_do_one_batch}
