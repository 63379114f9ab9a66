"""The article's patch of fastai 1's training loop, as a context manager."""

from contextlib import contextmanager
from operator import itemgetter
from typing import Any, Callable, Iterator, Union
from unittest.mock import patch

from fastai import basic_train
from fastai.callback import CallbackHandler
from fastai.core import ifnone, is_listy
from fastai.torch_core import to_detach

from fastai_hf_callback.fastai1.compat.training_loop import raise_if_patched

__all__ = ["patched_loop"]


@contextmanager
def patched_loop(element: Union[int, str, Callable[[Any], Any]] = 0) -> Iterator[None]:
    """Patch fastai's loop as the article did, for a baseline: ``out = model(*xb)[0]`` in it.

    Parameters
    ----------
    element : int, str or callable
        The part taken from the model's output: ``output[element]``, or ``element(output)``. The article
        takes 0.

    Raises
    ------
    PatchError
        When the loop is already patched, by this or by anybody's code.

    Notes
    -----
    On leaving, also through an exception, the very function object that was there is restored.
    """
    raise_if_patched()
    with patch.object(basic_train, "loss_batch", _build_article_loss_batch(element)):
        yield


def _build_article_loss_batch(element: Union[int, str, Callable[[Any], Any]]) -> Callable[..., Any]:
    """Build the article's ``loss_batch_bert``: fastai 1's loop body with one line changed."""
    take = element if callable(element) else itemgetter(element)

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
