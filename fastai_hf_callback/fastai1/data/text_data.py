"""Texts and labels -> a fastai 1 ``DataBunch`` of masked lists of tensors, rows of like length together."""

import warnings
from typing import Any, Optional, Sequence

import numpy as np
import torch
from fastai.data_block import EmptyLabelList, LabelList, LabelLists
from fastprogress import progress_bar

from fastai_hf_callback.data.arguments import check_arguments
from fastai_hf_callback.data.batches.collate import to_object_array
from fastai_hf_callback.data.display import is_interactive
from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.data.tables.examples import Examples, LabeledSplits, read_examples
from fastai_hf_callback.errors import InvalidInputError

from .dataset import TextList, TextProcessor
from .labels import build_label_list
from .loaders import TextBunch

__all__ = ["build_text_loaders", "text_data"]


def text_data(
    train: Any,
    valid: Any,
    tokenizer: Any,
    text: str,
    labels: Any,
    *,
    test: Any = None,
    text_pair: Optional[str] = None,
    task: Optional[str] = None,
    classes: Optional[Sequence[Any]] = None,
    bs: int = 32,
    val_bs: Optional[int] = None,
    max_length: int = 128,
    seed: int = 42,
    path: Any = ".",
    device: Optional[torch.device] = None,
    num_workers: int = 0,
    tokenizer_workers: Optional[int] = None,
    progress: bool = True,
) -> "TextBunch":
    """Texts with their labels -> all that a fastai ``Learner`` and a Hugging Face model need.

    Parameters
    ----------
    train : DataFrame, Hugging Face Dataset or path of a CSV file
    valid : DataFrame, Dataset, path, float or str
        The validation rows; or the fraction of `train` to hold out; or the column of `train` that marks them.
    tokenizer : a pytorch-transformers or transformers tokenizer
        It says which special tokens there are, how pairs are joined, what pads and on which side.
    text : str
        The column of texts; of lists of words, for a label per word.
    labels : str or list of str
        One column of classes (names or numbers), of numbers (a regression), or of lists of labels (one per word);
        several columns of 0 and 1 for several labels.
    test : DataFrame, Dataset, path or list of str, optional
        Rows to predict. Labels, if it has them, are kept.
    text_pair : str, optional
        The column of second texts.
    task : str, optional
        ``"single_label_classification"``, ``"multi_label_classification"``, ``"regression"`` or ``"token-classification"``, where the columns do not say it.
    classes : sequence, optional
        The classes in the order of their numbers; by default sorted.
    bs, val_bs : int
        Rows per batch in training, and elsewhere (`bs` by default).
    max_length : int
        Tokens per text at most, special tokens included.
    seed : int
        Draws the rows of a `valid` that is a fraction, and nothing else.
    path : path-like
        The learner's folder.
    device : torch.device, optional
    num_workers : int
        Processes that make batches; rows are in memory, so none is fastest.
    tokenizer_workers : int, optional
        Processes that tokenise, where the tokenizer is a slow one; as many as there are cores by default.
    progress : bool
        Whether to show a bar while tokenising, in a notebook or a terminal.

    Returns
    -------
    TextBunch
        Batches are lists of tensors, padded to the longest text of the batch, with the mask; ``data.inputs`` names
        them for ``HFModel(model, inputs=data.inputs)``. Training batches hold texts of like length and are drawn anew
        each epoch from torch's generator; all other sets keep the caller's row order, so that ``learn.get_preds`` does
        (``ordered_preds`` is the faster way). No row is left out. ``data.loss_func`` fits the task.

    Raises
    ------
    InvalidInputError
        Before anything is tokenised, with the rows or names concerned.
    """
    check_arguments(bs, val_bs, num_workers, path, device)
    encoder = TextEncoder(tokenizer, max_length=max_length, tokenizer_workers=tokenizer_workers)
    examples = read_examples(
        train, valid, text, labels, text_pair=text_pair, test=test, task=task, classes=classes, seed=seed
    )
    if examples.task == "question-answering":
        raise InvalidInputError(
            "task 'question-answering' (questions, and answers in their contexts) is there on fastai 2 alone; on "
            "fastai 1 make a DataBunch of your own: HFCallback(element=span_logits), "
            "loss_func=SpanLoss()"
        )
    for line in examples.messages:
        warnings.warn(line, stacklevel=2)
    bar, columns = (
        _progress_bar if progress and is_interactive() else None,
        [text] if text_pair is None else [text, text_pair],
    )
    processor = TextProcessor(
        encoder,
        paired=text_pair is not None,
        is_split_into_words=examples.task == "token-classification",
        progress=bar,
        columns=columns,
    )
    return build_text_loaders(
        examples,
        processor,
        path,
        bs=int(bs),
        val_bs=None if val_bs is None else int(val_bs),
        num_workers=int(num_workers),
        device=None if device is None else torch.device(device),
    )


def build_text_loaders(
    examples: LabeledSplits, processor: TextProcessor, path: Any = ".", **settings: Any
) -> TextBunch:
    """Checked examples -> their ``DataBunch``; texts that are encoded already are taken as they are."""
    return _build_label_lists(examples, processor, path).databunch(**{"num_workers": 0, "no_check": True, **settings})


def _progress_bar(iterable: Any, total: int) -> Any:
    return progress_bar(iterable, total=total, leave=False)


def _build_label_lists(examples: LabeledSplits, processor: TextProcessor, path: Any) -> LabelLists:
    def label_split(split: Examples) -> LabelList:
        y = (
            EmptyLabelList([0] * len(split.texts), path=path)
            if split.targets is None
            else build_label_list(split.targets, examples.task, examples.names, path)
        )
        return LabelList(TextList(_raw_texts(split), path=path, processor=processor), y)

    lists = LabelLists(path, label_split(examples.train), label_split(examples.valid)).process()
    if examples.test is not None:
        lists.test = label_split(examples.test)
        lists.test.process(lists.train.x.processor, None if examples.test.targets is None else lists.train.y.processor)
    return lists


def _raw_texts(split: Examples) -> np.ndarray:
    return to_object_array(list(zip(split.texts, split.pairs)) if split.pairs is not None else split.texts)
