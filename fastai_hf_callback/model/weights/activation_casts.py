"""Activations cast where float32 and half-precision weights meet, by hooks on the modules. Imports torch."""

from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple, cast

import torch
from torch import Tensor, nn

__all__ = ["HALF_DTYPES", "Layout", "find_adapter_modules", "match_activations", "to_float32"]

HALF_DTYPES = (torch.float16, torch.bfloat16)


def to_float32(value: Any) -> Any:
    """Return half-precision tensors, alone or in a tuple or list, as float32; anything else is returned as it is.

    Losses, metrics, numpy and fastai's Recorder read float32; numpy has no bfloat16, and the Recorder mixes no dtypes.
    """
    if isinstance(value, Tensor):
        return value.float() if value.dtype in HALF_DTYPES else value
    if type(value) in (tuple, list) and any(isinstance(part, Tensor) and part.dtype in HALF_DTYPES for part in value):
        return type(value)([to_float32(part) for part in value])
    return value


def find_adapter_modules(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules that an adapter's library has put around a layer, without that layer: it casts by itself."""
    for layer in model.modules():
        base = layer._modules.get("base_layer")
        if base is not None and hasattr(layer, "adapter_layer_names"):
            inside = {id(m) for m in base.modules()}
            yield from (m for m in layer.modules() if id(m) not in inside)


class _CastInputs:
    """A hook: floating-point inputs get the dtype of the module's own weights."""

    def __call__(self, module: nn.Module, args: Tuple[Any, ...], kwargs: Optional[Dict[str, Any]] = None) -> Any:
        dtype = _find_own_dtype(module)
        if dtype is None:
            return None
        saturates = dtype in HALF_DTYPES and bool(module._modules)  # a mask of -3e38 among its inputs must stay finite
        return _map_inputs(lambda tensor: _cast(tensor, dtype, saturates), args, kwargs)


class _WidenInputs:
    """A hook: half-precision inputs become float32."""

    def __call__(self, module: nn.Module, args: Tuple[Any, ...], kwargs: Optional[Dict[str, Any]] = None) -> Any:
        return _map_inputs(to_float32, args, kwargs)


class _WidenOutputs:
    """A hook: half-precision outputs become float32."""

    def __call__(self, module: nn.Module, args: Tuple[Any, ...], output: Any) -> Any:
        return _map_tensors(to_float32, output)


_OWN_HOOKS = (_CastInputs, _WidenInputs, _WidenOutputs)


def match_activations(model: nn.Module) -> bool:
    """Let hooks cast activations where float32 and half-precision weights meet; remove them where they do not.

    From the first module with float32 weights on, in the order of the model's modules, activations between modules are
    float32, so that the branches of an attention agree; before it, they stay as they are. A module's inputs are cast
    to the dtype of its own weights. Adapter layers cast by themselves.

    Parameters
    ----------
    model : nn.Module
        Gets hooks that can be pickled and copied; its parameters, ``state_dict`` and forwards are not touched.

    Returns
    -------
    bool
        Whether there are any.
    """
    wanted = _plan_hooks(model)
    for module in model.modules():
        there = {type(hook) for hook in _own_hooks(module)}
        if there != set(wanted.get(id(module), ())):
            _remove_hooks(module)
            for kind in wanted.get(id(module), ()):
                _add_hook(module, kind)
    return bool(wanted)


def _plan_hooks(model: nn.Module) -> Dict[int, List[type]]:
    """Return the hooks of each module that needs some, by its id."""
    layout = Layout(model)
    if not layout.is_mixed:
        return {}
    planned = {id(module): _choose_hooks(layout, at) for at, (_, module) in enumerate(layout.named)}
    return {key: kinds for key, kinds in planned.items() if kinds}


def _choose_hooks(layout: "Layout", position: int) -> List[type]:
    name, module = layout.named[position]
    dtype, is_after = layout.dtypes.get(id(module)), position >= layout.first_wide
    if dtype is not None:
        return [_CastInputs, _WidenOutputs] if dtype in HALF_DTYPES and is_after else [_CastInputs]
    # Masks and position biases, made in half precision before the first float32 module, enter the blocks after it.
    return [_WidenInputs] if is_after and name in layout.blocks else []


class Layout:
    """Where a model holds float32 and where half-precision weights, in the order of its modules.

    Parameters
    ----------
    model : nn.Module

    Attributes
    ----------
    named : list of (str, nn.Module)
    dtypes : dict of id(module) to torch.dtype or None
        Of each module's own weights; adapter layers are left out.
    blocks : set of str
        The outermost modules in an ``nn.ModuleList``.
    first_wide : int
        From which position on the activations between modules are float32.
    """

    def __init__(self, model: nn.Module):
        self.named = list(model.named_modules())
        skipped = {id(module) for module in find_adapter_modules(model)}
        inside = {name for name, _ in self.named if "parametrizations" in name.split(".")}  # what makes a weight
        skipped |= {id(module) for name, module in self.named if name in inside}
        self.dtypes = {id(m): _find_own_dtype(m) for _, m in self.named if id(m) not in skipped}
        lists = (name for name, module in self.named if isinstance(module, nn.ModuleList) and name not in inside)
        self._lists = [f"{name}." for name in lists]
        self.blocks = self._find_blocks()
        self.first_wide = min(map(self._find_start, self._wide_names()), default=len(self.named))

    def find_modules_with_wide_activations(self) -> List[nn.Module]:
        """Return the modules from the first float32 one on, and those around float32 ones."""
        wide = list(self._wide_names())
        return [
            module
            for at, (name, module) in enumerate(self.named)
            if at >= self.first_wide or not name or any(one.startswith(f"{name}.") for one in wide)
        ]

    @property
    def is_mixed(self) -> bool:
        held = {dtype for dtype in self.dtypes.values() if dtype is not None}
        return len(held) > 1 and bool(held.intersection(HALF_DTYPES))

    def _wide_names(self) -> Iterator[str]:
        """Yield the names of the modules with weights of their own that are wider than half precision."""
        for name, module in self.named:
            dtype = self.dtypes.get(id(module))
            if dtype is not None and dtype not in HALF_DTYPES:
                yield name

    def _find_blocks(self) -> Set[str]:
        """Return the names of the outermost modules in an ``nn.ModuleList``."""
        outermost = [
            one for one in self._lists if not any(one != other and one.startswith(other) for other in self._lists)
        ]
        return {
            name for name, _ in self.named for one in outermost if name.startswith(one) and "." not in name[len(one) :]
        }

    def _find_start(self, name: str) -> int:
        """Return where the part around a module begins: its block, or the largest part that has no blocks inside.

        In such a part branches may run in parallel and meet, as queries and keys do.
        """
        path = name.split(".") if name else []
        around = [".".join(path[: depth + 1]) for depth in range(len(path))]
        start = next((one for one in around if one in self.blocks or not self._holds_list(one)), name)
        return next(at for at, (other, _) in enumerate(self.named) if other == start)

    def _holds_list(self, name: str) -> bool:
        return any(one.startswith(f"{name}.") for one in self._lists)


def _find_own_dtype(module: nn.Module) -> Optional[torch.dtype]:
    """Return the dtype of the module's own floating-point weights, in a copy of ``nn.DataParallel`` too; else None."""
    if isinstance(module, (nn.ParameterList, nn.ParameterDict)):
        return None
    weights = module._parameters or vars(module).get("_former_parameters") or {}
    for weight in weights.values():
        if weight is not None and weight.is_floating_point():
            return cast(torch.dtype, weight.dtype)
    behind = module._modules.get("parametrizations")
    return None if behind is None else next((p.dtype for p in behind.parameters() if p.is_floating_point()), None)


def _map_inputs(convert: Callable[[Tensor], Tensor], args: Tuple[Any, ...], kwargs: Optional[Dict[str, Any]]) -> Any:
    """Return what a hook before ``forward`` returns; torch before 2.0 shows it no keywords."""
    made = tuple([_map_tensors(convert, value) for value in args])
    if kwargs is None:
        return made
    return made, {name: _map_tensors(convert, value) for name, value in kwargs.items()}


def _map_tensors(convert: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Convert the tensors in a nest of plain containers; other objects, such as a cache of keys, are left alone."""
    if isinstance(value, Tensor):
        return convert(value)
    if type(value) in (tuple, list):
        return type(value)([_map_tensors(convert, part) for part in value])
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a namedtuple; the input of an LSTM is one
        return type(value)(*[_map_tensors(convert, part) for part in value])
    if type(value) is dict:
        return {name: _map_tensors(convert, part) for name, part in value.items()}
    return value


def _cast(tensor: Tensor, dtype: torch.dtype, saturates: bool) -> Tensor:
    if tensor.dtype == dtype or not tensor.is_floating_point() or not {tensor.dtype, dtype}.intersection(HALF_DTYPES):
        return tensor
    if saturates:
        tensor = tensor.clamp(torch.finfo(dtype).min, torch.finfo(dtype).max)
    return tensor.to(dtype)


# -- hooks on a module -----------------------------------------------------------------------------------------------


def _add_hook(module: nn.Module, kind: type) -> None:
    if kind is _WidenOutputs:
        module.register_forward_hook(kind())
    elif hasattr(module, "_forward_pre_hooks_with_kwargs"):
        module.register_forward_pre_hook(kind(), with_kwargs=True)
    else:
        module.register_forward_pre_hook(kind())


def _own_hooks(module: nn.Module) -> List[Any]:
    hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
    return [hook for hook in hooks if isinstance(hook, _OWN_HOOKS)]


def _remove_hooks(module: nn.Module) -> None:
    for hooks, with_kwargs in (
        (module._forward_pre_hooks, getattr(module, "_forward_pre_hooks_with_kwargs", {})),
        (module._forward_hooks, {}),
    ):
        for key in [key for key, hook in hooks.items() if isinstance(hook, _OWN_HOOKS)]:
            del hooks[key]
            with_kwargs.pop(key, None)
