"""Forward calls: the ids and arguments that a model's modules are given, and which modules run. Imports torch.

Hooks and wrapped ``forward`` methods are removed when the ``with`` block ends.
"""

import copy
import functools
import inspect
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence

import torch
from torch import Tensor, nn

from fastai_hf_callback.model.wrapper import MASK_NAMES

__all__ = [
    "EmbeddingCall",
    "find_config",
    "is_mask",
    "record_arguments",
    "record_embedding_calls",
    "record_executed_modules",
    "takes_mask",
]


class EmbeddingCall(NamedTuple):
    """An ``nn.Embedding`` and the integer tensor that it was given."""

    embedding: nn.Embedding
    ids: Tensor


@contextmanager
def record_embedding_calls(model: nn.Module) -> Iterator[List[EmbeddingCall]]:
    """Collect the tables that every ``nn.Embedding`` is given."""
    calls: List[EmbeddingCall] = []

    def record(embedding: Any, args: Sequence[Any]) -> None:
        if args and isinstance(args[0], Tensor) and args[0].dim() == 2 and not _receives_mask(embedding, args[0]):
            calls.append(EmbeddingCall(embedding, args[0].detach().clone()))

    with _forward_pre_hooks([m for m in model.modules() if isinstance(m, nn.Embedding)], record):
        yield calls


def _receives_mask(module: nn.Module, given: Tensor) -> bool:
    """Return whether an embedding is given a mask: OPT's and BioGPT's count positions from it in their own forward."""
    return type(module).forward is not nn.Embedding.forward and is_mask(given)


def is_mask(table: Tensor) -> bool:
    """Return whether a table holds nothing but 0 and 1."""
    return table.dtype == torch.bool or bool(((table == 0) | (table == 1)).all())


@contextmanager
def record_executed_modules(model: nn.Module) -> Iterator[List[nn.Module]]:
    """Collect, in the order of their calls, the modules that have parameters of their own."""
    calls: List[nn.Module] = []
    own = [m for m in model.modules() if any(p is not None for p in m._parameters.values())]
    with _forward_pre_hooks(own, lambda module, args: calls.append(module)):
        yield calls


@contextmanager
def _forward_pre_hooks(modules: Sequence[nn.Module], hook: Callable[[Any, Any], None]) -> Iterator[None]:
    with ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_pre_hook(hook).remove)
        yield


@contextmanager
def record_arguments(model: nn.Module) -> Iterator[List[Dict[str, Any]]]:
    """Collect by name what every module is given whose ``forward`` takes ``input_ids``."""
    calls: List[Dict[str, Any]] = []
    watched = [m for m in model.modules() if _takes_ids(m)]
    for module in watched:
        vars(module)["forward"] = _RecordingForward(module.forward, calls)
    try:
        yield calls
    finally:
        for module in watched:
            del vars(module)["forward"]


class _RecordingForward:
    """A module's ``forward`` that records its arguments; a copy of the module made meanwhile has its own again."""

    is_transparent = True  # for ``HFModel``, which need not read the signature again

    def __init__(self, forward: Any, calls: List[Dict[str, Any]]):
        functools.update_wrapper(self, forward)
        self.forward, self.calls, self.signature = forward, calls, inspect.signature(forward)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:  # noqa: SIM105  it runs in every forward pass
            self.calls.append(dict(self.signature.bind(*args, **kwargs).arguments))
        except TypeError:  # the call itself will raise
            pass
        return self.forward(*args, **kwargs)

    def __deepcopy__(self, memo: Dict[int, Any]) -> Any:
        return copy.deepcopy(self.forward, memo)


def _takes_ids(module: nn.Module) -> bool:
    if "forward" in vars(module):
        return False
    try:
        names = inspect.signature(module.forward).parameters
    except (TypeError, ValueError):
        return False
    return "input_ids" in names and len(names) > 1


def takes_mask(model: nn.Module) -> bool:
    """Return whether a module that takes ``input_ids`` takes a mask too, or may; True where none takes ids."""
    accepting = [m for m in model.modules() if _takes_ids(m)]
    return not accepting or any(
        name in MASK_NAMES for m in accepting for name in inspect.signature(m.forward).parameters
    )


def find_config(model: nn.Module) -> Any:
    """Find the outermost config among a model's modules; None where none has one."""
    return next((m.config for m in model.modules() if getattr(m, "config", None) is not None), None)
