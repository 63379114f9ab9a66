"""``PlantedLoop`` for fastai 1: fits on batches that are handed to its loop."""

from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Sequence

import torch
from fastai import basic_train
from fastai.basic_train import Learner, Recorder
from fastai.callback import Callback, CallbackHandler, OptimWrapper
from torch import nn

from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.diagnosis.substitution.locate import is_own_code
from fastai_hf_callback.diagnosis.substitution.loop import StepCounter, reaches_training
from fastai_hf_callback.fastai1.callback import HFCallback
from fastai_hf_callback.fastai1.compat.no_progress import SilentProgressBar
from fastai_hf_callback.fastai1.compat.training_loop import find_active_patch

from .callback_replay import copy_without_checks, is_batch_callback
from .fixes import FIXES
from .learner_adapter import LearnerAdapter

__all__ = ["PlantedLoop"]


class PlantedLoop:
    """The loop of one fastai 1 learner.

    Parameters
    ----------
    adapter : LearnerAdapter
    """

    def __init__(self, adapter: LearnerAdapter):
        self.adapter, self._counter = adapter, StepCounter()

    @property
    def learn(self) -> Learner:
        return self.adapter.learn

    def list_callbacks(self) -> List[Any]:
        """List callbacks, and what makes some for each fit: ``callback_fns``."""
        makers = [fn for fn in self.learn.callback_fns if getattr(fn, "func", fn) is not Recorder]
        given = [callback for callback in self.learn.callbacks if isinstance(callback, Callback)]
        return [one for one in [*given, *makers] if _takes_part(one)]

    def copy_callbacks(self, callbacks: Sequence[Any]) -> List[Callback]:
        made = [one if isinstance(one, Callback) else one(self.learn) for one in callbacks]
        return [copy_without_checks(callback, self.learn) for callback in made]

    def is_bridge(self, callback: Any) -> bool:
        return isinstance(callback, HFCallback)

    def make_bridge(self) -> Callback:
        return HFCallback(check=False)

    def name_own_loop(self) -> str:
        patch = find_active_patch()
        return "" if patch is None else f"the patched loop of {patch}"

    @contextmanager
    def restore_loop(self) -> Iterator[None]:
        FIXES["restore-loop"].apply(self.learn)  # type: ignore[misc]  # this row has a function
        yield

    def has_optimizer(self) -> bool:
        return bool(vars(self.learn).get("opt"))

    def renew_optimizer(self, lr: float, is_new_model: bool) -> None:
        if is_new_model:
            self.learn.layer_groups = [nn.Sequential(self.learn.model)]
        self.learn.create_opt(lr, self.learn.wd)

    def use_adam(self, lr: float) -> None:
        groups = [nn.Sequential(self.learn.model)]
        self.learn.opt = OptimWrapper.create(torch.optim.Adam, lr, groups, wd=0.0, true_wd=True, bn_wd=True)

    def run_fit(
        self,
        epochs: Sequence[Sequence[Batch]],
        callbacks: Sequence[Callback],
        before_step: Callable[[Batch], None],
        on_output: Callable[[Any, Any], bool],
    ) -> None:
        learn, watcher = self.learn, _OutputWatcher(on_output)
        handler = CallbackHandler([*callbacks, watcher])
        self._counter.watch(learn.opt)
        learn.model.train()
        handler.on_train_begin(len(epochs), pbar=SilentProgressBar(range(1)), metrics=[])
        for batches in epochs:
            learn.model.train()
            handler.on_epoch_begin()
            for batch in batches:
                before_step(batch)
                xb, yb = handler.on_batch_begin(batch.xb, batch.yb)
                loss = basic_train.loss_batch(learn.model, xb, yb, learn.loss_func, learn.opt, handler)
                if handler.on_batch_end(loss) or watcher.ends:
                    break
            if handler.on_epoch_end(None) or watcher.ends:
                break
        handler.on_train_end(False)

    def count_steps(self) -> int:
        return self._counter.steps


class _OutputWatcher(Callback):
    """The last callback of all: passes on what reached the loss, when the batch is over."""

    _order = 4000

    def __init__(self, on_output: Callable[[Any, Any], bool]):
        self.on_output, self.ends, self.output = on_output, False, None

    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> None:
        self.output = last_output

    def on_batch_end(self, last_loss: Any, **kwargs: Any) -> None:
        self.ends, self.output = self.on_output(self.output, last_loss), None


def _takes_part(callback: Any) -> bool:
    if isinstance(callback, Callback):
        return is_batch_callback(callback) or _runs_by_epoch(type(callback))
    made = getattr(callback, "func", callback)
    if not isinstance(made, type) or not issubclass(made, Callback):
        return True  # a function that makes one
    return is_batch_callback(made.__new__(made)) or _runs_by_epoch(made)


def _runs_by_epoch(callback_class: type) -> bool:
    is_bystander = issubclass(callback_class, Recorder) or getattr(callback_class, "_is_read_only", False)
    return not is_bystander and reaches_training(callback_class, is_own_code(callback_class))
