"""The parts of a learner that can be replaced, and by what; each changes the ``Arm`` of one run. Imports torch."""

import copy
from functools import partial
from typing import Any, Callable, Dict, List, Optional

import torch
from torch import Tensor, nn

from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.model.inputs.forward_signature import find_pretrained
from fastai_hf_callback.model.wrapper import HFModel
from fastai_hf_callback.results.substitution import ReplaceablePart

from .layout import BatchLayout, flatten, rebuild
from .locate import is_own_code, locate, name_object
from .loop import PlantedLoop
from .runs import Arm, Part
from .signals import Signal
from .stand_ins import NewHead, PlainForward, SmallModel, find_body

__all__ = ["TIERS", "list_parts"]

# What surrounds the model; its weights; its head and wrapper; the whole of it.
AROUND, WEIGHTS, INSIDE, WHOLE = TIERS = (0, 1, 2, 3)


def list_parts(
    learn: Any, loop: PlantedLoop, signal: Signal, layout: BatchLayout, form: str, outputs: int
) -> List[Part]:
    """List what can be replaced, the least invasive first; only parts whose replacement changes something.

    Parameters
    ----------
    learn : Learner
    loop : PlantedLoop
    signal : Signal
    layout : BatchLayout
    form : str
        What there is an output for, as ``SmallModel`` has it.
    outputs : int
        How many there are for each.
    """
    return [
        *_list_loop(loop),
        *[_make_callback_part(callback, loop) for callback in loop.list_callbacks()],
        *_list_hooks(learn.model),
        *_list_precision(learn.model),
        *_list_freezing(learn.model),
        *_list_dropout(learn.model),
        *_list_masks(layout),
        _make_loss_part(learn.loss_func),
        *_list_optimizer(learn, loop),
        Part(
            ReplaceablePart("inputs", "what the batches hold", "", "random inputs of the same form"),
            _clean(layout),
            AROUND,
        ),
        Part(_show_weights(learn.model), _draw_weights, WEIGHTS),
        *_list_model_parts(learn.model, layout, form, outputs),
    ]


def _show(kind: str, label: str, thing: Any, stand_in: str) -> ReplaceablePart:
    return ReplaceablePart(kind, label, "" if thing is None else locate(thing), stand_in)


# -- around the model --------------------------------------------------------------------------------


def _list_loop(loop: PlantedLoop) -> List[Part]:
    name = loop.name_own_loop()

    def apply(arm: Arm) -> None:
        arm.stack.enter_context(loop.restore_loop())
        arm.needs_bridge = True

    return [Part(ReplaceablePart("loop", name, "", "fastai's own in its place"), apply)] if name else []


def _make_callback_part(callback: Any, loop: PlantedLoop) -> Part:
    is_bridge = loop.is_bridge(callback)

    def apply(arm: Arm) -> None:
        arm.callbacks = [one for one in arm.callbacks if one is not callback]
        arm.needs_bridge = True

    stand_in = "a new one in its place" if is_bridge else "left out"
    return Part(_show("callback", f"callback `{name_object(callback)}`", callback, stand_in), apply)


_HOOK_DICTS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_full_backward_hooks",
)


def _list_hooks(model: nn.Module) -> List[Part]:
    """List one part for each function that is hooked in, and for each tensor hook's parameter group."""
    hooks: Dict[int, Any] = {}
    for module in model.modules():
        for name in _HOOK_DICTS:
            for hook in (getattr(module, name, None) or {}).values():
                hooks.setdefault(id(getattr(hook, "func", hook)), hook)
    parts = [
        Part(_show("hook", f"hook `{_name_hook(hook)}`", hook, "left out"), partial(_drop_hook, key))
        for key, hook in hooks.items()
    ]
    if any(getattr(p, "_backward_hooks", None) for p in model.parameters()):
        hook = next(h for p in model.parameters() for h in (getattr(p, "_backward_hooks", None) or {}).values())
        parts.append(Part(_show("hook", f"gradient hook `{_name_hook(hook)}`", hook, "left out"), _drop_gradient_hooks))
    if any("parametrizations" in m._modules for m in model.modules()):
        parts.append(
            Part(
                ReplaceablePart("parametrization", "the parametrizations", "", "plain weights"), _drop_parametrizations
            )
        )
    return parts


def _name_hook(hook: Any) -> str:
    return str(getattr(getattr(hook, "func", hook), "__qualname__", type(hook).__name__)).replace(".<locals>", "")


