"""The parts of ``heal`` that concern several processes, on fastai 1; a fit of one process is not touched by them.

Only a process group could show whether they are needed, so they are there wherever ``fastai.distributed`` is loaded.
"""

import sys
from functools import wraps
from types import ModuleType
from typing import Any, ContextManager, Dict, Optional

from fastai.basic_train import Learner

from fastai_hf_callback.compat.patching import Patch, replace_attributes

__all__ = ["DISTRIBUTED_PATCHES"]


def _get_distributed_module() -> Optional[ModuleType]:
    return sys.modules.get("fastai.distributed")


def _patch_distributed_on_cpu() -> Optional[ContextManager[None]]:
    distributed = _get_distributed_module()
    if distributed is None:
        return None
    original = distributed.DistributedDataParallel

    @wraps(original, updated=())
    def on_its_device(module, *args, **kwargs):
        if all(parameter.device.type == "cpu" for parameter in module.parameters()):
            kwargs.update(device_ids=None, output_device=None)
        return original(module, *args, **kwargs)

    return replace_attributes(distributed, DistributedDataParallel=on_its_device)


def _patch_validate() -> Optional[ContextManager[None]]:
    distributed = _get_distributed_module()
    if distributed is None:
        return None
    original, ours = Learner.validate, (distributed.DistributedTrainer, distributed.DistributedRecorder)

    @wraps(original)
    def validate(self, *args, **kwargs):
        """fastai's without ``DistributedTrainer``, which wraps the model at a beginning and here sees no end."""
        callbacks = self.callbacks
        self.callbacks = [callback for callback in callbacks if not isinstance(callback, ours)]
        try:
            return original(self, *args, **kwargs)
        finally:
            self.callbacks = callbacks

    return replace_attributes(Learner, validate=validate)


def _patch_metrics() -> Optional[ContextManager[None]]:
    distributed = _get_distributed_module()
    if distributed is None:
        return None
    original = distributed.DistributedTrainer.on_train_begin

    @wraps(original)
    def on_train_begin(self: Any, **kwargs: Any) -> None:
        original(self, **kwargs)
        if vars(self).get("old_valid_dl") is not None:
            self.learn.data.valid_dl = self.old_valid_dl

    return replace_attributes(distributed.DistributedTrainer, on_train_begin=on_train_begin)


DISTRIBUTED_PATCHES: Dict[str, Patch] = {
    "distributed-on-cpu": _patch_distributed_on_cpu,
    "distributed-validate": _patch_validate,
    "distributed-metrics": _patch_metrics,
}
