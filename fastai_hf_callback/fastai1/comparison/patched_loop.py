"""fastai 1's training loop: the article's patch of it, and what can be known about the one in force.

``fastai.basic_train.loss_batch`` is looked up at call time, and ``fit``, ``validate``, ``get_preds``
and ``pred_batch`` all go through it: it is the one patch site.
"""
import sys
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Optional, Sequence, Union

from fastai import basic_train
from fastai.callback import Callback, CallbackHandler
from fastai.core import ifnone, is_listy
from fastai.torch_core import to_detach

from fastai_hf_callback.errors import PatchError

__all__ = ["patched_loop", "raise_if_patched", "find_active_patch", "find_running_callbacks", "find_running_loss_func"]


@contextmanager
def patched_loop(element: Union[int, str, Callable[[Any], Any]] = 0) -> Iterator[None]:
    """The article's monkey-patch, as a baseline: ``out = model(*xb)[0]`` inside fastai's loop.

    Parameters
    ----------
    element : int, str or callable
        What is taken from the model's output: ``output[element]``, or ``element(output)``. The article
        takes 0.

    Raises
    ------
    PatchError
        When the loop is already patched, by this or by anybody's code.

    Notes
    -----
    On leaving, also through an exception, the very function object that was there comes back.
    """
    raise_if_patched()
    original = basic_train.loss_batch
    basic_train.loss_batch = _build_article_loss_batch(element)
    try:
        yield
    finally:
        basic_train.loss_batch = original


def raise_if_patched() -> None:
    """Raise ``PatchError`` when the loop is already patched, by this or by anybody's code."""
    foreign = find_active_patch()
    if foreign is not None:
        raise PatchError(f"fastai.basic_train.loss_batch is already patched, by {foreign}; expected fastai's own. "
                         f"Leave that patch first: take it out of the cell or file that makes it, and restart Python.")


def find_active_patch() -> Optional[str]:
    """Where the code of ``fastai.basic_train.loss_batch`` comes from, or None where it is fastai's own."""
    code = getattr(basic_train.loss_batch, "__code__", None)
    if code is None:
        return repr(basic_train.loss_batch)
    if code.co_filename == basic_train.LearnerCallback.__init__.__code__.co_filename:
        return None
    return f"{code.co_name} in {code.co_filename}, line {code.co_firstlineno}"


def find_running_loss_func() -> Optional[Callable[..., Any]]:
    """The loss function of the ``loss_batch`` that is running, seen from inside a callback; else None.

    fastai 1 hands a plain callback everything but this, so it is read from the loop's frame, which is
    a few calls up.
    """
    frame = sys._getframe(1)
    for _ in range(12):
        if frame is None:
            return None
        if "cb_handler" in frame.f_code.co_varnames and "loss_func" in frame.f_code.co_varnames:
            return frame.f_locals.get("loss_func")
        frame = frame.f_back
    return None


def find_running_callbacks() -> Sequence[Callback]:
    """All callbacks of the handler that is calling one of them, read from its frame as ``find_running_loss_func`` is."""
    frame = sys._getframe(1)
    for _ in range(12):
        if frame is None:
            break
        handler = frame.f_locals.get("self")
        if isinstance(handler, CallbackHandler):
            return list(handler.callbacks)
        frame = frame.f_back
    return ()


def _build_article_loss_batch(element):
    """The article's ``loss_batch_bert``: fastai 1's loop body with one line changed."""
    take = element if callable(element) else lambda output: output[element]

    def loss_batch(model, xb, yb, loss_func=None, opt=None, cb_handler=None):
        cb_handler = ifnone(cb_handler, CallbackHandler())  # fastai's line: what it costs belongs to the baseline
        if not is_listy(xb):
            xb = [xb]
        if not is_listy(yb):
            yb = [yb]
        out = take(model(*xb))
        out = cb_handler.on_loss_begin(out)
        if not loss_func:
            return to_detach(out), to_detach(yb[0])
        loss = loss_func(out, *yb)
        if opt is not None:
            loss, skip_backward = cb_handler.on_backward_begin(loss)
            if not skip_backward:
                loss.backward()
            if not cb_handler.on_backward_end():
                opt.step()
            if not cb_handler.on_step_end():
                opt.zero_grad()
        return loss.detach().cpu()

    return loss_batch
