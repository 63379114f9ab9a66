"""Batches of any loader, changed copies of them, and rows sampled evenly over a data set. Imports torch and numpy."""

import time
from collections.abc import Mapping
from itertools import islice
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import numpy as np
import torch
from torch import Tensor, nn

from fastai_hf_callback.errors import InvalidInputError
from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.results.evidence import Labels

from .labels import SampledRows

__all__ = [
    "Batch",
    "add_draws",
    "count_distinct_rows",
    "count_mixed_rows",
    "count_rows",
    "describe_unsplit_batch",
    "is_per_token",
    "join_features",
    "map_tensors",
    "name_type",
    "pick_evenly",
    "read_batches",
    "sample_rows",
    "take_row",
    "take_rows",
    "truncate_batch",
    "truncate_for_metrics",
    "truncate_to_affordable",
]

PROBE_ROWS, FEWEST_ROWS = 16, 8  # of a batch, in the forward and backward passes
METRIC_ROWS = 32  # at least, of each validation batch
# Tokens times weights of a pass: 16 rows of 32 tokens through MiniLM, half a second forward and backward on one core.
AFFORDABLE = 1.2e10
LABEL_ROWS, LABEL_SECONDS = 512, 1.5
MIXED_ROWS = 8


class Batch(NamedTuple):
    """A model's inputs and the targets: tensors, or nested containers of them."""

    xb: Any
    yb: Any


def describe_unsplit_batch(batch: Any, expected: str) -> str:
    """Say what a loader gave in place of inputs and targets."""
    names = ", ".join(map(str, batch)) if isinstance(batch, Mapping) else ""
    given = f"a {type(batch).__name__} of {names}" if names else f"a {type(batch).__name__}"
    return (
        f"The loader gives {given}; {expected} (inputs, targets). Write a collate function: def collate(rows): batch = "
        f"collator(rows); labels = batch.pop('labels'); return dict(batch), labels"
    )


def name_type(value: Any) -> str:
    """Name the type of what came in place of a tensor, and the types inside."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    inside = f" of {', '.join(type(one).__name__ for one in islice(inner, 4))}" if inner else ""
    return f"{type(value).__name__}{inside}"


def truncate_batch(batch: Batch, n: int = PROBE_ROWS) -> Batch:
    """Take the first rows, where every tensor has as many rows as the others; else the whole batch."""
    rows = {t.shape[0] for t in tensors_in((batch.xb, batch.yb)) if t.dim()}
    if len(rows) != 1:
        return batch
    return Batch(take_rows(batch.xb, n), take_rows(batch.yb, n))


def truncate_to_affordable(batch: Batch, model: nn.Module) -> Batch:
    """Take 16 rows of a batch; of long texts through a large model fewer."""
    return truncate_batch(batch, min(PROBE_ROWS, _affordable_rows(batch, model, FEWEST_ROWS)))


def truncate_for_metrics(batch: Batch, model: nn.Module) -> Batch:
    """Take the rows of a validation batch that a few forward passes can afford."""
    return truncate_batch(batch, 4 * _affordable_rows(batch, model, METRIC_ROWS // 4))


def _affordable_rows(batch: Batch, model: nn.Module, fewest: int) -> int:
    widths = [t.shape[1] for t in tensors_in(batch.xb) if t.dim() == 2 and not t.is_floating_point()]
    cost_of_row = max(widths, default=200) * sum(p.numel() for p in model.parameters())
    return max(fewest, int(AFFORDABLE / max(1, cost_of_row)))


def count_rows(part: Any) -> int:
    """Return the length of the first tensor that has one; 0 without any."""
    return next((t.shape[0] for t in tensors_in(part) if t.dim()), 0)


def map_tensors(batch: Any, change: Any) -> Any:
    """Return a batch of the same nesting with every tensor changed; `batch` itself stays unchanged."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        changed: Dict[Any, Any] = {k: map_tensors(v, change) for k, v in batch.items()}
        return changed
    if isinstance(batch, (list, tuple)):
        made = [map_tensors(v, change) for v in batch]
        return type(batch)(*made) if hasattr(batch, "_fields") else type(batch)(made)
    return batch


def take_rows(batch: Any, rows: int) -> Any:
    """Take the first `rows` rows of every tensor."""
    return map_tensors(batch, lambda t: t[:rows] if t.dim() else t)


def take_row(batch: Any, row: int) -> Any:
    """Take one row alone, padded as it is."""
    return map_tensors(batch, lambda t: t[row : row + 1] if t.dim() else t)


def is_per_token(target: Any, ids: Tensor) -> bool:
    """Return whether there is a class for every token of every row."""
    return isinstance(target, Tensor) and target.shape == ids.shape and not target.is_floating_point()


def pick_evenly(n: int) -> List[int]:
    """Pick row numbers evenly from `n`, at most `LABEL_ROWS`."""
    return [int(i) for i in np.unique(np.linspace(0, n - 1, min(n, LABEL_ROWS)).astype(int))]


