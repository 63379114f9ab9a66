"""A loss of the user's own on data of ``text_data``: the learner keeps it, and predicts as the task asks (fastai 2)."""

from typing import Any

import torch
from fastai.learner import Learner

from fastai_hf_callback.model.loss.own_loss import wrap_own_loss

from .dataset import TextDataset

__all__ = ["adapt_own_loss"]


def adapt_own_loss(learn: Learner) -> None:
    """Let ``learn.loss_func`` say how its outputs become predictions, where it does not and the data do.

    Parameters
    ----------
    learn : Learner
        Unchanged where its data are not of ``text_data``, or the loss has ``activation`` and ``decodes``.
    """
    loss_func = learn.loss_func
    if hasattr(loss_func, "activation") and hasattr(loss_func, "decodes"):  # fastai's own, and an OwnLoss
        return
    dataset = _find_train_set(learn)
    if isinstance(dataset, TextDataset):
        labels = dataset.labels
        wrapped = wrap_own_loss(loss_func, labels.loss_func, labels.task, len(labels.names), _find_device(learn))
        learn.loss_func = loss_func if wrapped is None else wrapped


def _find_train_set(learn: Learner) -> Any:
    loaders = getattr(learn.dls, "loaders", None)
    return getattr(loaders[0], "dataset", None) if loaders else None


def _find_device(learn: Learner) -> torch.device:
    weight = next(iter(learn.model.parameters()), None) if hasattr(learn.model, "parameters") else None
    return torch.device("cpu") if weight is None else weight.device
