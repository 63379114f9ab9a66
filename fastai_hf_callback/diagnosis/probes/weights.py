"""Properties of the parameters: finite, half precision, at initialisation, gain of the matrices. Imports torch."""

import math
from typing import Any, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn

from fastai_hf_callback.model.weights.activation_casts import HALF_DTYPES
from fastai_hf_callback.model.weights.adapters import has_adapters
from fastai_hf_callback.model.weights.starting_weights import StartingWeights
from fastai_hf_callback.results.evidence import Weights

__all__ = ["count_half_weights", "probe_weights"]

_TABLES = (nn.Embedding, nn.EmbeddingBag)


def probe_weights(
    model: nn.Module, has_master_copies: bool = False, start: Optional[StartingWeights] = None, reach: float = 0.0
) -> Weights:
    """Read every parameter and buffer once.

    Parameters
    ----------
    model : nn.Module
        Not changed.
    has_master_copies : bool
        Whether the optimizer steps full-precision copies.
    start : StartingWeights, optional
        What they were when the first fit began.
    reach : float
        How far the steps since can have moved a weight, where `start` is not known.
    """
    named = list(model.named_parameters())
    stored = [*named, *((name, b) for name, b in model.named_buffers() if b.is_floating_point())]
    broken = [name for name, p in stored if not _is_finite(p.detach())]
    norms = _find_norm_layers(model)
    shift = max((_norm_shift(layer) for layer in norms), default=None)
    half, half_dtypes = count_half_weights(model)
    return Weights(
        parameters=len(named),
        non_finite=len(broken),
        non_finite_names=broken[:5],
        half=half,
        half_dtypes=half_dtypes,
        has_master_copies=has_master_copies,
        body_at_init=None if shift is None else _began_at_init(norms, shift, start, reach),
        body_trainable=_is_body_trainable(model, norms) if norms else None,
        pretrained_name=_find_pretrained_name(model),
        gain=_max_gain(model),
        dropout=_max_dropout(model),
        elements=sum(p.numel() for _, p in named),
        has_adapters=has_adapters(model),
        norm_shift=shift,
        distance=None if start is None else start.measure_distance(),
        starting_size=None if start is None else start.measure_size(),
        embedding_alone_frozen=_find_frozen_embedding(model),
        zero_matrices=_find_zero_matrices(model),
        stale_statistics=[name for name, module in model.named_modules() if _has_stale_statistics(module)],
    )


def count_half_weights(model: nn.Module) -> Tuple[int, List[str]]:
    """Return how many trainable parameters are in half precision, and the names of their dtypes.

    Frozen ones may be stored as they like: no step changes them.
    """
    half = [p.dtype for p in model.parameters() if p.requires_grad and p.dtype in HALF_DTYPES]
    return len(half), sorted({str(dtype).replace("torch.", "") for dtype in half})


def _is_finite(weights: Tensor) -> bool:
    """Return whether all weights are finite: a finite sum proves it at a third of the cost, but may overflow."""
    return bool(torch.isfinite(weights.float().sum())) or bool(torch.isfinite(weights.float()).all())


class _NormLayer(NamedTuple):
    scale: nn.Parameter
    shift: Optional[nn.Parameter]


def _find_norm_layers(model: nn.Module) -> List[_NormLayer]:
    """Find layers with a vector of scales, and one of shifts or none: layer norms of any class."""
    found = ((getattr(m, "weight", None), getattr(m, "bias", None)) for m in model.modules())
    return [
        _NormLayer(scale, shift)
        for scale, shift in found
        if isinstance(scale, nn.Parameter) and scale.dim() == 1 and (shift is None or isinstance(shift, nn.Parameter))
    ]


def _norm_shift(layer: _NormLayer) -> float:
    """Return how far the layer is from scales of 1 and shifts of 0."""
    parts = [(layer.scale, 1.0), (layer.shift, 0.0)]
    return max(_largest_difference(part.detach(), value) for part, value in parts if part is not None)


def _largest_difference(part: Tensor, value: float) -> float:
    return float((part.float() - value).abs().max()) if part.numel() else 0.0


def _began_at_init(norms: List[_NormLayer], shift: float, start: Optional[StartingWeights], reach: float) -> bool:
    """Return whether every layer norm had its initial value when the first fit began, as far as that is known."""
    if shift <= reach or start is None:
        return shift <= reach
    parts = [(part, value) for layer in norms for part, value in ((layer.scale, 1.0), (layer.shift, 0.0))]
    began = [(start.read(part), value) for part, value in parts if part is not None]
    return all(elements is not None and _largest_difference(elements, value) == 0 for elements, value in began)


def _is_body_trainable(model: nn.Module, norms: List[_NormLayer]) -> bool:
    """Return whether a matrix up to the last norm trains; where fastai 2 has frozen the body, only the norms do."""
    parameters = list(model.parameters())
    last = max(i for i, p in enumerate(parameters) if any(p is layer.scale for layer in norms))
    matrices = [p for p in parameters[:last] if p.dim() > 1]
    return any(p.requires_grad for p in matrices or [layer.scale for layer in norms])


def _find_pretrained_name(model: nn.Module) -> Optional[str]:
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        for holder in (module, config):
            name = getattr(holder, "name_or_path", None) or getattr(holder, "_name_or_path", None)
            if isinstance(name, str) and name:
                return name
    return None


def _find_zero_matrices(model: nn.Module) -> List[str]:
    """Name modules whose weight is all zero, after masks and parametrizations of it."""
    weights = ((name, getattr(m, "weight", None)) for name, m in model.named_modules() if not isinstance(m, _TABLES))
    return [name for name, w in weights if isinstance(w, Tensor) and w.dim() > 1 and w.numel() and _is_zero(w.detach())]


def _is_zero(weight: Tensor) -> bool:
    """Return whether no element differs from 0; of most matrices the first one tells."""
    return not bool(weight.flatten()[0]) and not bool((weight != 0).any())


def _find_frozen_embedding(model: nn.Module) -> Optional[str]:
    """Name the largest embedding where it is frozen and every other matrix trains."""
    tables = [(name, m.weight) for name, m in model.named_modules() if isinstance(m, nn.Embedding)]
    name, table = max(tables, key=lambda pair: len(pair[1]), default=("", None))
    if table is None or table.requires_grad:
        return None
    others = [p for p in model.parameters() if p.dim() > 1 and p is not table]
    return name if others and all(p.requires_grad for p in others) else None


def _has_stale_statistics(module: nn.Module) -> bool:
    """Return whether batches went into its running statistics, and these are a new layer's to the last bit."""
    mean, variance, batches = (getattr(module, f, None) for f in ("running_mean", "running_var", "num_batches_tracked"))
    if not (isinstance(mean, Tensor) and isinstance(variance, Tensor) and isinstance(batches, Tensor)):
        return False
    return int(batches) > 0 and bool((mean == 0).all()) and bool((variance == 1).all())


def _max_dropout(model: nn.Module) -> float:
    kinds = (nn.Dropout, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
    return max((float(m.p) for m in model.modules() if isinstance(m, kinds)), default=0.0)


def _max_gain(model: nn.Module) -> Optional[float]:
    """Compute the largest root mean square of a matrix times the root of its width: about 1 in trained models."""
    others = (getattr(m, "weight", None) for m in model.modules() if not isinstance(m, nn.Embedding))
    gains = [
        float(weight.detach().float().norm()) / weight.shape[0] ** 0.5
        for weight in others
        if isinstance(weight, nn.Parameter) and weight.dim() == 2 and weight.numel()
    ]
    return max(filter(math.isfinite, gains), default=None)
