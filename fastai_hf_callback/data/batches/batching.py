"""Encoded texts -> batches: rows of like length together, padded to the longest of the batch, with their mask.

Imports torch and ``errors``. Which rows make a batch is decided here for both fastais; how a batch reaches the model is
``model.py``'s.
"""
from typing import Any, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Sampler

from fastai_hf_callback.errors import InputError, UnusableInput

__all__ = ["IGNORED", "LengthBuckets", "Padding", "TextInputs", "dealt", "dealt_evenly", "first_pieces",
           "first_position", "joint_sizes", "longest_first", "mask_rows", "pad_rows", "padded_share", "piece_targets"]

# Batches whose rows are sorted together: more waste less padding and mix less. On log-normal lengths (5 to 120 tokens,
# 32 rows) 25, 50 and 100 batches compute 1.09, 1.04 and 1.02 tokens per real token; docs/benchmarks.md has the figures
# from few rows to many, and the accuracy beside that of random batches.
WINDOW = 100

# The target of padding, of special tokens and of a word's later pieces: cross entropy's own `ignore_index`.
IGNORED = -100


class Padding(NamedTuple):
    """How a tokenizer wants short rows filled up.

    Attributes
    ----------
    id, type_id : int
        What fills ``input_ids`` and ``token_type_ids``.
    side : str
        ``"right"`` or ``"left"``.
    """

    id: int = 0
    type_id: int = 0
    side: str = "right"


NO_PADDING = Padding()


def pad_rows(rows: Sequence[Any], value: int, side: str = "right", width: Optional[int] = None) -> Tensor:
    """Rows of unequal length as one tensor.

    Parameters
    ----------
    rows : sequence of array-like of int
    value : int
        Fills what is missing.
    side : str
        Where it is filled in, ``"right"`` or ``"left"``.
    width : int, optional
        Columns; the longest row's length by default.

    Returns
    -------
    Tensor, int64, (rows, width)
    """
    lengths = [len(row) for row in rows]
    real = _real(lengths, max(lengths) if width is None else width, side)
    padded = np.full(real.shape, value, dtype=np.int64)
    padded[real] = np.concatenate(rows)  # row by row, as the places are taken
    return torch.from_numpy(padded)


def mask_rows(rows: Sequence[Any], side: str = "right", width: Optional[int] = None) -> Tensor:
    """1 where ``pad_rows`` puts something of a row, 0 elsewhere; int64, (rows, width)."""
    lengths = [len(row) for row in rows]
    return torch.from_numpy(_real(lengths, max(lengths) if width is None else width, side).astype(np.int64))


def _real(lengths: Sequence[int], width: int, side: str) -> np.ndarray:
    """Which places rows of these lengths fill, bool, (rows, width)."""
    columns, of_each = np.arange(width), np.asarray(lengths)[:, None]
    return columns >= width - of_each if side == "left" else columns < of_each


