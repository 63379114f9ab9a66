"""Snapshots of a learner's parts that are restored exactly, on either fastai. Imports torch.

The originals are kept and later restored, and the learner goes on with copies: after a restore there are the same
tensors, the same gradient objects, the same lists.
"""

import copy
import random
import warnings
from collections import OrderedDict
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterable, Iterator, List, Set, Type, TypeVar, Union

import torch
from torch import Tensor, nn

from .protocols import LearnerLike
from .rng import preserve_rng_state

__all__ = [
    "Snapshot",
    "copy_callback",
    "copy_optimizer_state",
    "find_all_modules",
    "preserve_state",
    "preserve_training_modes",
]

Thing = TypeVar("Thing")


class Snapshot:
    """The saved state, in the order in which it was saved."""

    def __init__(self) -> None:
        self._things: List[Any] = []
        self._containers: List[Any] = []
        self._weights: List[Any] = []
        self._generators: List[Any] = []
        self._saved_ids: Set[int] = set()

    def restore(self) -> None:
        """Restore everything that was saved."""
        for thing, attributes in reversed(self._things):
            vars(thing).clear()
            vars(thing).update(attributes)
        for container, content in reversed(self._containers):
            _refill(container, content)
        for parameter, weight, gradient, wants in self._weights:
            parameter.data, parameter.grad = weight, gradient
            parameter.requires_grad_(wants)
        for set_state, state in self._generators:
            set_state(state)

    def save_weights(self, parameters: Iterable[Tensor], copy_values: bool = True) -> None:
        """Save each parameter's values, gradient and ``requires_grad``; it goes on with a copy and no gradient.

        Without `copy_values` it goes on with the values themselves, for what only reads them.
        """
        for parameter in parameters:
            if id(parameter) not in self._saved_ids:
                self._saved_ids.add(id(parameter))
                self._weights.append((parameter, parameter.data, parameter.grad, parameter.requires_grad))
                parameter.data, parameter.grad = parameter.data.clone() if copy_values else parameter.data, None

    def save_attributes(self, thing: Any) -> None:
        """Save an object's attributes, and the content of the lists, dicts and sets among them."""
        if id(thing) in self._saved_ids or not hasattr(thing, "__dict__") or isinstance(thing, type):
            return
        self._saved_ids.add(id(thing))
        self._things.append((thing, dict(vars(thing))))
        for value in vars(thing).values():
            self.save_container(value)

    def save_container(self, value: Any) -> None:
        """Save the content of a list, dict or set; anything else is left alone."""
        if isinstance(value, (list, dict, set)) and id(value) not in self._saved_ids:
            self._saved_ids.add(id(value))
            self._containers.append((value, _builtin_type_of(value)(value)))

    def save_generator(self, generator: Union[random.Random, torch.Generator]) -> None:
        """Save a generator's state."""
        if isinstance(generator, random.Random):
            self._generators.append((generator.setstate, generator.getstate()))
        else:
            self._generators.append((generator.set_state, generator.get_state()))

    def copy_buffers(self, modules: Iterable[nn.Module]) -> None:
        """Let modules whose attributes are saved go on with copies of their buffers."""
        for module in modules:
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = buffer.detach().clone()


@contextmanager
def preserve_state(save: Callable[[Snapshot], None]) -> Iterator[None]:
    """Restore on leaving whatever `save` has saved, random states and gradient mode.

    Warnings are silent inside.
    """
    memory, gradient_mode = Snapshot(), torch.is_grad_enabled()
    with preserve_rng_state(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            save(memory)
            yield
        finally:
            memory.restore()
            torch.set_grad_enabled(gradient_mode)


def _builtin_type_of(container: Any) -> Type[Any]:
    return next(kind for kind in (OrderedDict, dict, set, list) if isinstance(container, kind))


def _refill(container: Any, content: Any) -> None:
    """Refill with the built-in type's methods: transformers' outputs are dicts that refuse ``update``."""
    kind = _builtin_type_of(container)
    kind.clear(container)
    (list.extend if kind is list else kind.update)(container, content)


def copy_optimizer_state(state: Dict[Any, Any]) -> Dict[Any, Any]:
    """Copy an optimizer's state: the keys stay the same parameters, the values are copies."""
    made = copy.copy(state)
    made.update({p: _copy_values(values) for p, values in state.items()})
    return made


def _copy_values(values: Any) -> Any:
    """Copy a parameter's state; plain tensors are cloned, which takes a third of the time of a deep copy."""
    if type(values) is dict and all(
        isinstance(v, (Tensor, int, float, bool, str, type(None))) for v in values.values()
    ):
        return {name: _clone(value) for name, value in values.items()}
    return copy.deepcopy(values)


def _clone(value: Any) -> Any:
    is_plain = isinstance(value, Tensor) and not value.requires_grad and type(value) is Tensor
    return value.clone() if is_plain else copy.deepcopy(value)


def copy_with_shared(thing: Thing, shared: Iterable[Any]) -> Thing:
    """Copy `thing` with a state of its own that still refers to what is `shared`: the live learner and its parts."""
    memo: Dict[int, Any] = {id(one): one for one in shared if one is not None and one is not thing}
    try:
        made = type(thing).__new__(type(thing))
        memo[id(thing)] = made
        vars(made).update({name: copy.deepcopy(value, memo) for name, value in vars(thing).items()})
    except Exception:  # a lock, a file, a socket: shared then, as are its contents
        made = copy.copy(thing)
    return made


def copy_callback(callback: Thing, learn: LearnerLike, callback_class: Type[Any], parts: Iterable[Any]) -> Thing:
    """Copy a callback with a state of its own that still refers to the live learner, its model and its `parts`."""
    own = [value for value in vars(learn).values() if isinstance(value, callback_class)]
    model = [*find_all_modules(learn.model), *learn.model.parameters()]
    return copy_with_shared(callback, [learn, learn.model, learn.loss_func, *parts, *own, *model])


def find_all_modules(model: nn.Module) -> List[nn.Module]:
    """Find the model's modules, and those in its modules' plain lists, tuples and dicts."""
    found: Dict[int, nn.Module] = {}
    waiting: List[Any] = [model]
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, nn.Module):
            if id(thing) in found:
                continue
            found[id(thing)] = thing
            waiting += [m for m in thing._modules.values() if m is not None]
            waiting += [
                v
                for k, v in vars(thing).items()
                if k not in ("_modules", "_parameters", "_buffers")
                and (isinstance(v, nn.Module) or isinstance(v, (list, tuple, dict)) and v)
            ]
        elif isinstance(thing, (list, tuple)) and len(thing) < 1000:
            waiting += [v for v in thing if isinstance(v, (nn.Module, list, tuple, dict))]
        elif isinstance(thing, dict) and len(thing) < 1000:
            waiting += [v for v in thing.values() if isinstance(v, (nn.Module, list, tuple, dict))]
    return list(found.values())


@contextmanager
def preserve_training_modes(model: nn.Module) -> Iterator[None]:
    """Restore train or eval mode of each module on leaving."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
