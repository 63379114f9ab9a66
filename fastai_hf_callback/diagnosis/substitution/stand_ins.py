"""Known-good parts to put in place of a learner's own: forward passes, a head, a small model. Imports torch."""

from typing import Any, Dict, List, Optional

import torch
from torch import Tensor, nn

from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.model.inputs.forward_signature import find_pretrained
from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.model.wrapper import MASK_NAMES

from .layout import BatchLayout, flatten

__all__ = ["NewHead", "PlainForward", "SmallModel", "find_body"]


class PlainForward(nn.Module):
    """The Hugging Face model alone, called by name."""

    def __init__(self, model: nn.Module, layout: BatchLayout):
        super().__init__()
        self.model, self.layout = model, layout

    def forward(self, *batch: Any) -> Any:
        return self.model(**name_inputs(batch, self.layout))


class NewHead(nn.Module):
    """The body, the mean of its states where there is text, and a new linear layer."""

    def __init__(self, body: nn.Module, layout: BatchLayout, width: int, outputs: int, for_each_place: bool):
        super().__init__()
        self.body, self.layout, self.for_each_place = body, layout, for_each_place
        self.score = nn.Linear(width, outputs)

    def forward(self, *batch: Any) -> Tensor:
        inputs = name_inputs(batch, self.layout)
        states = next(t for t in tensors_in(self.body(**inputs)) if t.dim() >= 2 and t.is_floating_point()).float()
        if self.for_each_place or states.dim() == 2:
            return self.score(states)
        mask = next((inputs[name] for name in MASK_NAMES if isinstance(inputs.get(name), Tensor)), None)
        if mask is None or mask.shape != states.shape[:2]:
            return self.score(states.reshape(states.shape[0], -1, self.score.in_features).mean(1))
        weight = mask.to(states)[..., None]
        return self.score((states * weight).sum(1) / weight.sum(1).clamp(min=1))


class SmallModel(nn.Module):
    """A small model of its own: a bag of words, or coarse pixels, and linear layers.

    Parameters
    ----------
    layout : BatchLayout
    outputs : int
    form : str
        ``rows``, ``places``, ``text``, ``spans``, ``choices`` or ``pixels``: what there is an output for.
    embeddings : int
        How many ids there are.
    """

    def __init__(self, layout: BatchLayout, outputs: int, form: str, embeddings: int, width: int = 32):
        super().__init__()
        self.layout, self.form, self.embeddings = layout, form, embeddings
        self.words = nn.Embedding(max(embeddings, 1), width)
        self.pixels = nn.Linear(64, width)
        self.body = nn.Sequential(nn.Linear(2 * width, 4 * width), nn.ReLU(), nn.Linear(4 * width, outputs))
        self.pixel_score = nn.Linear(1, outputs)

    def forward(self, *batch: Any) -> Any:
        tensors = flatten(Batch(batch, None))
        if self.form == "pixels":
            picture = tensors[self.layout.pictures[0]].float().mean(1, keepdim=True).permute(0, 2, 3, 1)
            return self.pixel_score(picture).permute(0, 3, 1, 2)
        states = self._read(tensors)
        if self.form == "places":
            before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], 1)
            return self.body(torch.cat([states, before], -1))
        if self.form == "spans":
            return self.body(torch.cat([states, states], -1)).permute(0, 2, 1)[:, :2]
        pooled = states.mean(-2)
        scores = self.body(torch.cat([pooled, pooled], -1))
        if self.form == "choices":
            return scores[..., 0]
        return scores

    def _read(self, tensors: List[Tensor]) -> Tensor:
        if self.layout.words:
            ids = tensors[self.layout.words[0].table].long().clamp(0, self.embeddings - 1)
            return self.words(ids)
        inputs = tensors[(self.layout.pictures + self.layout.sounds + self.layout.features)[0]].float()
        rows = inputs.reshape(inputs.shape[0], -1, inputs.shape[-1])
        if self.layout.sounds:
            rows = torch.cat([(rows - rows.mean(-1, keepdim=True)).abs(), (rows[..., 1:] - rows[..., :-1]).abs()], -1)
        coarse = nn.functional.adaptive_avg_pool1d(rows, 64)
        return self.pixels(coarse)


def name_inputs(batch: Any, layout: BatchLayout) -> Dict[str, Tensor]:
    """Return the inputs by the model's names; a mask where a table of ids has padding and no mask comes with it."""
    tensors = flatten(Batch(batch, None))
    named = {layout.names[i]: t for i, t in enumerate(tensors) if i in layout.names}
    for words in layout.words:
        if layout.names.get(words.table) == "input_ids" and words.pad is not None and not set(MASK_NAMES) & set(named):
            named["attention_mask"] = (tensors[words.table] != words.pad).long()
    return named


def find_body(model: nn.Module) -> Optional[nn.Module]:
    """Return the model without its head, as its library names it; None where there is none."""
    whole = find_pretrained(model)
    name = getattr(whole, "base_model_prefix", "")
    body = getattr(whole, name, None) if name else None
    if isinstance(body, nn.Module):
        return body
    return whole if hasattr(whole, "config") and hasattr(whole, "base_model_prefix") else None
