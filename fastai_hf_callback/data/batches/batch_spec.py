"""The names of a batch's tensors, and what a model must have room for to take them. Imports torch and ``errors``."""

from typing import Any, Optional, Protocol, Sequence, Tuple, cast

from torch import nn

from fastai_hf_callback.errors import InputError

from .padding import NO_PADDING, Padding
from .trial_batches import NO_TRIAL, TrialBatches

__all__ = ["BatchSpec", "PreTrainedModel", "find_first_position"]


class PreTrainedModel(Protocol):
    """The part of a Hugging Face model's interface that is used here and in ``HFModel``."""

    def get_input_embeddings(self) -> nn.Embedding: ...

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> Any: ...


class BatchSpec(Tuple[str, ...]):
    """The names of a batch's tensors, and what a model must have room for to take them.

    Parameters
    ----------
    names : sequence of str
        As ``forward`` calls them.
    padding : Padding
    longest : int
        Tokens of the longest row.
    vocab_size : int
        One above the highest id that the tokenizer gives.
    num_labels : int
        How many numbers per row, or per token, the labels ask for.
    task : str
        As ``text_data`` has it; empty where it is not known.
    classes : sequence of str
        The names of these numbers.
    trial : TrialBatches
        What a model is tried on before it is trained.
    untyped_pairs : str
        Where pairs of texts have no token types: what to write before ``text_data`` to give them some.
    """

    padding: Padding
    longest: int
    vocab_size: int
    num_labels: int
    task: str
    classes: Tuple[str, ...]
    trial: TrialBatches
    untyped_pairs: str

    def __new__(
        cls,
        names: Sequence[str],
        padding: Padding = NO_PADDING,
        longest: int = 0,
        vocab_size: int = 0,
        num_labels: int = 0,
        task: str = "",
        classes: Sequence[str] = (),
        trial: TrialBatches = NO_TRIAL,
        untyped_pairs: str = "",
    ) -> "BatchSpec":
        self = super().__new__(cls, names)
        self.padding, self.longest, self.vocab_size, self.num_labels = padding, longest, vocab_size, num_labels
        self.task, self.classes, self.trial = task, tuple(classes), trial
        self.untyped_pairs = untyped_pairs
        return self

    def __getnewargs__(self) -> Any:
        return (
            tuple(self),
            self.padding,
            self.longest,
            self.vocab_size,
            self.num_labels,
            self.task,
            self.classes,
            self.trial,
            self.untyped_pairs,
        )

    def check(self, model: nn.Module) -> None:
        """Refuse a model that these batches would break, before anything is trained.

        Raises
        ------
        InputError
            When the model has fewer positions, embeddings or outputs than the data need.
        """
        name, rows, positions = type(model).__name__, _count_embeddings(model), _count_positions(model)
        if rows is not None and self.vocab_size > rows:
            raise InputError(
                f"The tokenizer has {self.vocab_size} ids, and {name} embeds {rows}. Load both from one folder, or "
                f"write model.resize_token_embeddings({self.vocab_size}) if tokens were added.",
                "vocabulary-too-large",
            )
        if positions is not None and self.longest > positions:
            raise InputError(
                f"The longest text has {self.longest} tokens, and {name} has {positions} positions. Write "
                f"text_data(..., max_length={positions}).",
                "too-many-positions",
            )
        num_labels = getattr(model, "num_labels", None)
        if self.num_labels and isinstance(num_labels, int) and num_labels != self.num_labels:
            raise InputError(
                f"The labels ask for {self.num_labels} output(s), and {name} gives {num_labels}. Write "
                f"from_pretrained(..., num_labels={self.num_labels}).",
                "wrong-number-of-outputs",
            )


def _count_embeddings(model: nn.Module) -> Optional[int]:
    """Count the rows of the embedding that reads ``input_ids``, where the model tells which it is."""
    try:
        embeddings = cast(PreTrainedModel, model).get_input_embeddings()
        return int(embeddings.weight.shape[0])
    except (AttributeError, NotImplementedError, TypeError):
        return getattr(getattr(model, "config", None), "vocab_size", None)


def _count_positions(model: nn.Module) -> Optional[int]:
    """Count the tokens that a model has positions for, where it has a table of them."""
    found = _find_position_table(model)
    return None if found is None else found[1].num_embeddings - _first_position(model, *found)


def find_first_position(model: nn.Module) -> Optional[int]:
    """Return the position of a text's first token; None for a model without a table of positions."""
    found = _find_position_table(model)
    return None if found is None else _first_position(model, *found)


def _find_position_table(model: nn.Module) -> Optional[Tuple[str, nn.Embedding]]:
    """Return the name and module of the embedding whose size is the config's number of positions."""
    config = getattr(model, "config", None)
    size = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if not isinstance(size, int) or size <= 0:
        return None
    return next(
        (
            (name, table)
            for name, table in model.named_modules()
            if isinstance(table, nn.Embedding) and table.num_embeddings == size and "rel" not in name
        ),
        None,
    )


def _first_position(model: nn.Module, name: str, table: nn.Embedding) -> int:
    """Return the first position: RoBERTa and models like it count positions from their padding id on."""
    holder = dict(model.named_modules())[name.rpartition(".")[0]]
    before = table.padding_idx if table.padding_idx is not None else getattr(holder, "padding_idx", None)
    return 0 if before is None else int(before) + 1
