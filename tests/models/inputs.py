"""What the models are fed: rows of ids, their mask, and whatever else a forward takes."""

import inspect
from typing import Any, Tuple

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tests.models.special_cases import Special
from tests.models.tasks import Task, span_of
from tests.models.tiny_configs import BEGIN, END, FIRST_WORD, PAD, VOCAB

__all__ = ["Rows", "names_of_inputs", "rows_for"]

SAMPLES = 1200  # of sound, enough for several frames after all strides


class Rows(TensorDataset):
    """Tensors of inputs, then of targets; ``n_inp`` tells fastai where the targets begin."""

    def __init__(self, inputs: Tuple[Tensor, ...], targets: Tuple[Tensor, ...]):
        super().__init__(*inputs, *targets)
        self.n_inp = len(inputs)


def names_of_inputs(model: nn.Module, special: Special) -> Tuple[str, ...]:
    """Ids (or sound), the mask where the model takes one, and what else it needs."""
    takes = inspect.signature(model.forward).parameters
    main = "input_ids" if "input_ids" in takes else model.main_input_name
    mask = ("attention_mask",) if main == "input_ids" and "attention_mask" in takes else ()
    return (main, *mask, *special.more)


def rows_for(model: nn.Module, task: Task, special: Special, rows: int, seed: int) -> Rows:
    """`rows` rows of what `model` needs, with targets that depend on them."""
    draw = torch.Generator().manual_seed(seed)
    ids, mask = _texts(rows, special.length, draw)
    inputs = tuple(_MAKERS[name](ids, mask, model.config, draw) for name in names_of_inputs(model, special))
    return Rows(inputs, task.targets(ids, mask))


def _texts(rows: int, length: int, draw: torch.Generator) -> Tuple[Tensor, Tensor]:
    """Begin, words, end, padding on the right."""
    ids = torch.randint(FIRST_WORD, VOCAB, (rows, length), generator=draw)
    lengths = torch.randint(length // 2, length + 1, (rows, 1), generator=draw)
    position = torch.arange(length)[None]
    ids[:, 0] = BEGIN
    ids = torch.where(position == lengths - 1, torch.full_like(ids, END), ids)
    return torch.where(position < lengths, ids, torch.full_like(ids, PAD)), (position < lengths).long()


# -- one input each: of ids and mask (rows, length), the config, a generator ------------------------------------------


def _boxes(ids: Tensor, mask: Tensor, config: Any, draw: torch.Generator) -> Tensor:
    """Left, top, right, bottom of each word, (rows, length, 4); Bros wants fractions of the page."""
    corners = torch.randint(0, 30, (*ids.shape, 2), generator=draw)
    boxes = torch.cat([corners, corners + 4], dim=-1) * mask[..., None]
    return boxes / 64 if config.model_type == "bros" else boxes


def _image(ids: Tensor, mask: Tensor, config: Any, draw: torch.Generator) -> Tensor:
    size = getattr(config, "vision_config", config).image_size
    return torch.randn(len(ids), 3, size, size, generator=draw)


def _sound(ids: Tensor, mask: Tensor, config: Any, draw: torch.Generator) -> Tensor:
    """A tone whose pitch depends on the first word, and noise, (rows, samples)."""
    pitch = ids[:, 1:2].float() / VOCAB
    return torch.sin(pitch * torch.arange(SAMPLES)) + 0.1 * torch.randn(len(ids), SAMPLES, generator=draw)


def _spectrum(ids: Tensor, mask: Tensor, config: Any, draw: torch.Generator) -> Tensor:
    """As many bands as the config says, (rows, 24, bands)."""
    bands = config.feature_projection_input_dim
    first_word = ids[:, 1].float()[:, None, None] / VOCAB
    return first_word + 0.1 * torch.randn(len(ids), 24, bands, generator=draw)


def _table_types(ids: Tensor, mask: Tensor, config: Any, draw: torch.Generator) -> Tensor:
    """Segment, column, row and four more, of which there are but zeros, (rows, length, 7)."""
    types = torch.zeros(*ids.shape, 7, dtype=torch.long)
    types[:, ids.shape[1] // 2 :, 0] = 1
    types[..., 1:3] = torch.randint(0, 3, (*ids.shape, 2), generator=draw)
    return types


def _labels(ids: Tensor, mask: Tensor, config: Any, draw: torch.Generator) -> Tensor:
    """The answer's words; for a table, which words answer."""
    return ids % 2 * mask if config.model_type == "tapas" else ids


def _features(width: str):
    def make(ids: Tensor, mask: Tensor, config: Any, draw: torch.Generator) -> Tensor:
        return torch.randn(len(ids), 3, getattr(config, width), generator=draw)

    return make


_MAKERS = {
    "input_ids": lambda ids, mask, config, draw: ids,
    "attention_mask": lambda ids, mask, config, draw: mask,
    "bbox": _boxes,
    "pixel_values": _image,
    "input_values": _sound,
    "input_features": _spectrum,
    "token_type_ids": _table_types,
    "global_attention_mask": lambda ids, mask, config, draw: (ids == BEGIN).long(),
    "visual_embeds": _features("visual_embedding_dim"),
    "visual_attention_mask": lambda ids, mask, config, draw: torch.ones(len(ids), 3, dtype=torch.long),
    "visual_feats": _features("visual_feat_dim"),
    "visual_pos": _features("visual_pos_dim"),
    "labels": _labels,
    "start_positions": lambda ids, mask, config, draw: span_of(ids, mask)[0],
    "end_positions": lambda ids, mask, config, draw: span_of(ids, mask)[1],
}