def _drop_hook(key: int, arm: Arm) -> None:
    for module in arm.learn.model.modules():
        for name in _HOOK_DICTS:
            held = getattr(module, name, None) or {}
            for number in [n for n, hook in held.items() if id(getattr(hook, "func", hook)) == key]:
                del held[number]


def _drop_gradient_hooks(arm: Arm) -> None:
    """Put parameters without hooks in the place of those that have some."""
    for module in arm.learn.model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and getattr(parameter, "_backward_hooks", None):
                module._parameters[name] = nn.Parameter(parameter.data.clone(), parameter.requires_grad)
    arm.renews_optimizer = True


def _drop_parametrizations(arm: Arm) -> None:
    from torch.nn.utils import parametrize

    model = copy.deepcopy(arm.learn.model)
    for module in list(model.modules()):
        for name in list(getattr(module, "parametrizations", {})):
            parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    arm.learn.model = model
    arm.renews_optimizer = True


def _list_precision(model: nn.Module) -> List[Part]:
    half = [p.dtype for p in model.parameters() if p.is_floating_point() and p.dtype != torch.float32]
    autocast = torch.is_autocast_enabled() if hasattr(torch, "is_autocast_enabled") else False

    def apply(arm: Arm) -> None:
        arm.learn.model.float()
        arm.renews_optimizer = True

    label = f"the precision of the weights, {str(half[0]).replace('torch.', '')}" if half else "autocast"
    return [Part(ReplaceablePart("precision", label, "", "float32"), apply)] if half or autocast else []


def _list_freezing(model: nn.Module) -> List[Part]:
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad and p.is_floating_point()]

    def apply(arm: Arm) -> None:
        for parameter in arm.learn.model.parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_(True)
        arm.renews_optimizer = True

    total = sum(1 for _ in model.parameters())
    label = f"what is frozen, {len(frozen)} of {total} parameters"
    return [Part(ReplaceablePart("freezing", label, "", "all trained"), apply)] if frozen else []


