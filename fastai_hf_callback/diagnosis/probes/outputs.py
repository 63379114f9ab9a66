"""The logits of a few batches in figures. Imports torch."""

from typing import Any, List, Optional, Sequence

import torch
from torch import Tensor, nn

from fastai_hf_callback.results.evidence import Outputs

from .forward_calls import find_config
from .synthetic_outputs import find_class_axis

__all__ = ["probe_outputs"]

LOG_SUM_TOLERANCE = 0.05  # of the log of the sum of a row's probabilities: rounding in half precision


def probe_outputs(outputs: List[Tensor], targets: List[Any], model: nn.Module) -> Outputs:
    """Measure shape, range and spread over rows.

    Parameters
    ----------
    outputs : list of Tensor
        What reached the loss in eval mode, a tensor per batch.
    targets : list
        The batches' targets.
    model : nn.Module
        For its config's hidden size and number of labels.
    """
    first = outputs[0]
    rows = len(targets[0]) if isinstance(targets[0], Tensor) and targets[0].dim() else 0
    flat = [
        o.detach().float().reshape(o.shape[0], -1) if o.dim() > 1 else o.detach().float().reshape(-1, 1)
        for o in outputs
    ]
    widths = {f.shape[1] for f in flat}
    table = torch.cat(flat) if len(widths) == 1 else flat[0]
    finite = bool(torch.isfinite(table).all())
    spread = float(table.std(0).max()) if len(table) > 1 and finite else 0.0
    rows_sum_to = first.detach().float().logsumexp(-1) if first.dim() > 1 and finite else torch.ones(1)
    config = find_config(model)
    return Outputs(
        shape=tuple(first.shape),
        target_shape=tuple(getattr(targets[0], "shape", ())),
        rows=rows,
        finite=finite,
        lowest=float(table.min()),
        highest=float(table.max()),
        spread=spread,
        size=float(table.abs().max()) if finite else float("inf"),
        hidden_size=_first_int(config, ("hidden_size", "d_model", "dim", "n_embd", "emb_dim")),
        class_axis=find_class_axis(first.shape, targets[0]),
        num_labels=_first_int(config, ("num_labels",)),
        rows_are_log_probabilities=bool((rows_sum_to.abs() < LOG_SUM_TOLERANCE).all()),
    )


def _first_int(config: Any, names: Sequence[str]) -> Optional[int]:
    values = (getattr(config, name, None) for name in names)
    return next((v for v in values if isinstance(v, int) and not isinstance(v, bool)), None)
