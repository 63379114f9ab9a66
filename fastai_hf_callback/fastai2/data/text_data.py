"""Texts and labels -> fastai 2 ``DataLoaders`` of masked tuples of tensors, length-bucketed."""

import warnings
from typing import Any, Optional

import torch
from fastai.torch_core import default_device

from fastai_hf_callback.data import text_data as core
from fastai_hf_callback.data.batches.collate import TextCollator
from fastai_hf_callback.data.batches.qa_encoding import QACollator
from fastai_hf_callback.data.marked_texts import warn_of_marked_texts
from fastai_hf_callback.data.tables.examples import Examples, LabeledSplits
from fastai_hf_callback.utils.rng import preserve_rng_state

from .dataset import TextDataset
from .labels import TaskLabels
from .loaders import TextLoader, TextLoaders

__all__ = ["text_data", "build_text_loaders"]


@core.takes_texts(core.text_data)
def text_data(prepared: core.PreparedTexts) -> TextLoaders:
    if prepared.examples.task != "question-answering":
        collator = prepared.make_collator(TextCollator)
        return build_text_loaders(prepared.examples, collator, **prepared.loader_arguments)
    qa_collator = QACollator(prepared.encoder, prepared.progress, prepared.columns)
    loaders = build_text_loaders(prepared.examples, qa_collator, **prepared.loader_arguments)
    for name, loader in zip(("train", "valid", "test"), loaders.loaders):
        for line in qa_collator.report_truncated_answers(loader.dataset.rows, loader.dataset.targets, name):
            warnings.warn(line, stacklevel=3)
    return loaders


def build_text_loaders(
    examples: LabeledSplits,
    collator: TextCollator,
    path: Any = ".",
    bs: int = 32,
    val_bs: Optional[int] = None,
    num_workers: int = 0,
    device: Optional[torch.device] = None,
) -> TextLoaders:
    """Build the ``DataLoaders`` of checked examples; texts that are encoded already are used as they are."""
    labels = TaskLabels(examples.task, examples.names)
    splits = [split for split in (examples.train, examples.valid, examples.test) if split is not None]
    datasets = [_build_dataset(split, collator, labels) for split in splits]
    named = zip(("train", "valid", "test"), splits, datasets)
    warn_of_marked_texts(collator, [(name, split, dataset.rows) for name, split, dataset in named])
    device = default_device() if device is None else device
    with preserve_rng_state():  # fastai seeds each loader from python's generator
        loaders = [
            TextLoader(
                dataset,
                bs=bs if at == 0 or val_bs is None else val_bs,
                shuffle=at == 0,
                num_workers=num_workers,
                device=device,
            )
            for at, dataset in enumerate(datasets)
        ]
        return TextLoaders(*loaders, path=path, device=device)


def _build_dataset(split: Examples, collator: TextCollator, labels: TaskLabels) -> TextDataset:
    rows = collator.encode_texts(split.items)
    collator.set_tensor_names(rows)
    return TextDataset(rows, split.targets, collator, labels)
