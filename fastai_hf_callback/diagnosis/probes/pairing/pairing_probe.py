"""``probe_pairing``: all that is found of how a loss pairs outputs and targets, of one batch. Imports torch."""

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor

from fastai_hf_callback.diagnosis.probes.batches import Batch, map_tensors
from fastai_hf_callback.diagnosis.probes.forward_calls import EmbeddingCall
from fastai_hf_callback.diagnosis.probes.inputs import TokenView, build_view, find_target_call
from fastai_hf_callback.diagnosis.probes.synthetic_outputs import roll_targets
from fastai_hf_callback.results.pairing import Pairing

from .loss_pairing import TokenLoss, probe_target_use, probe_token_loss
from .token_signal import measure_token_signal
from .token_targets import compare_with_ids, count_on_padding, find_left_out, probe_causality

__all__ = ["ProbedBatch", "probe_pairing", "unzip_batches"]

# Masked models are asked for a few words alone, whose tokens are hidden.
MIN_COUNTED_SHARE = 0.5


class ProbedBatch(NamedTuple):
    """A batch, what reached the loss of it in eval mode, and what was recorded on the way.

    Attributes
    ----------
    batch : Batch
    output : any
    view : TokenView or None
        Of the texts.
    calls : list of EmbeddingCall
    arguments : list of dict
        Of the modules that take ``input_ids``, by name.
    executed : list of module
        Those that ran, in their order.
    """

    batch: Batch
    output: Any
    view: Optional[TokenView]
    calls: List[EmbeddingCall]
    arguments: List[Dict[str, Any]]
    executed: List[Any]


def unzip_batches(probed: Sequence[ProbedBatch]) -> Tuple[List[Any], List[Any], List[TokenView]]:
    """Split into inputs, outputs and the ids that were recorded."""
    views = [one.view for one in probed if one.view is not None]
    return [one.batch.xb for one in probed], [one.output for one in probed], views


def probe_pairing(
    loss_func: Callable[..., Any], probed: Sequence[ProbedBatch], logits_func: Callable[[Any], Any], config: Any
) -> Pairing:
    """Find how `loss_func` pairs the outputs and the targets of the first batch, and what tokens tell of all targets.

    Parameters
    ----------
    loss_func : callable
    probed : sequence of ProbedBatch
    logits_func : callable
        A batch's inputs -> what reaches the loss, in eval mode.
    config : any
        The model's, for its ``pad_token_id``; None where it has none.
    """
    recorded = probed[0]
    batch, output = recorded.batch, recorded.output
    targets = batch.yb if isinstance(batch.yb, (tuple, list)) else (batch.yb,)
    pairing = Pairing()
    if not targets:
        return pairing
    probe_target_use(pairing, loss_func, output, targets)
    if len(targets) == 1 and isinstance(targets[0], Tensor) and isinstance(output, Tensor):
        token_loss = probe_token_loss(loss_func, output, targets[0])
        if token_loss is not None:
            pairing.ahead, pairing.left_out = token_loss.ahead, find_left_out(token_loss)
            _probe_token_targets(pairing, token_loss, recorded, logits_func, config)
            if not pairing.of_decoder and pairing.counted >= MIN_COUNTED_SHARE * int((~_pads(recorded)).sum()):
                tables = [_align(one, token_loss.ahead) for one in probed]
                pairing.token_signal = measure_token_signal([t for t in tables if t is not None], pairing.distance)
    return pairing


def _pads(recorded: ProbedBatch) -> Tensor:
    return torch.zeros(1, dtype=torch.bool) if recorded.view is None else recorded.view.is_pad


def _align(one: ProbedBatch, ahead: int) -> Optional[Tuple[Tensor, Tensor]]:
    """Return a batch's ids, and the targets that the outputs at their positions are compared with."""
    target = one.batch.yb
    if one.view is None or not isinstance(target, Tensor) or target.shape != one.view.ids.shape:
        return None
    return one.view.ids, roll_targets(target, ahead)


def _probe_token_targets(
    pairing: Pairing, loss: TokenLoss, recorded: ProbedBatch, logits_func: Callable[[Any], Any], config: Any
) -> None:
    view = _find_view(recorded, config)
    if view is None or recorded.view is None:
        return
    pairing.of_decoder = view is not recorded.view
    pairing.decodes_source = pairing.of_decoder and _decodes_source(view.ids, recorded)
    compare_with_ids(pairing, loss, view.ids)
    count_on_padding(pairing, loss, view.is_pad | _is_masked(view.ids, recorded.arguments, pairing.of_decoder))
    if pairing.distance == 1 and not pairing.of_decoder:
        pairing.is_causal = probe_causality(lambda ids: logits_func(_exchange(recorded, ids)), view.ids)


def _find_view(recorded: ProbedBatch, config: Any) -> Optional[TokenView]:
    """Find the ids at whose positions the outputs stand."""
    texts = recorded.view
    if texts is None or texts.embedding is None:
        return texts
    words = EmbeddingCall(texts.embedding, texts.ids)
    call = find_target_call(recorded.calls, words, tuple(recorded.output.shape))
    if call is None:
        return None
    same = call.ids.shape == texts.ids.shape and bool((call.ids == texts.ids).all())
    return texts if same else build_view(call, recorded.batch.xb, (), config)


def _decodes_source(ids: Tensor, recorded: ProbedBatch) -> bool:
    source, outermost = recorded.view, recorded.arguments[0] if recorded.arguments else {}
    if source is None or any(outermost.get(name) is not None for name in ("labels", "decoder_input_ids")):
        return False
    return ids.shape == source.ids.shape and bool((ids[:, 1:] == source.ids[:, :-1]).all())


def _is_masked(ids: Tensor, arguments: List[Dict[str, Any]], of_decoder: bool) -> Tensor:
    name = "decoder_attention_mask" if of_decoder else "attention_mask"
    masks = [call[name] for call in arguments if isinstance(call.get(name), Tensor)]
    mask = next((mask for mask in masks if mask.shape == ids.shape), None)
    return torch.zeros_like(ids, dtype=torch.bool) if mask is None else mask.to(ids.device) == 0


def _exchange(recorded: ProbedBatch, ids: Tensor) -> Any:
    """Return the inputs with other ids."""
    shown = recorded.view

    def change(table: Tensor) -> Tensor:
        alike = shown is not None and table.shape == shown.ids.shape and not table.is_floating_point()
        return ids.to(table) if alike and bool((table.to(ids) == shown.ids).all()) else table  # type: ignore[union-attr]

    return map_tensors(recorded.batch.xb, change)
