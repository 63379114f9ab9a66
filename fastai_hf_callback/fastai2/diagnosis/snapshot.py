"""Saving and restoring everything a fastai 2 learner is made of, so that an examination changes nothing."""

import copy
import random
from contextlib import contextmanager
from functools import partial
from typing import Any, Iterator, List

import torch
from fastai.callback.core import Callback
from fastai.learner import Learner, Metric
from fastcore.foundation import L
from torch import Tensor

from fastai_hf_callback.compat.autocast import preserve_autocast
from fastai_hf_callback.fastai2.compat.no_progress import no_progress
from fastai_hf_callback.model.loss.own_loss import list_losses
from fastai_hf_callback.utils import snapshot
from fastai_hf_callback.utils.snapshot import (
    Snapshot,
    copy_optimizer_state,
    find_all_modules,
    preserve_state,
)

__all__ = ["preserve_everything", "copy_callback"]


@contextmanager
def preserve_everything(learn: Learner, copy_weights: bool = True) -> Iterator[None]:
    """Restore the learner on leaving, even if it was trained, switched or broken inside.

    Without `copy_weights` nothing inside may change weights in place.

    fastai's loop and autocast are restored, too. Files are not: callbacks that write are not called (see
    ``callback_replay``).
    """
    patch = Learner._do_one_batch
    with no_progress(learn), preserve_state(partial(_save_state, learn, copy_weights)), _preserve_autocast():
        try:
            yield
        finally:
            Learner._do_one_batch = patch


def copy_callback(callback: Callback, learn: Learner) -> Callback:
    """Copy a callback with a state of its own that still refers to the live learner."""
    parts = [learn.dls, *_get_loaders(learn), learn.opt, *learn.cbs, *learn.metrics, *list_losses(learn.loss_func)]
    return snapshot.copy_callback(callback, learn, Callback, parts)


def _save_state(learn: Learner, copy_weights: bool, memory: Snapshot) -> None:
    for generator in _list_generators(learn):
        memory.save_generator(generator)
    modules, optimizer = find_all_modules(learn.model), learn.opt
    memory.save_weights([p for m in modules for p in m._parameters.values() if p is not None], copy_weights)
    memory.save_weights(_list_parameters(optimizer), copy_weights)
    for part in [learn, *_list_stateful_objects(learn), *modules]:
        memory.save_attributes(part)
        for value in [v for v in vars(part).values() if isinstance(v, L)]:  # it keeps what it holds in an attribute
            memory.save_attributes(value)
    memory.copy_buffers(modules)
    if optimizer is not None:
        _save_optimizer_state(optimizer, memory)


def _save_optimizer_state(optimizer: Any, memory: Snapshot) -> None:
    held = {id(p): p for p in _list_parameters(optimizer)}
    inner = vars(optimizer).get("opt")  # torch's in an OptimWrapper, fastai's in a Lookahead
    for part in (optimizer,) if inner is None else (optimizer, inner):
        memory.save_attributes(part)
        for group in [g for name in ("hypers", "param_lists", "param_groups") for g in getattr(part, name, [])]:
            (memory.save_attributes if isinstance(group, L) else memory.save_container)(group)
            memory.save_container(group.get("params") if isinstance(group, dict) else None)
        for name, value in list(vars(part).items()):
            if name == "state":
                part.state = copy_optimizer_state(value)
            elif name not in ("hypers", "param_lists", "param_groups") and isinstance(value, (list, tuple, dict)):
                vars(part)[name] = copy.deepcopy(value, dict(held))  # a Lookahead's slow weights


def _list_parameters(optimizer: Any) -> List[Tensor]:
    return [] if optimizer is None else [p for group in optimizer.param_lists for p in group]


def _list_stateful_objects(learn: Learner) -> List[Any]:
    callbacks = [value for value in [*learn.cbs, *vars(learn).values()] if isinstance(value, Callback)]
    metrics = [value for holder in callbacks for value in vars(holder).values() if isinstance(value, Metric)]
    loaders = _get_loaders(learn)
    inside = [
        vars(dl).get(name)
        for dl in loaders
        if hasattr(dl, "__dict__")
        for name in ("dataset", "sampler", "batch_sampler", "fake_l")
    ]
    parts = [
        learn.opt,
        *callbacks,
        *learn.metrics,
        *metrics,
        *list_losses(learn.loss_func),
        learn.dls,
        *loaders,
        *inside,
    ]
    return [part for part in parts if hasattr(part, "__dict__") and not isinstance(part, type)]


def _get_loaders(learn: Learner) -> List[Any]:
    return list(getattr(learn.dls, "loaders", []))


def _list_generators(learn: Learner) -> List[Any]:
    """List the loaders' generators: fastai's draw from one of their own, torch's from one that they may be given."""
    return [
        value
        for loader in _get_loaders(learn)
        for holder in (loader, getattr(loader, "sampler", None))
        for value in getattr(holder, "__dict__", {}).values()
        if isinstance(value, (random.Random, torch.Generator))
    ]


@contextmanager
def _preserve_autocast() -> Iterator[None]:
    """Restore autocast, and cache no cast weights inside.

    torch empties that cache at the outermost level only; weights change below it here: a step would go by unseen.
    """
    cached = torch.is_autocast_cache_enabled()
    with preserve_autocast():
        torch.set_autocast_cache_enabled(False)
        try:
            yield
        finally:
            torch.set_autocast_cache_enabled(cached)
