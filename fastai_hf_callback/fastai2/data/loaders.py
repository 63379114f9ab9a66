"""The fastai 2 loaders of encoded texts: which rows make a batch, how a batch is made, and how it is shown."""

from types import MethodType
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np
from fastai.data.core import DataLoaders, TfmdDL
from fastai.torch_core import to_cpu, to_detach
from fastcore.foundation import L
from torch import Tensor

from fastai_hf_callback.data.batches.batch_spec import BatchSpec
from fastai_hf_callback.data.batches.sampler import LengthBucketSampler, sort_longest_first
from fastai_hf_callback.data.display import show_table, truncate
from fastai_hf_callback.errors import InvalidInputError

from .dataset import TextDataset, TextItem

__all__ = ["TextLoader", "TextLoaders"]


class TextLoader(TfmdDL):
    """``(input_ids, ..., attention_mask, targets)`` of a ``TextDataset``; without targets where it has none.

    With ``shuffle`` the batches are length-bucketed and reshuffled every epoch, from torch's generator; without, rows
    keep their own order.
    """

    _n_inp, _types = 1, None  # fastai reads a batch to set these, which a set without rows does not have

    def shuffle_fn(self, idxs: Sequence[int]) -> List[int]:
        return self._draw_rows(idxs, self.bs).tolist()

    @property
    def is_reshuffled(self) -> bool:
        """Whether rows are reshuffled every epoch; ``get_preds`` passes their order, and only then they are not."""
        return bool(self.shuffle) and isinstance(self.get_idxs, MethodType)

    def build_global_order(self, world_size: int) -> np.ndarray:
        """Build an epoch's order for all `world_size` processes; shuffled, each ``bs * world`` is of similar length."""
        if not self.is_reshuffled:
            return np.array(list(self.get_idxs()), dtype=np.int64)
        return self._draw_rows(range(self.n), self.bs * world_size)

    def _draw_rows(self, idxs: Sequence[int], bs: int) -> np.ndarray:
        rows = np.asarray(idxs, dtype=np.int64)
        return rows[LengthBucketSampler(self.dataset.lengths[rows], bs).draw()]

    def sort_longest_first(self) -> "TextLoader":
        """Return a loader of the same rows by falling length; ``learn.get_preds`` restores their own order."""
        return self.new(shuffle=False, drop_last=False, get_idxs=sort_longest_first(self.dataset.lengths).tolist)

    # -- a batch -----------------------------------------------------------------------------------

    def create_batch(self, items: Sequence[TextItem]) -> Tuple[Tensor, ...]:
        collator, width = self.dataset.collator, self._padded_width()
        rows, targets = [item.row for item in items], [item.target for item in items]
        inputs = tuple(collator.tensors(rows, width))
        # Words without labels have targets, too: they show where the words are.
        return (
            (*inputs, collator.targets(rows, targets, width))
            if collator.is_split_into_words or targets[0] is not None
            else inputs
        )

    def retain(self, batch: Any, items: Any) -> Any:
        return batch

    def to_detach(self, b: Any, cpu: bool = True, gather: bool = True) -> Any:
        """Detach without gathering, as fastai would under ``torchrun``, although this process has every row."""
        return to_detach(b, cpu=cpu, gather=False)

    def _padded_width(self) -> Optional[int]:
        """Return one width for all predicted batches, with outputs per token: fastai concatenates predictions."""
        return (
            None
            if self.is_reshuffled or not self.dataset.collator.predicts_per_token
            else int(self.dataset.lengths.max())
        )

    # -- a batch, shown ----------------------------------------------------------------------------

    def decode(self, b: Any) -> Any:
        return to_cpu(b)

    def decode_batch(self, b: Any, max_n: int = 9, full: bool = True) -> L:
        """Decode each row's text, and its label in words if `b` has one; the other inputs stay as they are."""
        n_inp, batch = self.n_inp, to_cpu(b)
        return L(self._decode_row([part[at] for part in batch], n_inp) for at in range(min(max_n, len(batch[0]))))

    def _decode_row(self, parts: List[Tensor], n_inp: int) -> Tuple[Any, ...]:
        dataset = self.dataset
        row, n_words = dataset.collator.recover_row(parts[:n_inp], dataset.rows)
        labels = [dataset.labels.decode_target(part.numpy(), row, n_words, dataset.collator) for part in parts[n_inp:]]
        return (dataset.collator.encoder.decode(row.input_ids), *parts[1:n_inp], *labels)

    def _pre_show_batch(self, b: Any, max_n: int = 9) -> Tuple[Any, Any, L]:
        batch, n_inp = to_cpu(b), self.n_inp
        return batch[:n_inp], batch[n_inp:], self.decode_batch(batch, max_n)

    def show_batch(
        self, b: Any = None, max_n: int = 9, ctxs: Any = None, show: bool = True, max_chars: int = 300, **kwargs: Any
    ) -> Any:
        """Show texts and their labels, a row each; arguments as fastai's."""
        b = self.one_batch() if b is None else b
        if not show:
            return self._pre_show_batch(b, max_n)
        rows, n_inp = self.decode_batch(b, max_n), self.n_inp
        columns = {"text": [truncate(row[0], max_chars) for row in rows]}
        if self._has_labels(b):
            columns["target"] = [row[n_inp] for row in rows]
        show_table(columns)
        return None

    def show_results(
        self, b: Any, out: Any, max_n: int = 9, ctxs: Any = None, show: bool = True, max_chars: int = 300, **kwargs: Any
    ) -> Any:
        """Show texts, labels and what was predicted, a row each; arguments as fastai's."""
        n_inp = self.n_inp
        out = out[0] if isinstance(out, (list, tuple)) and len(out) == 1 else out
        given, predicted = self.decode_batch(b, max_n), self.decode_batch((*b[:n_inp], out), max_n)
        if not show:
            return b[:n_inp], b[n_inp:], given, predicted.itemgot(slice(n_inp, None))
        columns = {"text": [truncate(row[0], max_chars) for row in given]}
        if self._has_labels(b):
            columns["target"] = [row[n_inp] for row in given]
        show_table({**columns, "prediction": [row[n_inp] for row in predicted]})
        return None

    def _has_labels(self, b: Any) -> bool:
        return len(b) > self.n_inp and self.dataset.targets is not None


