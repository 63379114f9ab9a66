"""The article's patch of fastai 2's training loop, as a context manager."""

from contextlib import contextmanager
from typing import Any, Callable, Iterator, Union

from fastai.learner import Learner

from fastai_hf_callback.fastai2.compat.training_loop import raise_if_patched

__all__ = ["patched_loop"]


@contextmanager
def patched_loop(element: Union[int, str, Callable[[Any], Any]] = 0) -> Iterator[None]:
    """The article's monkey-patch, as a baseline: ``self.pred = self.model(*self.xb)[0]`` inside fastai's loop.

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
    All of fastai's events are kept. On leaving, also through an exception, the very function object that was there
    comes back.
    """
    raise_if_patched()
    original = Learner._do_one_batch
    Learner._do_one_batch = _build_article_do_one_batch(element)
    try:
        yield
    finally:
        Learner._do_one_batch = original


def _build_article_do_one_batch(element):
    """fastai 2's own ``_do_one_batch`` with one line changed; a test holds it to the installed fastai's."""
    take = element if callable(element) else lambda output: output[element]

    def _do_one_batch(self):
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
