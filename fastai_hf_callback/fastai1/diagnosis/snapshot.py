"""Saving and restoring everything a fastai 1 learner is made of, so that an examination changes nothing."""

from contextlib import contextmanager
from functools import partial
from typing import Any, Iterator, List

from fastai import basic_train
from fastai.basic_train import Learner
from fastai.callback import Callback

from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from fastai_hf_callback.model.loss.own_loss import list_losses
from fastai_hf_callback.utils.snapshot import (
    Snapshot,
    copy_optimizer_state,
    find_all_modules,
    preserve_state,
)

__all__ = ["preserve_everything"]


@contextmanager
def preserve_everything(learn: Learner, copy_weights: bool = True) -> Iterator[None]:
    """Restore the learner on leaving, even if it was trained, switched or broken inside.

    Without `copy_weights` nothing inside may change weights in place.

    fastai's loop is restored, too. Files are not: callbacks that write are not called (see ``callback_replay``).
    """
    patch = basic_train.loss_batch
    with no_progress(learn), preserve_state(partial(_save_state, learn, copy_weights)):
        try:
            yield
        finally:
            basic_train.loss_batch = patch


def _save_state(learn: Learner, copy_weights: bool, memory: Snapshot) -> None:
    modules = find_all_modules(learn.model)
    optimizer = learn.__dict__.get("opt")
    memory.save_weights([p for m in modules for p in m._parameters.values() if p is not None], copy_weights)
    memory.save_weights([p for group in learn.layer_groups for p in group.parameters()], copy_weights)
    memory.save_weights(
        [p for group in getattr(optimizer, "param_groups", None) or [] for p in group["params"]], copy_weights
    )
    for part in [learn, *_list_stateful_objects(learn), *modules]:
        memory.save_attributes(part)
    memory.copy_buffers(modules)
    inner = getattr(optimizer, "opt", None)
    if inner is not None:
        for group in inner.param_groups:
            memory.save_container(group)
            memory.save_container(group["params"])
        inner.state = copy_optimizer_state(inner.state)


def _list_stateful_objects(learn: Learner) -> List[Any]:
    optimizer = learn.__dict__.get("opt")
    callbacks = [
        value for value in [*learn.callbacks, *learn.metrics, *vars(learn).values()] if isinstance(value, Callback)
    ]
    loaders = [dl for dl in vars(learn.data).values() if hasattr(dl, "dl")]
    inner = [dl.dl for dl in loaders]
    samplers = [getattr(dl, name, None) for dl in inner for name in ("sampler", "batch_sampler", "dataset")]
    parts = [
        optimizer,
        getattr(optimizer, "opt", None),
        *callbacks,
        *list_losses(learn.loss_func),
        learn.data,
        *loaders,
        *inner,
        *samplers,
    ]
    return [part for part in parts if part is not None]
