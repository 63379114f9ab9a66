"""Token ids as the word embedding received them: padding, masks, first tokens. Imports torch."""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.model.wrapper import MASK_NAMES
from fastai_hf_callback.results.evidence import Inputs

from .batches import count_rows
from .forward_calls import EmbeddingCall, is_mask

__all__ = [
    "TokenView",
    "build_token_view",
    "build_view",
    "contains_ids",
    "find_target_call",
    "find_word_embedding_call",
    "is_table_of_ids",
    "probe_inputs",
    "unify_padding",
]

MAX_MEAN_DISTANCE = 0.02  # of the usual one: transformers draws added rows at 3e-5 of it


class TokenView(NamedTuple):
    """One batch's ids, int64 (rows, length), oriented as in the batch; its padding, and the mask of it."""

    ids: Tensor
    embedding: Optional[nn.Embedding]
    pad_token_id: Optional[int]
    pad_side: Optional[str]
    is_pad: Tensor
    mask: Optional[Tensor]


def find_word_embedding_call(calls: List[EmbeddingCall], batch: Any) -> Optional[EmbeddingCall]:
    """Find the call that looked up the texts' words: ids that are not positions, of the batch, in the largest table.

    Decoder inputs that an encoder-decoder makes of its labels are not the texts.
    """
    rows = count_rows(batch)
    candidates = [c for c in calls if not c.ids.is_floating_point() and not _are_positions(c.ids)]
    # Texts of a single id look like token types: they count where nothing else looks like words.
    candidates = [c for c in candidates if len(c.ids.unique()) > 1] or [
        c for c in candidates if _is_in_batch(c.ids, batch)
    ]
    if not candidates:
        return None
    tables = _list_tables([c for c in candidates if _is_in_batch(c.ids, batch)] or candidates)
    call = max(tables, key=lambda c: c.embedding.num_embeddings)
    turned = call.ids.shape[0] != rows and call.ids.shape[1] == rows and not _holds(batch, call.ids)
    if not turned:  # XLNet puts length first; for a square one, the batch decides
        turned = _holds(batch, call.ids.t()) and not _holds(batch, call.ids)
    return EmbeddingCall(call.embedding, call.ids.t() if turned else call.ids)


def find_target_call(
    calls: List[EmbeddingCall], words: EmbeddingCall, shape: Tuple[int, ...]
) -> Optional[EmbeddingCall]:
    """Find the call with the ids at whose positions outputs of `shape` stand: in an encoder-decoder the decoder's.

    Parameters
    ----------
    calls : list of EmbeddingCall
    words : EmbeddingCall
        As ``find_word_embedding_call`` found it.
    shape : tuple of int
        (rows, width, ...)
    """
    alike = [
        call
        for call in [words, *calls]
        if call.embedding.num_embeddings == words.embedding.num_embeddings and call.ids.shape == torch.Size(shape[:2])
    ]
    return alike[-1] if alike else None


def _list_tables(calls: List[EmbeddingCall]) -> List[EmbeddingCall]:
    """Return each table of ids once, with the smallest embedding that was given it.

    BART's gives its positions the ids too, and looks at their shape alone.
    """
    found: List[EmbeddingCall] = []
    for call in sorted(calls, key=lambda c: c.embedding.num_embeddings):
        if not any(_equal(call.ids, other.ids) for other in found):
            found.append(call)
    return sorted(found, key=lambda c: next(i for i, call in enumerate(calls) if call.ids is c.ids))


def _is_in_batch(ids: Tensor, batch: Any) -> bool:
    return _holds(batch, ids) or _holds(batch, ids.t())


def _holds(batch: Any, ids: Tensor) -> bool:
    return any(_equal(t, ids) for t in _matrices(batch))


def build_token_view(
    calls: List[EmbeddingCall], batch: Any, others: Sequence[Any] = (), config: Any = None
) -> Optional[TokenView]:
    """Find ids, padding and mask in a forward pass's calls; None where no word embedding was called.

    Parameters
    ----------
    calls : list of EmbeddingCall
    batch : any
        The inputs.
    others : sequence
        Inputs of other batches: what stands inside their texts is a word, and no padding.
    config : any, optional
        The model's, for its ``pad_token_id``.
    """
    call = find_word_embedding_call(calls, batch)
    return None if call is None else build_view(call, batch, others, config)


