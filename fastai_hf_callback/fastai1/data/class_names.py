"""The classes of a learner's own data (the data block's, or own batches), for its model's config (fastai 1)."""

from typing import Any, Optional

from fastai.basic_train import Learner
from fastai.data_block import CategoryListBase, ItemList

from fastai_hf_callback.model.trained_classes import TargetClasses, name_trained_outputs, read_names

from .dataset import TextList
from .labels import find_task

__all__ = ["name_classes"]


def name_classes(learn: Learner) -> None:
    """Let the model's config name the classes of the learner's data, where these are not of ``text_data``.

    Raises
    ------
    InputError
        When the config has the same names in another order.
    """
    targets = _find_target_classes(learn.data)
    if targets is not None:
        name_trained_outputs(learn.model, targets, learn.loss_func)


def _find_target_classes(data: Any) -> Optional[TargetClasses]:
    train = getattr(data, "train_ds", None)
    labels = getattr(train, "y", None)
    if train is None or isinstance(getattr(train, "x", None), TextList):
        return None
    if isinstance(labels, CategoryListBase):
        return TargetClasses(read_names(labels.classes), find_task(labels), "label_from_df(..., classes={})")
    if isinstance(labels, ItemList):  # numbers, or the next words
        return None
    classes = getattr(data, "classes", None)
    return TargetClasses(read_names(classes), None, "data.classes = {}, and targets that are numbered so")