class LengthBuckets(Sampler):
    """Row numbers in an order in which every `bs` of them are of like length; another order at each pass.

    Rows are drawn at random, cut into windows of `window` batches, sorted by length within each, and the batches are
    drawn at random. The batch with the longest row comes first, so that what does not fit into memory shows at once;
    the one short batch, if any, comes last. Randomness comes from torch's global generator.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each row.
    bs : int
        Rows per batch; the loader must cut the order at the same size.
    window : int
        Batches that are sorted together.
    """

    def __init__(self, lengths: Sequence[int], bs: int, window: int = WINDOW):
        self.lengths, self.bs, self.window = np.asarray(lengths, dtype=np.int64), bs, window

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(self.draw().tolist())

    def draw(self) -> np.ndarray:
        """One pass: every row number once, int64, (rows,)."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        batches = self._batches(torch.randperm(len(self)).numpy())
        last = [batches.pop()] if len(batches[-1]) < self.bs else []
        return np.concatenate(self._drawn(batches) + last)

    def _batches(self, rows: np.ndarray) -> List[np.ndarray]:
        batches = []
        for part in _windows(rows, self.bs, self.window):
            part = part[np.argsort(-self.lengths[part], kind="stable")]
            batches += [part[at:at + self.bs] for at in range(0, len(part), self.bs)]
        return batches

    def _drawn(self, batches: List[np.ndarray]) -> List[np.ndarray]:
        if not batches:
            return []
        longest = int(np.argmax([self.lengths[batch[0]] for batch in batches]))
        others = [batch for at, batch in enumerate(batches) if at != longest]
        return [batches[longest], *(others[at] for at in torch.randperm(len(others)).tolist())]


def _windows(rows: np.ndarray, bs: int, window: int) -> List[np.ndarray]:
    """`rows` in parts of about `window` whole batches each; a small rest would be a badly sorted part of its own."""
    batches = -(-len(rows) // bs)
    parts = max(1, round(batches / window))
    cuts = [round(batches * part / parts) * bs for part in range(1, parts)]
    return np.split(rows, cuts)


def joint_sizes(rows: int, bs: int, world: int) -> List[int]:
    """How many rows `world` processes take together at each step: `bs` each, what is left at the last.

    Parameters
    ----------
    rows : int
        At least `world`.
    bs : int
        Rows per batch and process.
    world : int
        Processes.

    Returns
    -------
    list of int
        They add up to `rows`, and each is at least `world`: no process is without a row, which would leave the others
        waiting for its gradients. Only where `bs` is 1 and `rows` no multiple of `world`, some take 2 rows at the last.

    Raises
    ------
    UnusableInput
        When there are fewer rows than processes.
    """
    if rows < world:
        raise UnusableInput(f"{rows} row(s) for {world} processes were given; expected at least one for each: start "
                            f"fewer processes")
    steps = min(-(-rows // (bs * world)), rows // world)
    sizes = [bs * world] * (steps - 1)
    rest = rows - sum(sizes)
    if rest < world:
        sizes[-1] -= world - rest
    return [*sizes, max(rest, world)]


def dealt(order: Sequence[int], bs: int, world: int, leveled: bool = False) -> List[List[np.ndarray]]:
    """Rows in `order` dealt to `world` processes: the same number of batches for each, every row once.

    Parameters
    ----------
    order : sequence of int
        Rows, those of like length together; at least `world`.
    bs, world : int
        As in :func:`joint_sizes`.
    leveled : bool
        Deal the rows of a step one by one, like cards, so that all processes have rows of the same lengths and none
        waits for the others; by default in one piece each, so that the pieces put together are `order` again.

    Returns
    -------
    list of list of ndarray of int64
        For each process its batches. What all take at one step is what one process would take with batches of
        ``bs * world``; the processes' shares of it differ by one row at most.

    Raises
    ------
    UnusableInput
        When there are fewer rows than processes.
    """
    order = np.asarray(order, dtype=np.int64)
    steps = np.split(order, np.cumsum(joint_sizes(len(order), bs, world))[:-1])
    if leveled:
        return [[step[rank::world] for step in steps] for rank in range(world)]
    return [list(shares) for shares in zip(*(np.array_split(step, world) for step in steps))]


def dealt_evenly(order: Sequence[int], bs: int, world: int) -> Tuple[List[List[np.ndarray]], List[np.ndarray]]:
    """The same number of rows for each process, and what cannot be divided for all of them: for evaluation.

    Parameters
    ----------
    order : sequence of int
    bs, world : int
        As in :func:`joint_sizes`.

    Returns
    -------
    shares : list of list of ndarray of int64
        For each process its batches; at each step all have as many rows, and put together they follow `order`.
    rest : list of ndarray of int64
        Batches of the fewer than `world` rows that are left.
    """
    order = np.asarray(order, dtype=np.int64)
    whole = len(order) - len(order) % world
    shares = dealt(order[:whole], bs, world) if whole else [[] for _ in range(world)]
    return shares, [order[at:at + bs] for at in range(whole, len(order), bs)]


def longest_first(lengths: Sequence[int]) -> np.ndarray:
    """Row numbers by falling length, int64, (rows,); rows of one length keep their order."""
    return np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")


def padded_share(lengths: Sequence[int], order: Sequence[int], bs: int) -> float:
    """Tokens computed per real token when rows are taken in `order`, `bs` at a time, padded to the longest."""
    ordered = np.asarray(lengths)[np.asarray(order)]
    computed = sum(int(part.max()) * len(part) for part in
                   (ordered[at:at + bs] for at in range(0, len(ordered), bs)))
    return computed / int(ordered.sum())


def first_pieces(row: Any) -> np.ndarray:
    """Where each word of an encoded row begins: positions, int64."""
    before = np.concatenate([[-1], row.words[:-1]])
    return np.flatnonzero((row.words >= 0) & (row.words != before))


def piece_targets(row: Any, labels: Any) -> np.ndarray:
    """The target of each piece: its word's class on the first, ``IGNORED`` elsewhere; int64, (pieces,)."""
    targets = np.full(len(row.ids), IGNORED, dtype=np.int64)
    first = first_pieces(row)
    # Rows of a test set, and of `predict`, bring none: 0 then, so that the places of words can be told.
    targets[first] = labels[row.words[first]] if isinstance(labels, np.ndarray) else 0
    return targets


