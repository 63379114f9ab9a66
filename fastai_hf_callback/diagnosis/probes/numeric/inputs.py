"""Numbers as a model is given them: constant, alike in all rows, not finite, of another scale. Imports torch."""

import json
from collections.abc import Mapping as AbstractMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from fastai_hf_callback.diagnosis.probes.batches import count_rows
from fastai_hf_callback.diagnosis.probes.forward_calls import is_mask
from fastai_hf_callback.results.numeric_inputs import NumericInputs, Values

__all__ = [
    "FirstCall",
    "change_part",
    "find_numeric_inputs",
    "infer_kind",
    "move_channels",
    "probe_numeric_inputs",
    "read_parts",
    "record_first_calls",
]

MAX_ROWS = 64
MIN_SAMPLES = 64  # a shorter row of numbers is a table's, not a waveform
IMAGE_CHANNELS = (1, 3, 4)
# After a single step the statistics of a batch norm hold a tenth of what it sees.
MAX_VARIANCE_RATIO, MAX_DISTANCE = 25.0, 10.0


class FirstCall(NamedTuple):
    """A layer with weights that was given numbers, what it was given, and the layer with weights that ran next."""

    layer: nn.Module
    given: Tensor
    next_layer: Optional[nn.Module] = None
    given_next: Optional[Tensor] = None


def find_numeric_inputs(batch: Any, has_ids: bool, names: Sequence[str]) -> List[str]:
    """Name the tensors of numbers: floating point, or images of bytes; where there are neither these nor ids, all.

    Masks of 0 and 1 are left out where there is anything else.
    """
    given, rows = read_parts(batch, names), count_rows(batch)
    per_row = {
        name: t
        for name, t in given.items()
        if isinstance(t, Tensor) and t.dim() and t.shape[0] == rows and t.numel() and "label" not in name
    }
    numbers = {name: t for name, t in per_row.items() if t.is_floating_point() or t.dim() > 3}
    unmasked = [name for name, t in numbers.items() if t.dim() > 3 or not is_mask(t)]
    return unmasked if unmasked or has_ids else list(numbers or per_row)


def read_parts(batch: Any, names: Sequence[str] = ()) -> Dict[str, Any]:
    """Return the parts of a batch by the names that the model has for them, or by their places."""
    if isinstance(batch, (list, tuple)) and len(batch) == 1 and isinstance(batch[0], AbstractMapping):
        batch = batch[0]
    if isinstance(batch, AbstractMapping):
        return {str(name): part for name, part in batch.items()}
    parts = list(batch) if isinstance(batch, (list, tuple)) else [batch]
    return dict(zip(names if len(names) == len(parts) else [f"input {i}" for i in range(len(parts))], parts))


def change_part(batch: Any, change: Callable[[Tensor], Tensor], names: Sequence[str], name: str) -> Any:
    """Return the same batch with its part `name` changed."""
    if isinstance(batch, (list, tuple)) and len(batch) == 1 and isinstance(batch[0], AbstractMapping):
        return (change_part(batch[0], change, names, name),)
    changed = {key: change(part) if key == name else part for key, part in read_parts(batch, names).items()}
    if isinstance(batch, AbstractMapping):
        return dict(zip(batch, changed.values()))
    return tuple(changed.values()) if isinstance(batch, (list, tuple)) else next(iter(changed.values()))


@contextmanager
def record_first_calls(model: nn.Module) -> Iterator[List[FirstCall]]:
    """Collect the first call with numbers of a convolution, a linear layer or a batch norm, and what ran next."""
    calls: List[FirstCall] = []

    def record(layer: nn.Module, args: Sequence[Any]) -> None:
        if len(calls) == 1 and calls[0].next_layer is None and layer is not calls[0].layer:
            given = args[0].detach() if args and isinstance(args[0], Tensor) else None
            calls[0] = calls[0]._replace(next_layer=layer, given_next=given)
        elif not calls and args and isinstance(args[0], Tensor) and args[0].is_floating_point():
            calls.append(FirstCall(layer, args[0].detach()))

    layers = [m for m in model.modules() if isinstance(m, (_ConvNd, nn.Linear, nn.LayerNorm, nn.GroupNorm, _BatchNorm))]
    hooks = [layer.register_forward_pre_hook(record) for layer in layers]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def probe_numeric_inputs(
    tables: Mapping[str, Sequence[Tensor]], first_call: Optional[FirstCall], model: nn.Module
) -> List[NumericInputs]:
    """Summarize each tensor of numbers over several batches.

    Parameters
    ----------
    tables : mapping of str to sequence of Tensor
        Name -> that tensor of each batch.
    first_call : FirstCall or None
        Of the first batch; None where there are several inputs and it is not known which of them it was given.
    model : nn.Module
        For the image processor that was saved with it.
    """
    found = []
    for name, tensors in tables.items():
        one = _summarize(name, [row for t in tensors for row in t.detach()][:MAX_ROWS])
        if first_call is not None and one.values is not None:
            _add_first_call(one, first_call, tensors[0])
        if one.kind == "pixels":
            one.expected_mean, one.expected_std = _read_image_processor(model)
        found.append(one)
    return found


