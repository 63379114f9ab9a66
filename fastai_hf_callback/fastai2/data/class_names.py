"""The classes of a learner's own data (fastai's blocks, or own batches), for its model's config (fastai 2)."""

from typing import Any, Optional

from fastai.data.transforms import Categorize, CategoryMap, EncodedMultiCategorize, MultiCategorize
from fastai.learner import Learner
from fastcore.foundation import L

from fastai_hf_callback.model.trained_classes import TargetClasses, name_trained_outputs, read_names

from .dataset import TextDataset

__all__ = ["name_classes"]


def name_classes(learn: Learner) -> None:
    """Let the model's config name the classes of the learner's data, where these are not of ``text_data``.

    Raises
    ------
    InputError
        When the config has the same names in another order.
    """
    targets = _find_target_classes(learn.dls)
    if targets is not None:
        name_trained_outputs(learn.model, targets, learn.loss_func)


def _find_target_classes(dls: Any) -> Optional[TargetClasses]:
    loaders = getattr(dls, "loaders", None)
    dataset = getattr(loaders[0], "dataset", None) if loaders else None
    if dataset is None or isinstance(dataset, TextDataset):
        return None
    if hasattr(dataset, "tls"):  # its own vocab lists that of each part, of words too
        category = _find_category(dataset)
        if category is not None:
            several = isinstance(category, (MultiCategorize, EncodedMultiCategorize))
            task = "multi_label_classification" if several else "single_label_classification"
            block = "MultiCategoryBlock(vocab={})" if several else "CategoryBlock(vocab={}, sort=False)"
            return TargetClasses(read_names(_to_list(category.vocab)), task, block)
        vocab = vars(dls).get("vocab")
    else:
        vocab = getattr(dls, "vocab", None)
    return TargetClasses(read_names(_to_list(vocab)), None, "dls.vocab = {}, and targets that are numbered so")


def _find_category(dataset: Any) -> Optional[Categorize]:
    """Return what makes numbers of classes; None where there are several targets, or these are no classes."""
    targets = list(dataset.tls)[dataset.n_inp :]
    found = (
        [one for one in getattr(targets[0].tfms, "fs", ()) if isinstance(one, Categorize)] if len(targets) == 1 else []
    )
    return found[-1] if found else None


def _to_list(vocab: Any) -> Any:
    """Return fastai's own kinds of lists as lists, and what is in them."""
    return [_to_list(one) for one in vocab] if isinstance(vocab, (L, CategoryMap)) else vocab