class TextInputs(tuple):
    """The names of a batch's tensors, and what a model must have room for to take them.

    Parameters
    ----------
    names : sequence of str
        As ``forward`` calls them.
    padding : Padding
    longest : int
        Tokens of the longest row.
    vocabulary : int
        One above the highest id that the tokenizer gives.
    outputs : int
        How many numbers per row, or per token, the labels ask for.
    """

    def __new__(cls, names: Sequence[str], padding: Padding = NO_PADDING, longest: int = 0, vocabulary: int = 0,
                outputs: int = 0) -> "TextInputs":
        self = super().__new__(cls, names)
        self.padding, self.longest, self.vocabulary, self.outputs = padding, longest, vocabulary, outputs
        return self

    def __getnewargs__(self) -> Any:
        return tuple(self), self.padding, self.longest, self.vocabulary, self.outputs

    def check(self, model: nn.Module) -> None:
        """Refuse a model that these batches would break, before anything is trained.

        Raises
        ------
        InputError
            When the model has fewer positions, embeddings or outputs than the data need.
        """
        name, rows, positions = type(model).__name__, _embedded_ids(model), _positions_of(model)
        if rows is not None and self.vocabulary > rows:
            raise InputError(
                f"The tokenizer has {self.vocabulary} ids, and {name} embeds {rows}. Load both from one folder, or "
                f"write model.resize_token_embeddings({self.vocabulary}) if tokens were added.", "vocabulary-too-large")
        if positions is not None and self.longest > positions:
            raise InputError(f"The longest text has {self.longest} tokens, and {name} has {positions} positions. Write "
                             f"text_data(..., max_len={positions}).", "too-many-positions")
        config = getattr(model, "config", None)
        if hasattr(model, "num_labels") and getattr(config, "pad_token_id", 0) is None:
            raise InputError(f"{name} has no padding id, and these batches are padded with {self.padding.id}. Write "
                             f"model.config.pad_token_id = {self.padding.id}.", "no-padding-id")
        outputs = getattr(model, "num_labels", None)
        if self.outputs and isinstance(outputs, int) and outputs != self.outputs:
            raise InputError(f"The labels ask for {self.outputs} output(s), and {name} gives {outputs}. Write "
                             f"from_pretrained(..., num_labels={self.outputs}).", "wrong-number-of-outputs")


def _embedded_ids(model: nn.Module) -> Optional[int]:
    """Rows of the embedding that reads ``input_ids``, where the model tells which it is."""
    try:
        return int(model.get_input_embeddings().weight.shape[0])
    except (AttributeError, NotImplementedError, TypeError):
        return getattr(getattr(model, "config", None), "vocab_size", None)


def _positions_of(model: nn.Module) -> Optional[int]:
    """How many tokens a model has positions for, where it has a table of them."""
    found = _position_table(model)
    return None if found is None else found[1].num_embeddings - _first_position(model, *found)


def first_position(model: nn.Module) -> Optional[int]:
    """The position of a text's first token; None for a model without a table of positions."""
    found = _position_table(model)
    return None if found is None else _first_position(model, *found)


def _position_table(model: nn.Module) -> Optional[Tuple[str, nn.Embedding]]:
    """The embedding that has the size its config gives to positions, and its name."""
    config = getattr(model, "config", None)
    size = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if not isinstance(size, int) or size <= 0:
        return None
    return next(((name, table) for name, table in model.named_modules() if isinstance(table, nn.Embedding)
                 and table.num_embeddings == size and "rel" not in name), None)


def _first_position(model: nn.Module, name: str, table: nn.Embedding) -> int:
    """RoBERTa and its kin count positions from their padding id on."""
    holder = dict(model.named_modules())[name.rpartition(".")[0]]
    before = table.padding_idx if table.padding_idx is not None else getattr(holder, "padding_idx", None)
    return 0 if before is None else int(before) + 1
