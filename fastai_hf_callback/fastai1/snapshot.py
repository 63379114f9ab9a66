"""Everything a learner is made of, set aside and put back: what lets an examination change nothing.

The originals are set aside and copies are handed out, so that putting back is exact: the same tensors, the same
gradient objects, the same lists.
"""
import copy
import warnings
from collections import defaultdict
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Set

import torch
from fastai import basic_train
from fastai.basic_train import Learner
from fastai.callback import Callback
from torch import Tensor, nn

from ..rng import rng_preserved
from .quiet import quiet

__all__ = ["everything_put_back", "every_module", "callback_copy"]


@contextmanager
def everything_put_back(learn: Learner) -> Iterator[None]:
    """Inside, the learner may be trained, switched and broken; on leaving it is what it was.

    Put back, also when an exception passes through: weights, gradients, buffers, modes and attributes of every
    module (those in plain lists too), the optimizer with its state and hyper-parameters, callbacks, metrics, loss
    function, loaders and data sets (attributes, and lists or dicts among them), fastai's loop, random states,
    gradient mode, warnings. Files are not: callbacks that write are not called (see ``probe``).
    """
    memory = _Memory()
    patch, gradient_mode = basic_train.loss_batch, torch.is_grad_enabled()
    with rng_preserved(), warnings.catch_warnings(), quiet(learn):
        warnings.simplefilter("ignore")
        try:
            memory.set_aside(learn)
            yield
        finally:
            memory.put_back()
            basic_train.loss_batch = patch
            torch.set_grad_enabled(gradient_mode)


class _Memory:
    """What was there, in the order in which it has to come back."""

    def __init__(self) -> None:
        self.attributes: List[Any] = []
        self.containers: List[Any] = []
        self.weights: List[Any] = []
        self.known: Set[int] = set()

    def set_aside(self, learn: Learner) -> None:
        modules = every_module(learn.model)
        optimizer = learn.__dict__.get("opt")
        self._weights([p for m in modules for p in m._parameters.values() if p is not None])
        self._weights([p for group in learn.layer_groups for p in group.parameters()])
        self._weights([p for group in getattr(optimizer, "param_groups", None) or [] for p in group["params"]])
        for part in [learn, *_parts_of(learn), *modules]:
            self._attributes(part)
        for module in modules:
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = buffer.detach().clone()
        if optimizer is not None:
            self._optimizer(optimizer)

    def put_back(self) -> None:
        for thing, attributes in reversed(self.attributes):
            vars(thing).clear()
            vars(thing).update(attributes)
        for container, content in reversed(self.containers):
            container.clear()
            (container.update if isinstance(container, (dict, set)) else container.extend)(content)
        for parameter, weight, gradient, wants in self.weights:
            parameter.data, parameter.grad = weight, gradient
            parameter.requires_grad_(wants)

    def _weights(self, parameters: List[Tensor]) -> None:
        for parameter in parameters:
            if id(parameter) not in self.known:
                self.known.add(id(parameter))
                self.weights.append((parameter, parameter.data, parameter.grad, parameter.requires_grad))
                parameter.data, parameter.grad = parameter.data.clone(), None

    def _attributes(self, thing: Any) -> None:
        if id(thing) in self.known or not hasattr(thing, "__dict__") or isinstance(thing, type):
            return
        self.known.add(id(thing))
        self.attributes.append((thing, dict(vars(thing))))
        for value in vars(thing).values():
            self._container(value)

    def _container(self, value: Any) -> None:
        if isinstance(value, (list, dict, set)) and id(value) not in self.known:
            self.known.add(id(value))
            self.containers.append((value, copy.copy(value)))

    def _optimizer(self, wrapper: Any) -> None:
        inner = getattr(wrapper, "opt", None)
        if inner is None:
            return
        for group in inner.param_groups:
            self._container(group)
            self._container(group["params"])
        # Keys stay the very parameters, values are copies.
        inner.state = defaultdict(dict, {p: copy.deepcopy(state) for p, state in inner.state.items()})


def _parts_of(learn: Learner) -> List[Any]:
    optimizer = learn.__dict__.get("opt")
    callbacks = [value for value in [*learn.callbacks, *learn.metrics, *vars(learn).values()]
                 if isinstance(value, Callback)]
    loaders = [dl for dl in vars(learn.data).values() if hasattr(dl, "dl")]
    inner = [dl.dl for dl in loaders]
    samplers = [getattr(dl, name, None) for dl in inner for name in ("sampler", "batch_sampler", "dataset")]
    parts = [optimizer, getattr(optimizer, "opt", None), *callbacks, learn.loss_func, learn.data, *loaders, *inner,
             *samplers]
    return [part for part in parts if part is not None]


def every_module(model: nn.Module) -> List[nn.Module]:
    """The model's modules, and those in its modules' plain lists, tuples and dicts."""
    found: Dict[int, nn.Module] = {}
    waiting: List[Any] = [model]
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, nn.Module):
            if id(thing) in found:
                continue
            found[id(thing)] = thing
            waiting += [m for m in thing._modules.values() if m is not None]
            waiting += [v for k, v in vars(thing).items() if k not in ("_modules", "_parameters", "_buffers")
                        and isinstance(v, (list, tuple, dict, nn.Module))]
        elif isinstance(thing, (list, tuple)) and len(thing) < 1000:
            waiting += [v for v in thing if isinstance(v, (nn.Module, list, tuple, dict))]
        elif isinstance(thing, dict) and len(thing) < 1000:
            waiting += [v for v in thing.values() if isinstance(v, (nn.Module, list, tuple, dict))]
    return list(found.values())


def callback_copy(callback: Callback, learn: Learner) -> Callback:
    """A copy with a state of its own that still refers to the live learner, its model and its optimizer."""
    shared = [learn, learn.model, learn.data, learn.loss_func, learn.__dict__.get("opt"), *learn.callbacks,
              *(v for v in vars(learn).values() if isinstance(v, Callback)), *every_module(learn.model),
              *learn.model.parameters(), *learn.layer_groups]
    memo = {id(thing): thing for thing in shared if thing is not None and thing is not callback}
    try:
        made = type(callback).__new__(type(callback))
        vars(made).update({name: copy.deepcopy(value, memo) for name, value in vars(callback).items()})
    except Exception:  # a lock, a file, a socket: shared then, as are its contents
        made = copy.copy(callback)
    return made