def build_view(call: EmbeddingCall, batch: Any, others: Sequence[Any] = (), config: Any = None) -> TokenView:
    """Find padding and mask of the ids that one embedding was given; parameters as of ``build_token_view``."""
    ids, at = call.ids, _find_index(batch, call.ids)
    known = (getattr(call.embedding, "padding_idx", None), _config_pad_id(config))
    elsewhere = [] if at is None else [table.to(ids) for table in (_matrices(one)[at] for one in others)]
    pad_token_id, side, is_pad = _find_padding(ids, elsewhere, known)
    masks = [
        t
        for t in _matrices(batch)
        if t.shape == ids.shape and is_mask(t) and not _equal(t, ids) and not bool((t == 0).all())
    ]
    # Token types of pairs are 0 and 1 too: the mask is the one that agrees most with the padding.
    mask = max(masks, key=lambda t: float(((t.to(ids.device) != 0) == ~is_pad).float().mean()), default=None)
    return TokenView(ids, call.embedding, pad_token_id, side, is_pad, mask)


def unify_padding(views: List[TokenView]) -> List[TokenView]:
    """Give all views the padding that one of them shows: batches of similar lengths hold too little to infer it.

    A view in which that id occurs inside the texts too is left as it is.
    """
    for shown in views:
        if shown.pad_token_id is not None and shown.pad_side is not None:
            return [_apply_padding(view, shown.pad_token_id, shown.pad_side) for view in views]
    return views


def _apply_padding(view: TokenView, token: int, side: str) -> TokenView:
    runs = _find_runs(view.ids, token, side)
    inside = int((view.ids == token).sum()) - int(runs.sum())
    if view.pad_token_id is not None or inside or not bool(runs.any()):
        return view
    return view._replace(pad_token_id=token, pad_side=side, is_pad=runs)


def probe_inputs(
    views: List[TokenView], batches: List[Any], arguments: List[List[Dict[str, Any]]], config: Any = None
) -> Inputs:
    """Summarize the tokens of several batches.

    Parameters
    ----------
    views : list of TokenView
        One per batch, in their order.
    batches : list
        What fastai passed to the model.
    arguments : list of list of dict
        What each batch's forward pass gave to modules that take ``input_ids``, by name.
    config : any, optional
        The model's, for its ``pad_token_id``.
    """
    first = views[0]
    config = config if contains_ids(batches[0], first) else None  # CANINE looks up hashes of ids: 0 is no padding
    place = next((i for i, v in enumerate(views) if v.pad_token_id is not None), 0)
    padded = views[place]
    ids = [v.ids for v in views]
    real = [~v.is_pad if v.pad_token_id == padded.pad_token_id else torch.ones_like(v.is_pad) for v in views]
    rows = [row[keep] for table, keeps in zip(ids, real) for row, keep in zip(table, keeps)]
    rows = [row for row in rows if len(row)]
    evidence = Inputs(
        rows=len(rows),
        length=max(t.shape[1] for t in ids),
        distinct_ids=len(torch.cat([t.reshape(-1) for t in ids]).unique()),
        batch_has_other_ids=_has_other_ids(ids[0], batches[0]),
        pad_token_id=padded.pad_token_id,
        pad_side=padded.pad_side,
        pad_share=float(torch.cat([v.is_pad.reshape(-1) for v in views]).float().mean()),
        embedding_pad_id=getattr(first.embedding, "padding_idx", None),
        config_pad_id=_config_pad_id(config),
        mask_given=any(v.mask is not None for v in views) or bool(_has_mask_argument(arguments)),
        mask_marks_padding=_mask_agreement(padded, arguments[place]) if padded.pad_token_id is not None else None,
        mask_arrives_as=sorted({name for v, calls in zip(views, arguments) for name in _mask_argument_names(v, calls)}),
        mask_argument_given=_has_mask_argument(arguments),
        mask_hides_everything=any(
            bool((m == 0).all()) for calls in arguments for m in _collect_masks(calls) if m.dim() == 2
        ),
        distinct_rows=len({tuple(row.tolist()) for row in rows}),
    )
    evidence.untrained_ids, evidence.untrained_share = _find_untrained_ids(views)
    _add_word_statistics(evidence, rows, ids)
    return evidence


