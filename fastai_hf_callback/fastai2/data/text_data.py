"""Texts and labels -> fastai 2 ``DataLoaders`` of masked tuples of tensors, rows of like length together."""

import warnings
from typing import Any, Optional, Sequence

import torch
from fastai.torch_core import default_device
from fastprogress import progress_bar

from fastai_hf_callback.data.arguments import check_arguments
from fastai_hf_callback.data.batches.collate import TextCollator
from fastai_hf_callback.data.batches.qa_encoding import QACollator
from fastai_hf_callback.data.display import is_interactive
from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.data.tables.examples import Examples, LabeledSplits, read_examples
from fastai_hf_callback.utils.rng import preserve_rng_state

from .dataset import TextDataset
from .labels import TaskLabels
from .loaders import TextLoader, TextLoaders

__all__ = ["text_data", "build_text_loaders"]


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
) -> TextLoaders:
    """Texts with their labels -> all that a fastai ``Learner`` and a Hugging Face model need.

    Parameters
    ----------
    train : DataFrame, Hugging Face Dataset or path of a CSV file
    valid : DataFrame, Dataset, path, float or str
        The validation rows; or the fraction of `train` to hold out; or the column of `train` that marks them.
    tokenizer : a pytorch-transformers or transformers tokenizer
        It says which special tokens there are, how pairs are joined, what pads and on which side.
    text : str
        The column of texts; of lists of words, for a label per word; of questions.
    labels : str or list of str
        One column of classes (names or numbers), of numbers (a regression), or of lists of labels (one per word);
        several columns of 0 and 1 for several labels. Of answers, as text or as SQuAD has them (``{"text": [...],
        "answer_start": [...]}``), or two columns, of the text and the place of its first character.
    test : DataFrame, Dataset, path or list of str, optional
        Rows to predict, as ``dls.test``. Labels, if it has them, are kept.
    text_pair : str, optional
        The column of second texts; of contexts, in which the answers stand.
    task : str, optional
        ``"single_label_classification"``, ``"multi_label_classification"``, ``"regression"``, ``"token-classification"`` or ``"question-answering"``, where the columns do not say it.
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
        By default fastai's own.
    num_workers : int
        Processes that make batches; rows are in memory, so none is fastest.
    tokenizer_workers : int, optional
        Processes that tokenise, where the tokenizer is a slow one; as many as there are cores by default.
    progress : bool
        Whether to show a bar while tokenising, in a notebook or a terminal.

    Returns
    -------
    TextLoaders
        Batches are tuples of tensors, padded to the longest text of the batch, with the mask, and the target last;
        ``dls.inputs`` names them for ``HFModel(model, inputs=dls.inputs)``. Training batches hold texts of like length
        and are drawn anew each epoch from torch's generator; all other sets keep the caller's row order
        (``ordered_preds`` is the faster way to predict). No row is left out. ``dls.loss_func`` fits the task, and
        ``Learner`` finds it.

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
    for line in examples.messages:
        warnings.warn(line, stacklevel=2)
    bar, columns = (
        _progress_bar if progress and is_interactive() else None,
        [text] if text_pair is None else [text, text_pair],
    )
    if examples.task == "question-answering":
        collator: TextCollator = QACollator(encoder, bar, columns)
    else:
        collator = TextCollator(
            encoder,
            paired=text_pair is not None,
            is_split_into_words=examples.task == "token-classification",
            progress=bar,
            columns=columns,
        )
    loaders = build_text_loaders(
        examples,
        collator,
        path,
        bs=int(bs),
        val_bs=None if val_bs is None else int(val_bs),
        num_workers=int(num_workers),
        device=None if device is None else torch.device(device),
    )
    if isinstance(collator, QACollator):
        for name, loader in zip(("train", "valid", "test"), loaders.loaders):
            for line in collator.report_truncated_answers(loader.dataset.rows, loader.dataset.targets, name):
                warnings.warn(line, stacklevel=2)
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
    """Checked examples -> their ``DataLoaders``; texts that are encoded already are taken as they are."""
    labels = TaskLabels(examples.task, examples.names)
    splits = [split for split in (examples.train, examples.valid, examples.test) if split is not None]
    datasets = [_build_dataset(split, collator, labels) for split in splits]
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
    rows = collator.encode_texts(split.texts if split.pairs is None else list(zip(split.texts, split.pairs)))
    collator.set_tensor_names(rows)
    return TextDataset(rows, split.targets, collator, labels)


def _progress_bar(iterable: Any, total: int) -> Any:
    return progress_bar(iterable, total=total, leave=False)
