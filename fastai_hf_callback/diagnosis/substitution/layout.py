"""What the tensors of a learner's batch are: word ids, masks, pixels, samples, targets. Imports torch."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, List, Optional, Sequence, Set

import torch
from torch import Tensor, nn

from fastai_hf_callback.diagnosis.probes.batches import Batch, map_tensors
from fastai_hf_callback.diagnosis.probes.forward_calls import is_mask
from fastai_hf_callback.diagnosis.probes.inputs import TokenView
from fastai_hf_callback.model.wrapper import MASK_NAMES

__all__ = ["BatchLayout", "Words", "draw_inputs", "find_layout", "flatten", "is_among", "rebuild"]

TARGET_NAMES = ("labels", "label", "start_positions", "end_positions", "targets", "target")
SHORTEST_SOUND = 200


@dataclass
class Words:
    """Which words can be written where, in one table of ids.

    Attributes
    ----------
    table : int
        The index of the table among the batch's tensors.
    special : frozenset of int
        Ids that stand in nearly every row: padding, first and last tokens, a mask token.
    rare : list of int
        Words of the batches, the rarest first.
    filler : int
        A frequent word.
    pad : int or None
    """

    table: int
    special: FrozenSet[int]
    rare: List[int]
    filler: int
    pad: Optional[int] = None

    def find_free(self, ids: Tensor) -> Tensor:
        """Return where a word may be written: bool, of the ids' shape."""
        free = ~is_among(ids, self.special)
        # A row of a word or two, or of nothing but special tokens: anywhere that is no padding, but in front.
        later = torch.ones_like(free)
        later[..., 0] = False
        if self.pad is not None:
            later &= ids != self.pad
        has_room = free.sum(-1, keepdim=True) > 0
        return free & has_room | later & ~has_room  # torch 1.4 chooses among no booleans


@dataclass
class BatchLayout:
    """The tensors of a batch by what they are; the numbers are their indices in ``flatten``.

    Attributes
    ----------
    words : list of Words
        One for each table of ids.
    masks, pictures, sounds, features : list of int
    targets : list of int
        What the loss is to predict, among the targets or the inputs.
    targets_in_inputs : bool
        Whether the model gets them: it may compute the loss itself.
    names : dict of int to str
        What the model calls its inputs.
    """

    words: List[Words] = field(default_factory=list)
    masks: List[int] = field(default_factory=list)
    pictures: List[int] = field(default_factory=list)
    sounds: List[int] = field(default_factory=list)
    features: List[int] = field(default_factory=list)
    targets: List[int] = field(default_factory=list)
    targets_in_inputs: bool = False
    names: Dict[int, str] = field(default_factory=dict)
    input_count: int = 0


