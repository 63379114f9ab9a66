"""Half-precision weights that are float32 while they train. Imports torch.

A step smaller than a weight's resolution is rounded away: 0.4 % of the weight in bfloat16, 0.05 % in float16, where a
step of fine-tuning changes 0.01 %. So what trains is held in float32, which holds every half-precision number exactly.
What is frozen stays as it was stored, and ``activation_casts.py`` lets the two work together.
"""

import warnings
from collections import Counter
from typing import Any, List, Mapping, MutableMapping, NamedTuple, Sequence, Set

from torch import Tensor, nn

from .activation_casts import HALF_DTYPES, Layout, find_adapter_modules, match_activations, to_float32

__all__ = ["TrainingPrecision", "Widening", "widen_optimizer_state", "widen_trainable_weights"]


class TrainingPrecision:
    """The precision of a learner's weights while they train; says once what it changed.

    Parameters
    ----------
    in_float32 : bool
        Whether trainable half-precision weights are made float32.
    """

    def __init__(self, in_float32: bool = True):
        self.in_float32, self._has_warned = in_float32, False

    def prepare(self, model: nn.Module, optimizer_states: Sequence[Mapping[Any, Any]] = ()) -> None:
        """Make float32 what trains now, and let activations be cast: before a fit, and where more has been unfrozen.

        Parameters
        ----------
        model : nn.Module
        optimizer_states : sequence of mappings of nn.Parameter to dict
            torch's or fastai's: averages in half precision become float32 with their weights.
        """
        if self.in_float32 and any(p.requires_grad and p.dtype in HALF_DTYPES for p in model.parameters()):
            widening = widen_trainable_weights(model)
            for state in optimizer_states:
                widen_optimizer_state(state, widening.parameters)
            self._warn_once(widening)
        match_activations(model)

    def _warn_once(self, widening: "Widening") -> None:
        if self._has_warned or not (widening.dtypes or widening.half_adapters):
            return
        self._has_warned = True
        warnings.warn(f"{_describe(widening)} HFCallback(train_in_float32=False) leaves all as it is.", stacklevel=2)


def _describe(widening: "Widening") -> str:
    said = []
    if widening.dtypes:
        n, dtypes = sum(widening.dtypes.values()), " and ".join(sorted(widening.dtypes))
        said.append(
            f"{n} of {widening.total} trainable weights were {dtypes}, where small steps are rounded away; they are "
            f"float32 now, and so are others that become trainable later. Frozen weights keep their precision."
        )
    if widening.half_adapters:
        said.append(
            f"{widening.half_adapters} trainable weights of adapters are in half precision, as their library made "
            f"them, and stay so: small steps are rounded away. Write get_peft_model(model, config, "
            f"autocast_adapter_dtype=True), or make them float32 by p.data = p.data.float()."
        )
    return " ".join(said)


class Widening(NamedTuple):
    """What was made float32.

    Attributes
    ----------
    parameters : list of nn.Parameter
        The same objects as before.
    dtypes : mapping of str to int
        How many of them came from which dtype.
    half_adapters : int
        Trainable adapter weights that are left in half precision, as the adapter's library made them.
    total : int
        All trainable parameters of the model.
    """

    parameters: List[nn.Parameter]
    dtypes: Mapping[str, int]
    half_adapters: int
    total: int


def widen_trainable_weights(model: nn.Module) -> Widening:
    """Make the model's trainable half-precision parameters float32, one by one, so that little memory is held twice.

    Parameters
    ----------
    model : nn.Module
        Its ``nn.Parameter`` objects stay, with their hooks, and so what holds them: optimizers, layer groups, tied
        modules. Gradients are made float32, too, and so are a module's half-precision buffers where its weights are.
        Frozen parameters stay as they are, but for those that are used in one operation with float32 ones: of a module
        that has both (a trainable bias next to a frozen weight), and lone ones next to a module's children. Adapter
        layers (LoRA and the like) keep the dtype that their library chose; quantised weights stay quantised.

    Returns
    -------
    Widening
    """
    adapters = _find_adapter_parameters(model)
    trainable = [p for p in model.parameters() if p.requires_grad]
    chosen = [p for p in trainable if _is_half(p) and id(p) not in adapters]
    dtypes = Counter(str(p.dtype).replace("torch.", "") for p in chosen)
    for p in chosen:
        _widen(p)
    widened = list(chosen)
    for widen_more in (_widen_neighbours, _widen_lone_parameters, _widen_neighbours) if chosen else ():
        widened += widen_more(model, adapters)
    _widen_buffers(model, {id(p) for p in widened})
    half_adapters = sum(_is_half(p) for p in trainable if id(p) in adapters)
    return Widening(widened, dtypes, half_adapters, len(trainable))