def read_batches(batches: Iterator[Batch], n: int, count: Callable[[bool], int]) -> List[Batch]:
    """Read the first `n` training batches; raise for a loader that gives none of the rows that it has."""
    read = list(islice(batches, n))
    if read:
        return read
    rows = count(True)
    raise InvalidInputError(
        f"The training loader gives no batch of its {rows} rows, and a fit takes no step: they are fewer than a batch, "
        f"and what is left of an epoch is dropped. Write a smaller bs, or drop_last=False",
        "no-training-batches",
    )


def add_draws(
    labels: Labels,
    batches: List[Batch],
    sampled: Optional[SampledRows],
    collate: Callable[[List[int]], Any],
    ids_index: Optional[int],
    pad_ids: List[int],
) -> None:
    """Add how many texts the loader drew for `batches`, how many are distinct, there and in the set; and mixed rows."""
    if ids_index is None or sampled is None or sampled.ids is None:
        return
    tables = [list(tensors_in(batch.xb))[ids_index] for batch in batches]
    labels.drawn, labels.distinct_drawn = sum(map(len, tables)), count_distinct_rows(tables, pad_ids)
    labels.distinct_sampled = len({row.tobytes() for row in sampled.ids})
    labels.rows_mixed = count_mixed_rows(collate, ids_index, pad_ids) if len(sampled.ids) >= MIXED_ROWS else 0


def count_distinct_rows(tables: List[Tensor], pad_ids: List[int]) -> int:
    """Count the distinct texts of some batches' ids, padding left out."""
    return len({_without(row, pad_ids).tobytes() for table in tables for row in table.cpu().numpy()})


def _without(row: np.ndarray, pad_ids: List[int]) -> np.ndarray:
    return row[~np.isin(row, pad_ids)]


def count_mixed_rows(collate: Callable[[List[int]], Any], ids_index: int, pad_ids: List[int]) -> int:
    """Count the first rows whose target is another one when they are collated together than when each is alone.

    What is drawn at random for each row, or differs from one call to the next, counts as none.
    """
    alone = [_pair_up(collate([row]), ids_index, pad_ids) for row in range(MIXED_ROWS)]
    again = [_pair_up(collate([row]), ids_index, pad_ids) for row in range(MIXED_ROWS)]
    targets = {text: target for pairs in alone for text, target in pairs}
    together = _pair_up(collate(list(range(MIXED_ROWS))), ids_index, pad_ids)
    if alone != again or len(targets) < MIXED_ROWS or {text for text, _ in together} != set(targets):
        return 0
    return sum(targets[text] != target for text, target in together)


def _pair_up(batch: Batch, ids_index: int, pad_ids: List[int]) -> List[Any]:
    """Return each row's text and target, as they can be compared."""
    table = list(tensors_in(batch.xb))[ids_index].cpu().numpy()
    targets = batch.yb.detach().cpu().reshape(len(table), -1).tolist()
    return [(_without(row, pad_ids).tobytes(), tuple(target)) for row, target in zip(table, targets)]


def sample_rows(
    row_numbers: List[int],
    collate: Callable[[List[int]], Any],
    ids_index: Optional[int],
    pad_ids: List[int],
    compute_features: Optional[Callable[[Any], Optional[np.ndarray]]] = None,
    summarize: Optional[Callable[[Tensor], Tensor]] = None,
) -> Optional[SampledRows]:
    """Read ids and targets of the rows `row_numbers` within a time limit; None where there is not one target per row.

    Parameters
    ----------
    row_numbers : list of int
    collate : callable
        Row numbers -> ``Batch``, as the loader makes it.
    ids_index : int or None
        The index of the ids among a batch's tensors.
    pad_ids : list of int
        Ids to leave out.
    compute_features : callable, optional
        A batch's inputs -> features of every row, (rows, width).
    summarize : callable, optional
        Targets of more than two axes -> figures of every row, (rows, width).
    """
    ids: List[np.ndarray] = []
    features: List[np.ndarray] = []
    targets: List[Tensor] = []
    until = time.perf_counter() + LABEL_SECONDS
    for start in range(0, len(row_numbers), 32):
        batch = collate(row_numbers[start : start + 32])
        target = batch.yb
        if summarize is not None and isinstance(target, Tensor) and target.dim() > 2:
            target = summarize(target)
        if not isinstance(target, Tensor) or target.dim() == 0 or target.dim() > 2:
            return None
        targets.append(target.detach().cpu())
        if ids_index is not None:
            table = list(tensors_in(batch.xb))[ids_index].cpu().numpy()
            ids += [_without(row, pad_ids) for row in table]
        found = None if compute_features is None else compute_features(batch.xb)
        features += [] if found is None else [found]
        if time.perf_counter() > until:
            break
    joined = torch.cat(targets)
    values = joined.double().numpy() if joined.is_floating_point() or joined.dim() == 2 else joined.long().numpy()
    return SampledRows(
        ids if ids_index is not None and len(ids) == len(values) else None, values, join_features(features, len(values))
    )


def join_features(parts: List[np.ndarray], rows: int) -> Optional[np.ndarray]:
    """Join features of batches where there are as many as rows, of one width; else None."""
    if not parts or len({part.shape[1:] for part in parts}) > 1 or sum(map(len, parts)) != rows:
        return None
    return np.concatenate(parts)