def flatten(batch: Batch) -> List[Tensor]:
    """List the tensors of inputs and targets, in their order."""
    found: List[Tensor] = []

    def collect(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors((batch.xb, batch.yb), collect)
    return found


def rebuild(batch: Batch, tensors: Sequence[Tensor]) -> Batch:
    """Return a batch nested as `batch`, of other tensors."""
    waiting = iter(tensors)
    return Batch(*map_tensors((batch.xb, batch.yb), lambda _: next(waiting)))


def is_among(ids: Tensor, wanted: Any) -> Tensor:
    """Return where `ids` are one of `wanted`."""
    table = torch.tensor(sorted(wanted), dtype=ids.dtype, device=ids.device)
    return (ids.unsqueeze(-1) == table).any(-1) if len(table) else torch.zeros_like(ids, dtype=torch.bool)


def draw_inputs(layout: BatchLayout, batch: Batch, generator: torch.Generator) -> Batch:
    """Return a batch of the same form whose inputs are random: words without padding, all of them marked; numbers."""
    tensors = [t.clone() for t in flatten(batch)]
    for words in layout.words:
        ids = tensors[words.table]
        drawn = torch.tensor(words.rare[2:] or words.rare, dtype=ids.dtype)
        chosen = drawn[torch.randint(len(drawn), ids.shape, generator=generator)].to(ids.device)
        tensors[words.table] = torch.where(is_among(ids, words.special) & (ids != words.pad), ids, chosen)
    for i in layout.masks:
        tensors[i] = torch.ones_like(tensors[i])
    for i in layout.pictures + layout.sounds + layout.features:
        tensors[i] = torch.randn(tensors[i].shape, generator=generator).to(tensors[i])
    return rebuild(batch, tensors)


def find_layout(
    batches: List[Batch], model: nn.Module, arguments: Dict[str, Any], view: Optional[TokenView]
) -> BatchLayout:
    """Find out what the tensors are.

    Parameters
    ----------
    batches : list of Batch
        Of the learner's own.
    model : nn.Module
    arguments : dict
        By name, what the model inside was given for the first batch.
    view : TokenView or None
        The ids that its word embedding looked up.
    """
    first = flatten(batches[0])
    layout = BatchLayout(input_count=len(flatten(Batch(batches[0].xb, None))))
    layout.names = _name_inputs(batches[0], first[: layout.input_count], model, arguments)
    for i in range(layout.input_count):
        _place_input(layout, i, first[i], batches, view)
    in_inputs = [i for i in range(layout.input_count) if layout.names.get(i) in TARGET_NAMES]
    layout.targets_in_inputs = bool(in_inputs)
    layout.targets = in_inputs + list(range(layout.input_count, len(first)))
    return layout


def _place_input(layout: BatchLayout, i: int, tensor: Tensor, batches: List[Batch], view: Optional[TokenView]) -> None:
    name = layout.names.get(i, "")
    if name in TARGET_NAMES or tensor.dim() < 2:
        return
    if name in MASK_NAMES or "mask" in name or is_mask(tensor) and not _is_looked_up(tensor, view):
        layout.masks.append(i)
    elif not tensor.is_floating_point():
        if not name.startswith(("token_type", "position", "decoder")) and (
            _is_looked_up(tensor, view) or not _is_small(tensor)
        ):
            layout.words.append(_choose_words(i, [flatten(b)[i] for b in batches if len(flatten(b)) > i], view))
    elif tensor.dim() >= 4:
        layout.pictures.append(i)
    elif tensor.dim() == 2 and tensor.shape[1] >= SHORTEST_SOUND or tensor.dim() == 3 and tensor.shape[1] == 1:
        layout.sounds.append(i)
    else:
        layout.features.append(i)


def _is_looked_up(tensor: Tensor, view: Optional[TokenView]) -> bool:
    return view is not None and view.ids.shape == tensor.shape and bool((view.ids == tensor.to(view.ids)).all())


def _is_small(tensor: Tensor) -> bool:
    """Return whether a table holds types or a mask, and no words."""
    return int(tensor.max()) <= 1


def _name_inputs(batch: Batch, tensors: List[Tensor], model: nn.Module, arguments: Dict[str, Any]) -> Dict[int, str]:
    """Name the inputs by their mapping, by ``HFModel``'s names, and by what the model inside was given."""
    whole = batch.xb[0] if isinstance(batch.xb, (tuple, list)) and len(batch.xb) == 1 else batch.xb
    given = getattr(model, "input_names", None)
    if isinstance(whole, Mapping):
        return {i: str(name) for i, name in enumerate(k for k, v in whole.items() if isinstance(v, Tensor))}
    if given and len(given) == len(tensors):
        return dict(enumerate(given))
    named = {}
    for i, tensor in enumerate(tensors):
        named[i] = next((name for name, value in arguments.items() if _is_same(value, tensor)), "")
    return {i: name for i, name in named.items() if name}


def _is_same(value: Any, tensor: Tensor) -> bool:
    return (
        isinstance(value, Tensor)
        and value.shape == tensor.shape
        and value.dtype == tensor.dtype
        and bool((value == tensor).all())
    )


def _choose_words(table: int, tables: List[Tensor], view: Optional[TokenView]) -> Words:
    rows = [row for ids in tables for row in ids.reshape(-1, ids.shape[-1]).tolist()]
    in_rows: Counter = Counter(word for row in rows for word in set(row))
    edges: Counter = Counter(row[k] for row in rows for k in (0, -1))
    special: Set[int] = {word for word, n in in_rows.items() if n > 0.9 * len(rows) and len(rows) > 3}
    special |= {word for word, n in edges.items() if n > 0.5 * len(rows) and len(rows) > 3}
    pad = view.pad_token_id if view is not None else None
    special |= {pad} if pad is not None else set()
    special |= {word for word in in_rows if word < 0}
    words = sorted((w for w in in_rows if w not in special), key=lambda w: (in_rows[w], -w))
    if len(words) < 8 and view is not None and view.embedding is not None:
        size = view.embedding.num_embeddings  # the end of the table: special tokens are at its beginning
        words += [w for w in range(size - 1, max(size - 64, 3), -1) if w not in in_rows][: 8 - len(words)]
    return Words(table, frozenset(special), words[:64], words[-1] if words else 0, pad)