def widen_optimizer_state(state: Mapping[Any, Any], parameters: List[nn.Parameter]) -> None:
    """Make the optimizer's half-precision averages of these parameters float32, as a new optimizer's would be."""
    for p in parameters:
        own = state.get(p)
        if isinstance(own, MutableMapping):
            own.update({name: to_float32(value) for name, value in own.items() if isinstance(value, Tensor)})


def _is_half(parameter: Tensor) -> bool:
    # A subclass of Tensor may hold integers and a scale, or a share of the weights: only its library can convert it.
    return parameter.dtype in HALF_DTYPES and type(parameter.data) is Tensor


def _widen(parameter: nn.Parameter) -> None:
    parameter.data = parameter.data.float()
    if parameter.grad is not None:
        parameter.grad = parameter.grad.float()


def _widen_neighbours(model: nn.Module, adapters: Set[int]) -> List[nn.Parameter]:
    """Widen frozen parameters of modules that have float32 ones, until none is left: a tied one is in two modules."""
    widened: List[nn.Parameter] = []
    while True:
        mixed = [p for m in model.modules() for p in _find_mixed_parameters(m) if id(p) not in adapters]
        for p in mixed:
            if _is_half(p):
                _widen(p)
                widened.append(p)
        if not mixed:
            return widened


def _find_mixed_parameters(module: nn.Module) -> List[nn.Parameter]:
    """Return the half-precision parameters of a module that has float32 ones, too."""
    if isinstance(module, (nn.ParameterList, nn.ParameterDict)):
        return []
    own = [p for p in _list_own_parameters(module) if p.is_floating_point()]
    half = [p for p in own if _is_half(p)]
    return half if len(half) < len(own) else []


def _widen_lone_parameters(model: nn.Module, adapters: Set[int]) -> List[nn.Parameter]:
    """Widen what a module with children holds itself, where these hold more (a class token, a bias of an attention).

    It is used with the children's outputs, which are float32 from the first float32 module on.
    """
    layout = Layout(model)
    found = []
    for module in layout.find_modules_with_wide_activations() if layout.is_mixed else []:
        own = [] if "parametrizations" in module._modules else list(module.parameters(recurse=False))
        if 0 < sum(p.numel() for p in own) < sum(p.numel() for child in module.children() for p in child.parameters()):
            found += [p for p in own if _is_half(p) and id(p) not in adapters]
    for p in found:
        _widen(p)
    return found


def _list_own_parameters(module: nn.Module) -> List[nn.Parameter]:
    """Return a module's own parameters, and those below it that its own operations use."""
    if _multiplies_by_childrens_weights(module):
        return list(module.parameters())
    behind = module._modules.get("parametrizations")  # of `parametrize`: what a weight is computed from
    inside = [] if behind is None else list(behind.parameters())
    return [p for p in [*module._parameters.values(), *inside] if p is not None]


def _multiplies_by_childrens_weights(module: nn.Module) -> bool:
    """Return whether it is torch's attention, or hands its children's weights to it, as WavLM does."""
    methods = (getattr(method, "__code__", None) for method in vars(type(module)).values())
    uses = any(code is not None and "multi_head_attention_forward" in code.co_names for code in methods)
    return uses or isinstance(module, nn.MultiheadAttention)


def _widen_buffers(model: nn.Module, widened: Set[int]) -> None:
    for module in model.modules():
        if any(id(p) in widened for p in _list_own_parameters(module)):
            for name, buffer in module._buffers.items():
                module._buffers[name] = to_float32(buffer)


def _find_adapter_parameters(model: nn.Module) -> Set[int]:
    return {id(p) for module in find_adapter_modules(model) for p in module._parameters.values() if p is not None}