class TextLoaders(DataLoaders):
    """The loaders that ``text_data`` makes: ``train``, ``valid`` and, where it was given, ``test``."""

    @property
    def test(self) -> Optional[TextLoader]:
        """The rows to predict; None without."""
        return self.loaders[2] if len(self.loaders) > 2 else None

    @property
    def inputs(self) -> BatchSpec:
        """The names of a batch's tensors, and what a model must have room for: ``HFModel(..., inputs=dls.inputs)``."""
        longest = max((int(loader.dataset.lengths.max()) for loader in self.loaders if len(loader.dataset)), default=0)
        return self.train_ds.inputs(longest)

    @property
    def c(self) -> int:
        """How many outputs the model's head needs: ``from_pretrained(..., num_labels=dls.c)``."""
        return self.train_ds.c

    @property
    def classes(self) -> List[str]:
        """The classes in the order of their numbers, or the names of the label columns."""
        return list(self.train_ds.labels.names)

    @property
    def loss_func(self) -> Any:
        """The task's loss, which ``Learner`` takes."""
        return self.train_ds.loss_func

    def test_dl(
        self, test_items: Any, rm_type_tfms: Any = None, with_labels: bool = False, **kwargs: Any
    ) -> TextLoader:
        """Make a loader of texts (pairs, lists of words, or a DataFrame or CSV file with their columns) to predict.

        Parameters
        ----------
        test_items : sequence (a list, an array, a column of a dataset), DataFrame, Dataset or path of a CSV file
        rm_type_tfms, with_labels
            As fastai passes them. Labels come with a `test` of ``text_data``, not here.
        **kwargs
            As in ``TfmdDL``.

        Raises
        ------
        InvalidInputError
            When an item is no text, or labels are asked for.
        """
        if with_labels and hasattr(test_items, "columns"):
            raise InvalidInputError(
                "with_labels=True was given; expected texts alone: for labels too, write "
                "text_data(..., test=frame) and learn.validate(dl=dls.test)"
            )
        dataset: TextDataset = self.valid_ds.build_prediction_set(test_items)
        kwargs.pop("process", None)  # of tables, as Interpretation expects
        return self.valid.new(dataset, **kwargs)
