"""A data-block ``LabelLists`` of token ids: real items for predict, show_results, export and Interpretation."""

import contextlib
import warnings
from unittest import mock

import numpy as np
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.core import ItemBase
    from fastai.data_block import CategoryList, ItemList

from tests.fastai1.learners import BATCH, LENGTH
from tests.tiny_models import VOCAB


class Ids(ItemBase):
    """One row of token ids."""

    def __init__(self, ids):
        self.obj, self.data = ids, torch.as_tensor(np.asarray(ids), dtype=torch.int64)

    def __str__(self):
        return " ".join(map(str, self.data.tolist()))

    def apply_tfms(self, tfms, **kwargs):
        return self


class IdList(ItemList):
    """Rows of token ids; shown as text."""

    def get(self, i):
        return Ids(super().get(i))

    def reconstruct(self, t):
        return Ids(t)

    def show_xyzs(self, xs, ys, zs, **kwargs):
        for x, y, z in zip(xs, ys, zs):
            print(x, y, z)


def block_data(path=".", rows=48):
    """A DataBunch from the data block: ids ``(batch, LENGTH)``, three classes."""
    ids = np.random.RandomState(0).randint(5, VOCAB, (rows, LENGTH))
    names = ["low", "mid", "top"]
    labelled = (
        IdList(ids, path=path)
        .split_by_idx(list(range(16)))
        .label_from_func(lambda row: names[int(row[0]) * 3 // VOCAB], label_cls=CategoryList)
    )
    return labelled.databunch(bs=BATCH, num_workers=0, device=torch.device("cpu"), pin_memory=False)


@contextlib.contextmanager
def trusted_pickles():
    """Full pickles through ``torch.load`` inside, as in 2019: fastai 1's purge and load_learner need them."""
    load = torch.load
    if "weights_only" not in load.__code__.co_varnames:
        yield
        return
    with mock.patch.object(torch, "load", lambda *args, **kwargs: load(*args, **{"weights_only": False, **kwargs})):
        yield
