"""The article's patch of fastai 2's training loop, as a context manager."""

from contextlib import contextmanager
from operator import itemgetter
from typing import Any, Callable, Iterator, Union
from unittest.mock import patch

from fastai.learner import Learner

from fastai_hf_callback.fastai2.compat.training_loop import raise_if_patched

__all__ = ["patched_loop"]


@contextmanager
def patched_loop(element: Union[int, str, Callable[[Any], Any]] = 0) -> Iterator[None]:
    """Patch fastai's loop as the article did, for a baseline: ``self.pred = self.model(*self.xb)[0]`` in it.

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
    All of fastai's events are kept. On leaving, also through an exception, the very function object that was there
    is restored.
    """
    raise_if_patched()
    with patch.object(Learner, "_do_one_batch", _build_article_do_one_batch(element)):
        yield


def _build_article_do_one_batch(element: Union[int, str, Callable[[Any], Any]]) -> Callable[[Learner], None]:
    """Build fastai 2's own ``_do_one_batch`` with one line changed; a test compares it with the installed fastai's."""
    take = element if callable(element) else itemgetter(element)

    def _do_one_batch(self: Learner) -> None:
        self.pred = take(self.model(*self.xb))
        self("after_pred")
        if len(self.yb):
            self.loss_grad = self.loss_func(self.pred, *self.yb)
            self.loss = self.loss_grad.clone()
        self("after_loss")
        if not self.training or not len(self.yb):
            return
        self._do_grad_opt()

    return _do_one_batch
