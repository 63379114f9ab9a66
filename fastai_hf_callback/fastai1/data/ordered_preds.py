"""Predictions in length-bucketed batches, returned in the caller's row order."""

from contextlib import contextmanager
from typing import Any, Iterator, List, Optional
from unittest.mock import patch

import numpy as np
import torch
from fastai.basic_data import DatasetType, DeviceDataLoader
from fastai.basic_train import Learner
from fastai.callback import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from fastai_hf_callback.data.batches.sampler import sort_longest_first
from fastai_hf_callback.errors import InvalidInputError

from .loaders import TextBunch
from .own_loss import adapt_own_loss

__all__ = ["ordered_preds"]

_LOADER_ATTRIBUTES = {
    DatasetType.Train: "train_dl",
    DatasetType.Valid: "valid_dl",
    DatasetType.Test: "test_dl",
    DatasetType.Fix: "fix_dl",
}


def ordered_preds(
    learn: Learner,
    ds_type: Any = DatasetType.Valid,
    activ: Optional[nn.Module] = None,
    with_loss: bool = False,
    pbar: Any = None,
) -> List[Tensor]:
    """Predict in batches of similar length, and return the rows in the caller's order: a faster ``get_preds``.

    Parameters
    ----------
    learn : Learner
        Its data made by ``text_data``.
    ds_type : DatasetType or texts
        Also ``DatasetType.Train``, whose rows come in the caller's order too; or what ``data.add_test`` takes: a list
        of texts or anything like one (an array, a Series, a column of a Hugging Face dataset), or a DataFrame. The
        data's own test set stays as it is.
    activ, with_loss, pbar
        As in ``Learner.get_preds``.

    Returns
    -------
    list of Tensor
        Predictions, targets, and with `with_loss` the losses, each with as many rows as the set (the losses of several
        labels, or of a label per word, are flattened, as fastai's are). With a label per word the targets are
        labels at the words' first pieces and -100 elsewhere.

    Raises
    ------
    InvalidInputError
        When the learner's data were not made by ``text_data``, or there is no such set.

    Examples
    --------
    >>> predictions, targets = ordered_preds(learn, DatasetType.Valid)
    >>> len(predictions) == len(targets) == len(learn.data.valid_ds)
    True
    """
    if not isinstance(learn, Learner):
        raise InvalidInputError(f"{type(learn).__name__} was given; expected a fastai Learner: ordered_preds(learn)")
    if _are_texts(ds_type) and isinstance(learn.data, TextBunch):
        with _test_set_of(learn.data, ds_type):
            return ordered_preds(learn, DatasetType.Test, activ=activ, with_loss=with_loss, pbar=pbar)
    loader = _find_loader(learn, ds_type)
    adapt_own_loss(learn)
    order = sort_longest_first(loader.dataset.x.lengths)
    by_length = loader.new(shuffle=False, drop_last=False, sampler=_FixedOrderSampler(order))
    with patch.object(learn.data, _LOADER_ATTRIBUTES[ds_type], by_length), _preserve_callbacks(learn):
        found = learn.get_preds(ds_type, activ=activ, with_loss=with_loss, pbar=pbar)
    back = torch.from_numpy(np.argsort(order))
    return [_reorder_rows(back, rows) for rows in found]


def _reorder_rows(order: Tensor, values: Tensor) -> Tensor:
    """Return `values` with its rows in `order`; fastai returns the losses of a label per word flattened."""
    return values.reshape(len(order), -1)[order].reshape(values.shape)


def _find_loader(learn: Learner, ds_type: DatasetType) -> DeviceDataLoader:
    if not isinstance(ds_type, DatasetType) or ds_type not in _LOADER_ATTRIBUTES:
        given = ds_type if isinstance(ds_type, (str, DatasetType)) else type(ds_type).__name__
        raise InvalidInputError(
            f"ordered_preds of {given} was asked for; expected DatasetType.Valid, Test, Train, Fix; "
            f"for new texts give a list of them; for one text write learn.predict(text)"
        )
    # Of the training rows, the loader that keeps their order: it pads them so that predictions can be concatenated.
    loader = learn.data.fix_dl if ds_type == DatasetType.Train else learn.data.dl(ds_type)
    if loader is None:
        raise InvalidInputError(
            f"these data have no {ds_type.name.lower()} set; write text_data(..., test=frame), or data.add_test(texts)"
        )
    if not len(getattr(getattr(loader.dataset, "x", None), "items", [0])):
        raise InvalidInputError(
            f"the {ds_type.name.lower()} set has no rows, as that of load_learner; write "
            f"load_learner(path, test=texts) and DatasetType.Test"
        )
    if not hasattr(getattr(loader.dataset, "x", None), "lengths"):
        raise InvalidInputError(
            f"{type(loader.dataset).__name__} was given, whose rows have no lengths; expected data of "
            f"text_data: learn.get_preds keeps their order as it is"
        )
    return loader


def _are_texts(given: Any) -> bool:
    """Return whether `given` is anything to read texts from: a sequence or a table, and no loader."""
    return hasattr(given, "__iter__") and not isinstance(given, (str, type, DeviceDataLoader, DataLoader))


@contextmanager
def _test_set_of(data: TextBunch, texts: Any) -> Iterator[None]:
    """Put `texts` in the place of the data's test set."""
    before = data.label_list.test, data.test_dl
    data.add_test(texts)
    try:
        yield
    finally:
        data.label_list.test, data.test_dl = before


class _FixedOrderSampler(Sampler):
    """These rows, in this order."""

    def __init__(self, rows: np.ndarray):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows.tolist())


@contextmanager
def _preserve_callbacks(learn: Learner) -> Iterator[None]:
    """Restore the callbacks: fastai's ``get_preds`` makes them again, without the last fit's recorder and doctor."""
    kept = {name: value for name, value in vars(learn).items() if isinstance(value, Callback)}
    try:
        yield
    finally:
        vars(learn).update(kept)
