"""Patches of fastai 1's loop, as articles have them; twin of ``loops_of_fastai2.py``."""

from typing import Any, Callable, List

import torch
from fastai import basic_train
from fastai.torch_core import to_detach

_ORIGINALS: List[Any] = []


def patch(loop: Callable[..., Any]) -> None:
    _ORIGINALS.append(basic_train.loss_batch)
    basic_train.loss_batch = loop


def unpatch() -> None:
    while _ORIGINALS:
        basic_train.loss_batch = _ORIGINALS.pop()


def hf_loss_batch(model, xb, yb, loss_func=None, opt=None, cb_handler=None):
    """The article's: fastai's own, unwrapping."""
    cb_handler = cb_handler or basic_train.CallbackHandler()
    xb, yb = (part if isinstance(part, (list, tuple)) else [part] for part in (xb, yb))
    out = cb_handler.on_loss_begin(model(*xb)[0])
    if not loss_func:
        return to_detach(out), to_detach(yb[0])
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


def timed_loss_batch(model, xb, yb, loss_func=None, opt=None, cb_handler=None):
    """Left from a cell that timed the forward pass alone."""
    with torch.no_grad():
        result = hf_loss_batch(model, xb, yb, loss_func, None, cb_handler)
    if opt is not None:
        cb_handler.on_backward_begin(result)
    return result


def careful_loss_batch(model, xb, yb, loss_func=None, opt=None, cb_handler=None):
    """Calls backward and forgets the step."""
    xb, yb = (part if isinstance(part, (list, tuple)) else [part] for part in (xb, yb))
    out = cb_handler.on_loss_begin(model(*xb)[0])
    loss = loss_func(out, *yb) if loss_func else None
    if loss is None:
        return to_detach(out), to_detach(yb[0])
    if opt is not None:
        cb_handler.on_backward_begin(loss)[0].backward()
        cb_handler.on_backward_end()
        cb_handler.on_step_end()
        opt.zero_grad()
    return loss.detach().cpu()


loops = {"unwraps": hf_loss_batch, "times": timed_loss_batch, "forgets the step": careful_loss_batch}
