"""The part of ``text_data`` that both fastais share: checking its arguments, and reading texts and labels.

Built on ``tables/``, ``encoding/`` and ``batches/``: it reads tables, prepares the tokenizer and makes a collator. The
``text_data`` of each fastai makes its loaders of that.
"""

import warnings
from functools import wraps
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Type, TypeVar

import torch

from .arguments import check_arguments
from .batches.collate import TextCollator
from .display import find_progress_bar
from .encoding.encoder import Progress, TextEncoder
from .tables.examples import LabeledSplits, read_examples

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    P = ParamSpec("P")

__all__ = ["PreparedTexts", "text_data", "takes_texts"]

Loaders = TypeVar("Loaders")
Collator = TypeVar("Collator", bound=TextCollator)


class PreparedTexts(NamedTuple):
    """Texts and labels, read and checked, before anything is tokenised.

    Attributes
    ----------
    examples : LabeledSplits
    encoder : TextEncoder
    columns : list of str
        Of the texts, and of the second ones.
    progress : callable, optional
    loader_arguments : dict
        ``path``, ``bs``, ``val_bs``, ``num_workers`` and ``device``.
    """

    examples: LabeledSplits
    encoder: TextEncoder
    columns: List[str]
    progress: Optional[Progress]
    loader_arguments: Dict[str, Any]

    def make_collator(self, kind: Type[Collator]) -> Collator:
        """Make the collator of this task, of a fastai's own class."""
        return kind(
            self.encoder,
            paired=len(self.columns) > 1,
            is_split_into_words=self.examples.task == "token-classification",
            progress=self.progress,
            columns=self.columns,
        )


def takes_texts(
    prepare: "Callable[P, PreparedTexts]",
) -> "Callable[[Callable[[PreparedTexts], Loaders]], Callable[P, Loaders]]":
    """Turn a function of ``PreparedTexts`` into one with the arguments, and the docstring, of `prepare`."""

    def decorate(build: Callable[[PreparedTexts], Loaders]) -> "Callable[P, Loaders]":
        @wraps(prepare, assigned=("__doc__",))
        def text_data(*args: "P.args", **kwargs: "P.kwargs") -> Loaders:
            return build(prepare(*args, **kwargs))

        text_data.__module__, text_data.__qualname__ = build.__module__, build.__qualname__
        return text_data

    return decorate


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
) -> PreparedTexts:
    """Turn texts and their labels into all that a fastai ``Learner`` and a Hugging Face model need.

    Parameters
    ----------
    train : DataFrame, Hugging Face Dataset or path of a CSV file
    valid : DataFrame, Dataset, path, float or str
        The validation rows; or the fraction of `train` to hold out; or the column of `train` that marks them.
    tokenizer : a pytorch-transformers or transformers tokenizer
        It determines the special tokens, how pairs are joined, what pads and on which side.
    text : str
        The column of texts; of lists of words, for a label per word; of questions.
    labels : str or list of str
        One column of classes (names or numbers), of numbers (a regression), or of lists of labels (one per word);
        several columns of 0 and 1 for several labels. Of answers, as text or as SQuAD has them (``{"text": [...],
        "answer_start": [...]}``), or two columns, of the text and the place of its first character.
    test : DataFrame, Dataset, path or list of str, optional
        Rows to predict: ``dls.test`` on fastai 2, ``DatasetType.Test`` on fastai 1. Labels, if it has them, are kept.
    text_pair : str, optional
        The column of second texts; of contexts, in which the answers stand.
    task : str, optional
        ``"single_label_classification"``, ``"multi_label_classification"``, ``"regression"``,
        ``"token-classification"`` or, on fastai 2 alone, ``"question-answering"``, where the columns do not say it.
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
    TextBunch on fastai 1, TextLoaders on fastai 2
        Batches hold tensors, padded to the longest text of the batch, with the mask, and the target last; ``inputs``
        names them for ``HFModel(model, inputs=data.inputs)``. Training batches are length-bucketed and reshuffled every
        epoch, from torch's generator; all other sets keep the caller's row order (``ordered_preds`` is
        the faster way to predict). No row is left out. ``loss_func`` fits the task; fastai 2's ``Learner`` finds it.

    Raises
    ------
    InvalidInputError
        Before anything is tokenised, with the rows or names concerned.

    Examples
    --------
    >>> frame = pd.DataFrame({"text": ["a fox", "the red fox runs", "an oak", "the old oak"], "kind": list("aapp")})
    >>> data = text_data(frame, frame, tokenizer, text="text", labels="kind", bs=2, max_length=16)
    >>> data.classes, data.c
    (['a', 'p'], 2)
    >>> data.inputs
    ('input_ids', 'attention_mask')
    >>> wrapped = HFModel(model, inputs=data.inputs)

    Next, ``Learner(data, wrapped, ...)``.
    """
    check_arguments(bs, val_bs, num_workers, path, device)
    encoder = TextEncoder(tokenizer, max_length=max_length, tokenizer_workers=tokenizer_workers)
    examples = read_examples(
        train, valid, text, labels, text_pair=text_pair, test=test, task=task, classes=classes, seed=seed
    )
    for line in examples.messages:
        warnings.warn(line, stacklevel=3)
    columns = [text] if text_pair is None else [text, text_pair]
    loader_arguments = {
        "path": path,
        "bs": int(bs),
        "val_bs": None if val_bs is None else int(val_bs),
        "num_workers": int(num_workers),
        "device": None if device is None else torch.device(device),
    }
    return PreparedTexts(examples, encoder, columns, find_progress_bar() if progress else None, loader_arguments)
