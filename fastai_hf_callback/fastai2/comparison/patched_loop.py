"""fastai 2's training loop: the article's patch of it, and what can be known about the one in force.

``Learner._do_one_batch`` is the only place that calls the model: ``fit``, ``lr_find``, ``validate``, ``get_preds`` and
``predict`` all go through it.
"""
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Optional, Union

from fastai import learner
from fastai.learner import Learner

from fastai_hf_callback.errors import PatchError

__all__ = ["patched_loop", "raise_if_patched", "find_active_patch"]


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


def raise_if_patched() -> None:
    """Raise ``PatchError`` when the loop is already patched, by this or by anybody's code."""
    foreign = find_active_patch()
    if foreign is not None:
        raise PatchError(f"fastai's Learner._do_one_batch is already patched, by {foreign}; expected fastai's own. "
                         f"Leave that patch first: take it out of the cell or file that makes it, and restart Python.")


def find_active_patch() -> Optional[str]:
    """Where the code of ``Learner._do_one_batch`` comes from, or None where it is fastai's own."""
    code = getattr(Learner._do_one_batch, "__code__", None)
    if code is None:
        return repr(Learner._do_one_batch)
    if code.co_filename == learner.save_model.__code__.co_filename:
        return None
    return f"{code.co_name} in {code.co_filename}, line {code.co_firstlineno}"


def _build_article_do_one_batch(element):
    """fastai 2's own ``_do_one_batch`` with one line changed; a test holds it to the installed fastai's."""
    take = element if callable(element) else lambda output: output[element]

    def _do_one_batch(self):
        self.pred = take(self.model(*self.xb))
        self('after_pred')
        if len(self.yb):
            self.loss_grad = self.loss_func(self.pred, *self.yb)
            self.loss = self.loss_grad.clone()
        self('after_loss')
        if not self.training or not len(self.yb):
            return
        self._do_grad_opt()

    return _do_one_batch