def _list_dropout(model: nn.Module) -> List[Part]:
    layers = [m for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    highest = max((float(m.p) for m in layers), default=0.0)

    def apply(arm: Arm) -> None:
        for module in arm.learn.model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = 0.0

    return [Part(ReplaceablePart("dropout", f"dropout of {highest:g}", "", "none"), apply)] if highest > 0.3 else []


def _list_masks(layout: BatchLayout) -> List[Part]:
    """List the mask: its stand-in marks everything that is no padding."""

    def change(batch: Batch) -> Batch:
        tensors = flatten(batch)
        for i in layout.masks:
            tensors[i] = _mark_text(layout, tensors, tensors[i])
        return rebuild(batch, tensors)

    def apply(arm: Arm) -> None:
        arm.changes.append(change)

    name = layout.names.get(layout.masks[0], "the mask") if layout.masks else ""
    return (
        [Part(ReplaceablePart("mask", f"`{name}` of the batches", "", "1 where there is text"), apply)] if name else []
    )


def _mark_text(layout: BatchLayout, tensors: List[Tensor], mask: Tensor) -> Tensor:
    for words in layout.words:
        ids = tensors[words.table]
        if ids.shape == mask.shape and words.pad is not None:
            return (ids != words.pad).to(mask.dtype)
    return torch.ones_like(mask)


def _make_loss_part(loss_func: Any) -> Part:
    name = name_object(_unwrap_loss(loss_func))

    def apply(arm: Arm) -> None:
        arm.uses_good_loss = True

    return Part(_show("loss", f"the loss `{name}`", _unwrap_loss(loss_func), "this signal's own loss"), apply)


def _unwrap_loss(loss_func: Any) -> Any:
    """Return the user's own function inside what this package or fastai puts around it."""
    inside = list(vars(loss_func).values()) if hasattr(loss_func, "__dict__") and not is_own_code(loss_func) else []
    inside += list(vars(loss_func)["_modules"].values()) if isinstance(loss_func, nn.Module) else []
    return next((inner for inner in inside if callable(inner) and is_own_code(inner)), loss_func)


def _list_optimizer(learn: Any, loop: PlantedLoop) -> List[Part]:
    def use_good_rates(arm: Arm) -> None:
        arm.uses_good_rates = True

    def renew(arm: Arm) -> None:
        arm.renews_optimizer = True

    def use_adam(arm: Arm) -> None:
        arm.uses_adam = True

    made = [
        Part(
            ReplaceablePart("rate", "the learning rates of the last fit", "", "a rate that suits the model"),
            use_good_rates,
        )
    ]
    if loop.has_optimizer():
        made.append(
            Part(ReplaceablePart("optimizer", "the optimizer that was there", "", "the same, made again"), renew)
        )
    function = getattr(learn, "opt_func", None)
    label = f"the optimizer `{name_object(function)}`"
    made.append(Part(_show("optimizer", label, function, "Adam over all that is trained"), use_adam))
    return made


# -- inputs, weights, the model --------------------------------------------------------------------------------


def _clean(layout: BatchLayout) -> Callable[[Arm], None]:
    """Return what puts random inputs in the place of the batches' own, the signal in them."""

    def apply(arm: Arm) -> None:
        arm.cleans_inputs = True

    return apply


def _show_weights(model: nn.Module) -> ReplaceablePart:
    return ReplaceablePart("weights", f"the weights of `{type(_outer(model)).__name__}`", "", "drawn anew")


def _draw_weights(arm: Arm) -> None:
    """Draw all weights again: matrices small and at random, gains 1, everything else 0."""
    with torch.no_grad():
        for name, parameter in arm.learn.model.named_parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(0, max(0.02, 0.5 / parameter[0].numel() ** 0.5))
            elif parameter.is_floating_point():
                parameter.data.fill_(1.0 if name.endswith("weight") else 0.0)
        for buffer in arm.learn.model.buffers():
            if buffer.is_floating_point() and not bool(torch.isfinite(buffer).all()):
                buffer.zero_()


def _list_model_parts(model: nn.Module, layout: BatchLayout, form: str, outputs: int) -> List[Part]:
    parts, whole, body = [], find_pretrained(_outer(model)), find_body(_outer(model))
    named = bool(layout.names) and hasattr(whole, "config")
    if named and not isinstance(model, HFModel) and whole is not model:
        shown = _show("wrapper", f"`{type(model).__name__}` around the model", model, "the model called by name")
        parts.append(
            Part(shown, lambda arm: _use_model(arm, PlainForward(find_pretrained(arm.learn.model), layout)), INSIDE)
        )
    elif named and isinstance(model, HFModel):
        shown = _show("wrapper", "`HFModel` around the model", model, "the model called by name")
        parts.append(Part(shown, lambda arm: _use_model(arm, PlainForward(arm.learn.model.model, layout)), INSIDE))
    width = _read_width(body)
    if named and body is not None and width and form in ("rows", "places"):
        shown = _show("head", f"the head of `{type(_outer(model)).__name__}`", _outer(model), "a new linear head")

        def use_head(arm: Arm) -> None:
            found = find_body(_outer(arm.learn.model))
            if found is not None:
                _use_model(arm, NewHead(found, layout, width, outputs, form == "places"))

        parts.append(Part(shown, use_head, INSIDE))
    label = f"the model `{type(_outer(model)).__name__}`"
    parts.append(
        Part(
            _show("model", label, _outer(model), "a small one"), partial(_use_small_model, layout, form, outputs), WHOLE
        )
    )
    return parts


def _outer(model: nn.Module) -> nn.Module:
    """Return the user's model, inside ``HFModel``."""
    return model.model if isinstance(model, HFModel) else model


def _read_width(body: Optional[nn.Module]) -> int:
    config = getattr(body, "config", None)
    names = ("hidden_size", "d_model", "n_embd", "dim", "emb_dim")
    width = next((getattr(config, name) for name in names if isinstance(getattr(config, name, None), int)), 0)
    return int(width)


def _use_model(arm: Arm, model: nn.Module) -> None:
    device = next((p.device for p in arm.learn.model.parameters()), torch.device("cpu"))
    model.train(arm.learn.model.training)
    arm.learn.model = model.to(device)
    arm.renews_optimizer = arm.has_new_model = arm.needs_bridge = True


def _use_small_model(layout: BatchLayout, form: str, outputs: int, arm: Arm) -> None:
    embeddings = _count_embeddings(arm.learn.model, layout)
    _use_model(arm, SmallModel(layout, outputs, form, embeddings))


def _count_embeddings(model: nn.Module, layout: BatchLayout) -> int:
    tables = [m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)]
    highest = max((word for words in layout.words for word in (*words.rare, *words.special)), default=0)
    return max([highest + 1, *tables])
