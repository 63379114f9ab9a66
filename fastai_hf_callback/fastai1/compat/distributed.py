"""The parts of ``heal`` for several processes, on fastai 1; they leave a fit of one process alone.

Only a process group could show whether they are needed, so they are there wherever ``fastai.distributed`` is loaded.
"""

from functools import wraps
from typing import Any, ContextManager, Dict
from unittest.mock import patch

from fastai.basic_train import Learner
from torch import nn

from fastai_hf_callback.compat.patching import Patch, when_loaded

__all__ = ["DISTRIBUTED_PATCHES"]


@when_loaded("fastai.distributed")
def _patch_distributed_on_cpu(distributed: Any) -> ContextManager[Any]:
    original = distributed.DistributedDataParallel

    @wraps(original, updated=())
    def on_its_device(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if all(parameter.device.type == "cpu" for parameter in module.parameters()):
            kwargs.update(device_ids=None, output_device=None)
        return original(module, *args, **kwargs)

    return patch.object(distributed, "DistributedDataParallel", on_its_device)


@when_loaded("fastai.distributed")
def _patch_validate(distributed: Any) -> ContextManager[Any]:
    original, ours = Learner.validate, (distributed.DistributedTrainer, distributed.DistributedRecorder)

    @wraps(original)
    def validate(self: Learner, *args: Any, **kwargs: Any) -> Any:
        """Validate without ``DistributedTrainer``, which wraps the model and here gets no event to unwrap it."""
        with patch.object(
            self, "callbacks", [callback for callback in self.callbacks if not isinstance(callback, ours)]
        ):
            return original(self, *args, **kwargs)

    return patch.object(Learner, "validate", validate)


@when_loaded("fastai.distributed")
def _patch_metrics(distributed: Any) -> ContextManager[Any]:
    original = distributed.DistributedTrainer.on_train_begin

    @wraps(original)
    def on_train_begin(self: Any, **kwargs: Any) -> None:
        original(self, **kwargs)
        if vars(self).get("old_valid_dl") is not None:
            self.learn.data.valid_dl = self.old_valid_dl

    return patch.object(distributed.DistributedTrainer, "on_train_begin", on_train_begin)


DISTRIBUTED_PATCHES: Dict[str, Patch] = {
    "distributed-on-cpu": _patch_distributed_on_cpu,
    "distributed-validate": _patch_validate,
    "distributed-metrics": _patch_metrics,
}
