"""The fastai 1 ``DataBunch`` of encoded texts: which rows make a batch, and how a batch is made."""

from typing import Any, List, Optional, Sequence, Tuple

import torch
from fastai.basic_data import DataBunch, DeviceDataLoader
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fastai_hf_callback.data.batches.batch_spec import BatchSpec
from fastai_hf_callback.data.batches.sampler import LengthBucketSampler
from fastai_hf_callback.data.batches.trial_batches import build_trial_batches
from fastai_hf_callback.errors import InvalidInputError

from .distributed_loader import TextLoader
from .labels import find_task

__all__ = ["ItemCollator", "TextBunch"]


class ItemCollator:
    """``[(row, target), ...]`` -> ``([input_ids, ..., attention_mask], targets)``; a class, so that it pickles.

    Parameters
    ----------
    collator : TextCollator
    width : int, optional
        Columns; the longest row of the batch by default.
    """

    def __init__(self, collator: Any, width: Optional[int] = None):
        self.collator, self.width = collator, width

    def __call__(self, items: Sequence[Tuple[Any, Any]]) -> Tuple[List[Tensor], Tensor]:
        rows = [x.data for x, _ in items]
        labels = [getattr(y, "data", y) for _, y in items]
        return self.collator.tensors(rows, self.width), self.collator.targets(rows, labels, self.width)


class TextBunch(DataBunch):
    """The ``DataBunch`` that ``text_data`` makes. ``inputs`` names the tensors of a batch."""

    @classmethod
    def create(
        cls,
        train_ds: Dataset,
        valid_ds: Dataset,
        test_ds: Optional[Dataset] = None,
        path: Any = ".",
        bs: int = 32,
        val_bs: Optional[int] = None,
        num_workers: int = 0,
        dl_tfms: Any = None,
        device: Optional[torch.device] = None,
        collate_fn: Any = None,
        no_check: bool = False,
        **dl_kwargs: Any,
    ) -> "TextBunch":
        """Create as ``DataBunch.create``; `collate_fn` is ignored: ``load_data`` and ``load_learner`` pass fastai's."""
        datasets, val_bs = cls._init_ds(train_ds, valid_ds, test_ds), bs if val_bs is None else val_bs
        buckets = LengthBucketSampler(train_ds.x.lengths, bs) if len(train_ds.x.items) else None
        loaders = [
            DataLoader(dataset, size, sampler=sampler, num_workers=num_workers, **dl_kwargs)
            for dataset, size, sampler in zip(datasets, (bs, val_bs, val_bs, val_bs), (buckets, None, None, None))
        ]
        bunch = cls(
            *loaders,
            path=path,
            device=device,
            dl_tfms=dl_tfms,
            collate_fn=ItemCollator(train_ds.x.collator),
            no_check=no_check,
        )
        bunch.train_dl, bunch.valid_dl = bunch.to_text_loader(bunch.train_dl), bunch.to_text_loader(bunch.valid_dl)
        bunch._pad_to_common_width()
        return bunch

    @staticmethod
    def to_text_loader(loader: DeviceDataLoader) -> TextLoader:
        """Turn `loader` into one that ``learn.to_distributed`` shares between its processes by length."""
        return TextLoader(loader.dl, loader.device, loader.tfms, loader.collate_fn)

    @property
    def inputs(self) -> BatchSpec:
        """The names of a batch's tensors, and what a model must have room for: ``HFModel(..., inputs=data.inputs)``."""
        collator = self.train_ds.x.collator
        lengths = [loader.dataset.x.lengths for loader in (self.train_dl, self.valid_dl, self.test_dl) if loader]
        longest = max([int(rows.max()) for rows in lengths if len(rows)], default=0)
        labels, vocab_size = self.train_ds.y, collator.encoder.vocab_size
        return BatchSpec(
            collator.names,
            collator.padding,
            longest,
            vocab_size,
            self.c,
            find_task(labels) or "",
            labels.classes,
            build_trial_batches(collator, self.train_ds.x.items),
            collator.untyped_pairs,
        )

    @property
    def c(self) -> int:
        """How many outputs the model's head needs: ``from_pretrained(..., num_labels=data.c)``."""
        return self.train_ds.y.c

    @property
    def batch_size(self) -> int:
        return self.train_dl.batch_size

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        DataBunch.batch_size.fset(self, size)
        self.train_dl.sampler.bs = size  # or batches would be cut across the buckets

    def add_test(self, items: Any, label: Any = None, tfms: Any = None, tfm_y: Any = None) -> None:
        """Add texts (or pairs, or lists of words; or a DataFrame with their columns) to predict; see fastai's own."""
        if label is not None and label not in getattr(self.train_ds.y, "classes", [label]):
            raise InvalidInputError(f"label={label!r} was given; expected one of the classes, or none")
        super().add_test(items, label=label, tfms=tfms, tfm_y=tfm_y)
        self._pad_to_common_width()

    def one_item(self, item: Any, **kwargs: Any) -> Any:
        """Make a batch of one item; fastai's own leaves the item in the validation set if this fails."""
        try:
            return super().one_item(item, **kwargs)
        finally:
            self.single_ds.item = None

    def _pad_to_common_width(self) -> None:
        """Pad all predicted batches to one width, with a label per word: fastai concatenates predictions."""
        if not self.train_ds.x.collator.is_split_into_words:
            return
        for loader in (self.valid_dl, self.fix_dl, self.test_dl):
            if loader is not None and len(loader.dataset.x.items):
                collate = ItemCollator(self.train_ds.x.collator, int(loader.dataset.x.lengths.max()))
                loader.collate_fn = loader.dl.collate_fn = collate
