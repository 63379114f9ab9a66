"""What the parameters themselves tell: finite, half, at initialisation, how strongly they amplify. Torch alone."""

from typing import Any, List, Optional

import torch
from torch import Tensor, nn

from fastai_hf_callback.results.evidence import Weights

__all__ = ["probe_weights"]


def probe_weights(model: nn.Module, has_master_copies: bool = False) -> Weights:
    """Read every parameter once.

    Parameters
    ----------
    model : nn.Module
        Not changed.
    has_master_copies : bool
        Whether full-precision copies are what the optimizer steps.
    """
    named = list(model.named_parameters())
    broken = [name for name, p in named if not _is_finite(p.detach())]
    norms = _find_norm_layers(model)
    at_start = all(_is_at_init(layer) for layer in norms) if norms else None
    return Weights(
        parameters=len(named),
        non_finite=len(broken),
        non_finite_names=broken[:5],
        half=sum(p.dtype == torch.float16 for _, p in named),
        has_master_copies=has_master_copies,
        body_at_init=at_start,
        body_trainable=_is_body_trainable(model, norms) if norms else None,
        pretrained_name=_find_pretrained_name(model),
        gain=_max_gain(model),
        dropout=_max_dropout(model),
        elements=sum(p.numel() for _, p in named),
    )


def _is_finite(weights: Tensor) -> bool:
    """A finite sum has finite terms, and costs a third; a sum may overflow where no term does."""
    return bool(torch.isfinite(weights.float().sum())) or bool(torch.isfinite(weights.float()).all())


def _find_norm_layers(model: nn.Module):
    """Layers with a vector of scales, and one of shifts or none: layer norms, whoever wrote the class."""
    return [
        m
        for m in model.modules()
        if isinstance(getattr(m, "weight", None), nn.Parameter)
        and isinstance(getattr(m, "bias", None), (nn.Parameter, type(None)))
        and m.weight.dim() == 1
    ]


def _is_at_init(layer: nn.Module) -> bool:
    shifts = getattr(layer, "bias", None)
    return bool((layer.weight.detach().float() == 1).all()) and (
        shifts is None or bool((shifts.detach().float() == 0).all())
    )


def _is_body_trainable(model: nn.Module, norms: List[nn.Module]) -> bool:
    """Whether a matrix up to the last norm trains; the norms alone do, where fastai 2 has frozen the body."""
    parameters = list(model.parameters())
    last = max(i for i, p in enumerate(parameters) if any(p is layer.weight for layer in norms))
    matrices = [p for p in parameters[:last] if p.dim() > 1]
    return any(p.requires_grad for p in matrices or [layer.weight for layer in norms])


def _find_pretrained_name(model: nn.Module) -> Optional[str]:
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        for holder in (module, config):
            name = getattr(holder, "name_or_path", None) or getattr(holder, "_name_or_path", None)
            if isinstance(name, str) and name:
                return name
    return None


def _max_dropout(model: nn.Module) -> float:
    kinds = (nn.Dropout, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
    return max((float(m.p) for m in model.modules() if isinstance(m, kinds)), default=0.0)


def _max_gain(model: nn.Module) -> Optional[float]:
    """The largest root mean square of a matrix times the root of its width: about 1 in trained models."""
    gains = [
        float(m.weight.detach().float().pow(2).mean().sqrt()) * m.weight.shape[-1] ** 0.5
        for m in model.modules()
        if not isinstance(m, nn.Embedding)
        and isinstance(getattr(m, "weight", None), nn.Parameter)
        and m.weight.dim() == 2
    ]
    finite = [gain for gain in gains if gain == gain and gain != float("inf")]
    return max(finite) if finite else None