def _find_untrained_ids(views: List[TokenView]) -> Tuple[List[int], float]:
    """Find the texts' ids whose rows of a frozen embedding are the mean of its rows, and their share of all words.

    So ``resize_token_embeddings`` makes rows for added tokens; nothing has trained them, and nothing will.
    """
    embedding = views[0].embedding
    if embedding is None or embedding.weight.requires_grad:
        return [], 0.0
    words = torch.cat([view.ids[~view.is_pad] for view in views])
    rows = embedding.weight.detach().float()
    distances = (rows - rows.mean(0)).norm(dim=1)
    usual, used = float(distances.median()), words.unique()
    found = used[distances[used] < MAX_MEAN_DISTANCE * usual]
    if not usual or len(found) == len(used):
        return [], 0.0
    share = sum(float((words == token).float().mean()) for token in found)
    return [int(token) for token in found], share


def _add_word_statistics(evidence: Inputs, rows: List[Tensor], tables: List[Tensor]) -> None:
    starts, ends = torch.stack([r[0] for r in rows]), torch.stack([r[-1] for r in rows])
    first, first_share = _most_common(starts)
    last, last_share = _most_common(ends)
    fronts = torch.cat([t[:, 0] for t in tables])
    evidence.first_token = first if first_share > 0.9 and len(rows) > 3 else None
    evidence.same_last_token = last_share > 0.9 and first_share <= 0.9
    if evidence.first_token is not None:
        evidence.first_token_in_front = float((fronts == first).float().mean())
    seconds = torch.stack([r[1] for r in rows if len(r) > 1] or [starts[0]])
    evidence.second_position_token, evidence.second_position_share = _most_common(seconds)
    frame = {t for t, share in ((first, first_share), (last, last_share)) if share > 0.9}
    everything = words = torch.cat(rows)
    for token in frame:
        words = words[words != token]
    words = words if len(words) else everything
    if len(words):
        top, share = _most_common(words)
        evidence.top_token, evidence.top_token_share = top, share
        evidence.words, evidence.distinct_words = len(words), len(words.unique())
    lengths = torch.tensor([float(len(r)) for r in rows])
    evidence.mean_length = float(lengths.mean())
    evidence.truncated_share = float((lengths == lengths.max()).float().mean())


def _find_padding(
    ids: Tensor, others: Sequence[Tensor] = (), known: Sequence[Optional[int]] = ()
) -> Tuple[Optional[int], Optional[str], Tensor]:
    """Find the padding id by where it occurs: in runs of different length at one end, and nowhere inside.

    Parameters
    ----------
    ids : Tensor
        One batch's.
    others : sequence of Tensor
        Ids of other batches, where padding does not stand inside, either.
    known : sequence of int or None
        Ids that the model takes for padding: of another one, a single row may end in two by chance.
    """
    nothing = torch.zeros_like(ids, dtype=torch.bool)
    best: Tuple[float, Optional[int], Optional[str], Tensor] = (0.0, None, None, nothing)
    for side in ("back", "front"):
        for token in ids[:, -1 if side == "back" else 0].unique().tolist():
            runs = _find_runs(ids, token, side)
            lengths = runs.sum(1)
            inside = sum(_count_inside(table, token, side) for table in (ids, *others))
            share = float(runs.float().mean())
            full = bool((lengths == ids.shape[1]).any())
            if (
                int(lengths.max()) >= 2
                and len(lengths.unique()) > 1
                and (token in known or int((lengths - 1).clamp(min=0).sum()) >= 2)
                and float((lengths > 0).float().mean()) >= 0.2
                and share >= 0.03
                and inside <= 0.02 * int(runs.sum())
                and share > best[0]
                and not full
            ):
                best = (share, int(token), side, runs)
    return best[1], best[2], best[3]


def _count_inside(ids: Tensor, token: int, side: str) -> int:
    return int((ids == token).sum()) - int(_find_runs(ids, token, side).sum())


def _find_runs(ids: Tensor, token: int, side: str) -> Tensor:
    """Find where rows begin (``"front"``) or end (``"back"``) with a run of `token`; bool, of the ids' shape."""
    alike = (ids == token).long()  # torch 1.4 cannot flip bool tensors
    return (alike.flip(1).cumprod(1).flip(1) if side == "back" else alike.cumprod(1)).bool()


