"""A loss of the user's own on data of ``text_data``: the learner keeps it, and predicts as the task asks (fastai 1)."""

from typing import Any, Callable, Dict

from fastai.basic_train import Learner, _loss_func2activ
from fastai.core import noop
from fastai.layers import FlattenedLoss
from torch import nn

from fastai_hf_callback.model.loss.own_loss import OwnLoss, wrap_own_loss

from .dataset import TextList
from .labels import find_task

__all__ = ["NamedOwnLoss", "adapt_own_loss"]

# fastai 1 finds the activation by a loss's name, and looks at `func` first: what it finds for each link.
_NAMED_LIKE: Dict[str, Callable[[], nn.Module]] = {
    "identity": nn.L1Loss,
    "sigmoid": nn.BCEWithLogitsLoss,
    "exp": nn.NLLLoss,
    "softmax": nn.CrossEntropyLoss,
}


class NamedOwnLoss(OwnLoss):
    """An ``OwnLoss`` whose activation fastai 1 finds."""

    keywords = None  # of a partial: fastai looks there for an option of the Poisson loss
    axis = -1  # of the classes

    @property
    def func(self) -> Any:
        """Return a loss that has this one's activation, by its name."""
        link = self.traits.link
        return self.task_loss.func if link is None else _NAMED_LIKE[link]()


def adapt_own_loss(learn: Learner) -> None:
    """Let fastai find how the outputs of ``learn.loss_func`` become predictions, where it does not and the data do.

    Parameters
    ----------
    learn : Learner
        Unchanged where its data are not of ``text_data``, or the loss is one of fastai's own that it knows.
    """
    loss_func = learn.loss_func
    train = getattr(learn.data, "train_ds", None)
    if isinstance(loss_func, OwnLoss) or not isinstance(getattr(train, "x", None), TextList):
        return
    task_loss, task = getattr(train.y, "loss_func", None), find_task(train.y)
    if task is None or _is_known(loss_func, task_loss):
        return
    wrapped = wrap_own_loss(loss_func, task_loss, task, train.y.c, learn.data.device, NamedOwnLoss)
    learn.loss_func = loss_func if wrapped is None else wrapped


def _is_known(loss_func: Any, task_loss: Any) -> bool:
    """Return whether it is a loss of fastai's that flattens, and fastai finds the activation that the task needs."""
    if loss_func is task_loss or not isinstance(loss_func, FlattenedLoss):
        return loss_func is task_loss
    return _loss_func2activ(loss_func) is not noop or _loss_func2activ(task_loss) is noop