def _summarize(name: str, rows: List[Tensor]) -> NumericInputs:
    finite = [row for row in rows if bool(torch.isfinite(row).all())]
    return NumericInputs(
        name=name,
        kind=infer_kind(rows[0].shape),
        shape=tuple(rows[0].shape),
        rows=len(rows),
        distinct_rows=len({_to_bytes(row) for row in rows}),
        constant_rows=sum(_is_constant(row) for row in rows),
        non_finite_rows=len(rows) - len(finite),
        values=_measure(finite),
    )


def infer_kind(shape: Sequence[int]) -> str:
    """Infer the kind from the shape of a row."""
    if len(shape) >= 3:
        return "pixels"
    if len(shape) == 2:
        return "spectrograms"
    return "waveforms" if len(shape) == 1 and shape[0] >= MIN_SAMPLES else "features"


def _to_bytes(row: Tensor) -> bytes:
    """Return what two equal rows have in common; zeros of either sign are equal."""
    row = row.float() if row.dtype in (torch.float16, torch.bfloat16) else row
    return bytes((row + 0).cpu().contiguous().numpy().tobytes())


def _channels(row: Tensor) -> Tensor:
    """Return a row as (channels, values); its smaller end axis counts the channels of an image."""
    if row.dim() < 3:
        return row.reshape(1, -1)
    if row.shape[0] not in IMAGE_CHANNELS and row.shape[-1] in IMAGE_CHANNELS:
        row = move_channels(row, 0)
    return row.reshape(row.shape[0], -1)


def move_channels(tensor: Tensor, axis: int) -> Tensor:
    """Move the last axis to `axis`."""
    axes = list(range(tensor.dim() - 1))
    return tensor.permute(*axes[:axis], tensor.dim() - 1, *axes[axis:])


def _is_constant(row: Tensor) -> bool:
    channels = _channels(row)
    return channels.shape[1] > 1 and bool((channels == channels[:, :1]).all())


def _measure(rows: Sequence[Tensor]) -> Optional[Values]:
    if not rows:
        return None
    channels = [_channels(row.float()) for row in rows]
    values = torch.cat([c.reshape(-1) for c in channels])
    contrasts = torch.stack([c.var(1, unbiased=False).mean() for c in channels])
    return Values(
        lowest=float(values.min()),
        highest=float(values.max()),
        mean=float(values.mean()),
        std=float(values.std()) if len(values) > 1 else 0.0,
        contrast=float(contrasts.mean().sqrt()),
        whole_numbers=bool((values == values.round()).all()),
    )


def _add_first_call(found: NumericInputs, call: FirstCall, tensor: Tensor) -> None:
    found.first_layer = type(call.layer).__name__
    given = call.given
    if bool(torch.isfinite(given).all()) and given.numel():
        found.at_first_layer = _measure(list(given)[:MAX_ROWS] if given.dim() > 1 else [given])
    found.is_normalized_behind = _normalizes(call.layer, given) or _normalizes(call.next_layer, call.given_next)
    found.channels_reshaped = _was_reshaped(tensor, given)


def _normalizes(layer: Optional[nn.Module], given: Optional[Tensor]) -> bool:
    """Return whether a batch norm has seen nothing so far, or values like these: it then takes their scale away."""
    if not isinstance(layer, _BatchNorm) or given is None or given.dim() < 2:
        return False
    mean, var = layer.running_mean, layer.running_var
    if mean is None or var is None or bool((mean == 0).all() and (var == 1).all()):
        return True
    values = given.float().transpose(0, 1).flatten(1)
    ratio = float((values.var(1) / var.clamp(min=1e-20)).median())
    distance = float(((values.mean(1) - mean).abs() / var.clamp(min=1e-20).sqrt()).median())
    return 1 / MAX_VARIANCE_RATIO < ratio < MAX_VARIANCE_RATIO and distance < MAX_DISTANCE


def _was_reshaped(tensor: Tensor, given: Tensor) -> bool:
    """Return whether channels that came last were read as the first axis, in the order of the memory."""
    if tensor.dim() != 4 or given.dim() != 4 or tensor.shape[-1] not in (3, 4) or tensor.shape[1] in IMAGE_CHANNELS:
        return False
    if given.shape != (tensor.shape[0], tensor.shape[3], *tensor.shape[1:3]):
        return False
    one, other = tensor.reshape(given.shape).to(given), move_channels(tensor, 1).to(given)
    return _is_rescaled(one, given) and not _is_rescaled(other, given)


def _is_rescaled(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors of one shape are the same numbers but for scale and offset in each channel."""
    for a, b in zip(one.transpose(0, 1).flatten(1).double(), other.transpose(0, 1).flatten(1).double()):
        a, b = a - a.mean(), b - b.mean()
        if float(a.norm() * b.norm()) == 0 or float((a @ b) / (a.norm() * b.norm())) < 0.9999:
            return False
    return True


def _read_image_processor(model: nn.Module) -> Tuple[Optional[float], Optional[float]]:
    """Read mean and standard deviation from the image processor's file in the folder that the weights came from."""
    config = next((m.config for m in model.modules() if getattr(m, "config", None) is not None), None)
    folder = getattr(config, "_name_or_path", "")
    path = Path(folder) / "preprocessor_config.json" if isinstance(folder, str) and folder else None
    try:
        settings: Dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else {}
        if not settings.get("do_normalize"):
            return None, None
        means, stds = settings["image_mean"], settings["image_std"]
        return sum(means) / len(means), sum(stds) / len(stds)
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return None, None
