"""Data for the paths where fastai asks the data for more than batches: predict, show_results, export."""

import torch
from fastai.data.core import Datasets
from fastai.data.transforms import Categorize

from tests.fastai2.learners import PAD, texts_and_targets
from tests.tiny_models import VOCAB

NAMES = ("low", "mid", "top")


class Shown(torch.Tensor):
    """Ids that can be shown, as fastai's own TensorText."""

    @staticmethod
    def __new__(cls, data):
        return torch.as_tensor(data).as_subclass(cls)

    def show(self, ctx=None, **kwargs):
        print(" ".join(str(i) for i in self.tolist() if i != PAD))
        return ctx


def ids_of(row):
    return Shown(row[0])


def mask_of(row):
    return NotShown((torch.as_tensor(row[0]) != PAD).long())


def label_of(row):
    return row[1]


class NotShown(Shown):
    """What has nothing to show, and is asked all the same."""

    def show(self, ctx=None, **kwargs):
        return ctx


def block_loaders(path, rows=32, bs=8):
    """DataLoaders of fastai's own Datasets: ids, mask -> category."""
    ids, _, targets = texts_and_targets("classes", rows)
    items = [[row.tolist(), NAMES[int(target)]] for row, target in zip(ids, targets)]
    assert int(ids.max()) < VOCAB
    half = list(range(rows // 2)), list(range(rows // 2, rows))
    data = Datasets(items, tfms=[[ids_of], [mask_of], [label_of, Categorize(vocab=NAMES)]], n_inp=2, splits=half)
    return data.dataloaders(bs=bs, num_workers=0, path=path, device=torch.device("cpu"))