def _most_common(values: Tensor) -> Tuple[int, float]:
    distinct, counts = values.unique(return_counts=True)
    most = int(counts.argmax())
    return int(distinct[most]), float(counts[most]) / len(values)


def _are_positions(ids: Tensor) -> bool:
    """Return whether a table counts its columns (or rows) instead of naming words."""
    if min(ids.shape) == 0:
        return True
    return any(_counts_up(t) for t in (ids, ids.t()))


def _counts_up(table: Tensor) -> bool:
    if table.shape[1] > 3:
        return bool((table[:, 1:4] - table[:, :3] == 1).all())
    # In a text this short the ids may be consecutive by chance, but not in all texts.
    return (
        len(table) > 1
        and table.shape[1] > 1
        and bool((table == table[:1]).all())
        and bool((table[0, 1:] - table[0, :-1] == 1).all())
    )


def _mask_agreement(view: TokenView, calls: List[Dict[str, Any]]) -> Optional[float]:
    """Compute the share of positions where the model's mask, or else the batch's, agrees with the padding."""
    handed = [(name, call[name]) for call in calls for name in MASK_NAMES if isinstance(call.get(name), Tensor)]
    name, mask = next(((n, m) for n, m in handed if m.shape == view.ids.shape), ("", view.mask))
    if mask is None:
        return None
    marks = mask.to(view.ids.device) != 0
    marks = ~marks if name == "input_mask" else marks  # XLNet's own marks padding
    return float((marks == ~view.is_pad).float().mean())


def _mask_argument_names(view: TokenView, calls: List[Dict[str, Any]]) -> List[str]:
    """Return the arguments, other than masks, in which the batch's mask arrives."""
    if view.mask is None or view.pad_token_id is None or not bool(((view.mask != 0) == ~view.is_pad).all()):
        return []
    return [
        name
        for call in calls
        for name, given in call.items()
        if "mask" not in name and isinstance(given, Tensor) and given.dim() == 2 and _equal(given, view.mask)
    ]


def _has_mask_argument(arguments: List[List[Dict[str, Any]]]) -> Optional[bool]:
    calls = [call for batch in arguments for call in batch]
    if not calls:
        return None
    return any(_collect_masks(batch) for batch in arguments)


def _collect_masks(calls: List[Dict[str, Any]]) -> List[Tensor]:
    return [call[name] for call in calls for name in MASK_NAMES if isinstance(call.get(name), Tensor)]


def _has_other_ids(evidence: Tensor, batch: Any) -> bool:
    distinct = len(evidence.unique())
    return distinct <= 2 and any(
        t.shape == evidence.shape and not t.is_floating_point() and len(t.unique()) > 2 * distinct
        for t in _matrices(batch)
    )


def _config_pad_id(config: Any) -> Optional[int]:
    pad = getattr(config, "pad_token_id", None)
    pad = getattr(config, "pad_index", None) if pad is None else pad
    return pad if isinstance(pad, int) else None


def _matrices(batch: Any) -> List[Tensor]:
    """Return the tables of a batch; where a row has several choices of a text, one after another."""
    tables = [t for t in tensors_in(batch) if t.dim() == 2 or t.dim() > 2 and not t.is_floating_point()]
    return [t.reshape(-1, t.shape[-1]) if t.numel() else t.reshape(0, 0) for t in tables]


def _find_index(batch: Any, ids: Tensor) -> Optional[int]:
    """Return the index of `ids` among a batch's tables."""
    return next((i for i, table in enumerate(_matrices(batch)) if _equal(table, ids)), None)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one.to(other.device).long() == other.long()).all())


def contains_ids(batch: Any, view: TokenView) -> bool:
    """Return whether a tensor of the batch holds the ids as the word embedding received them."""
    return any(is_table_of_ids(t, view.ids) for t in tensors_in(batch))


def is_table_of_ids(tensor: Tensor, ids: Tensor) -> bool:
    """Return whether a tensor of a batch holds these ids, a mask of booleans not."""
    if tensor.dim() < 2 or tensor.is_floating_point() or tensor.dtype == torch.bool or not tensor.numel():
        return False
    return _equal(tensor.reshape(-1, tensor.shape[-1]), ids)
