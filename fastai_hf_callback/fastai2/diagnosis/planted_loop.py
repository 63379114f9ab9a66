"""``PlantedLoop`` for fastai 2: fits on batches that are handed to its loop."""

from contextlib import contextmanager, suppress
from typing import Any, Callable, Iterator, List, Sequence

import torch
from fastai.callback.core import (
    Callback,
    CancelEpochException,
    CancelFitException,
    CancelTrainException,
    CancelValidException,
    TrainEvalCallback,
)
from fastai.learner import CastToTensor, Learner
from fastai.optimizer import Adam
from fastai.torch_core import trainable_params
from fastcore.foundation import L

from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.diagnosis.substitution.locate import is_own_code
from fastai_hf_callback.diagnosis.substitution.loop import StepCounter, reaches_training
from fastai_hf_callback.fastai2.callback import HFCallback
from fastai_hf_callback.fastai2.compat.training_loop import find_active_patch

from .callback_replay import copy_without_checks, is_batch_callback, is_bystander, to_fastai_batch
from .fixes import FIXES
from .learner_adapter import LearnerAdapter

__all__ = ["PlantedLoop"]


class PlantedLoop:
    """The loop of one fastai 2 learner.

    Parameters
    ----------
    adapter : LearnerAdapter
    """

    def __init__(self, adapter: LearnerAdapter):
        self.adapter, self._counter = adapter, StepCounter()

    @property
    def learn(self) -> Learner:
        return self.adapter.learn

    def list_callbacks(self) -> List[Callback]:
        return [
            callback
            for callback in self.learn.cbs
            if not isinstance(callback, _FASTAIS_OWN) and (is_batch_callback(callback) or _runs_by_epoch(callback))
        ]

    def copy_callbacks(self, callbacks: Sequence[Callback]) -> List[Callback]:
        needed = [callback for callback in self.learn.cbs if isinstance(callback, _FASTAIS_OWN)]
        return [
            copy_without_checks(callback, self.learn) for callback in [*(needed or [TrainEvalCallback()]), *callbacks]
        ]

    def is_bridge(self, callback: Callback) -> bool:
        return isinstance(callback, HFCallback)

    def make_bridge(self) -> Callback:
        return HFCallback(check=False)

    def name_own_loop(self) -> str:
        patch = find_active_patch()
        if patch is not None:
            return f"the patched loop of {patch}"
        own = [name for name in _LOOP_METHODS if name in vars(self.learn)]
        if own:
            return f"the learner's own `{own[0]}`"
        changed = [n for n in _LOOP_METHODS if getattr(type(self.learn), n, None) is not getattr(Learner, n, None)]
        return f"`{type(self.learn).__name__}.{changed[0]}`" if changed else ""

    @contextmanager
    def restore_loop(self) -> Iterator[None]:
        learn, own_class = self.learn, type(self.learn)
        for name in _LOOP_METHODS:
            vars(learn).pop(name, None)
        if find_active_patch() is not None:
            FIXES["restore-loop"].apply(learn)  # type: ignore[misc]  # this row has a function
        learn.__class__ = Learner
        try:
            yield
        finally:
            learn.__class__ = own_class

    def has_optimizer(self) -> bool:
        return self.learn.opt is not None

    def renew_optimizer(self, lr: float, is_new_model: bool) -> None:
        self.learn.opt = None
        try:
            self.learn.create_opt()
        except Exception:
            if not is_new_model:
                raise
            self.learn.splitter = trainable_params
            self.learn.create_opt()
        if self.learn.opt is not None and self.learn.wd is not None:
            self.learn.opt.set_hypers(wd=self.learn.wd)

    def use_adam(self, lr: float) -> None:
        self.learn.opt = Adam([p for p in self.learn.model.parameters() if p.requires_grad], lr=lr)

    def run_fit(
        self,
        epochs: Sequence[Sequence[Batch]],
        callbacks: Sequence[Callback],
        before_step: Callable[[Batch], None],
        on_output: Callable[[Any, Any], bool],
    ) -> None:
        learn = self.learn
        watcher = _OutputWatcher(on_output)
        learn.cbs = L([*callbacks, watcher])
        for callback in learn.cbs:
            vars(callback)["learn"] = learn
            vars(learn)[callback.name] = callback
        learn.n_epoch, learn.epoch, learn.iter, learn.train_iter, learn.pct_train = len(epochs), 0, 0, 0, 0.0
        self._counter.watch(learn.opt)
        with torch.enable_grad(), suppress(CancelFitException):
            learn("before_fit")
            for number, batches in enumerate(epochs):
                with suppress(CancelEpochException):
                    self._run_epoch(number, batches, before_step, watcher)
                learn("after_epoch")
                if watcher.ends:
                    break
            learn("after_fit")

    def _run_epoch(
        self, number: int, batches: Sequence[Batch], before_step: Callable[[Batch], None], watcher: "_OutputWatcher"
    ) -> None:
        learn = self.learn
        learn.epoch, learn.dl, learn.n_iter = number, learn.dls[0], len(batches)
        learn("before_epoch")
        learn.model.train()
        learn.training = True
        with suppress(CancelTrainException, CancelValidException):
            learn("before_train")
            for i, batch in enumerate(batches):
                before_step(batch)
                learn.one_batch(i, to_fastai_batch(batch))
                if watcher.ends:
                    break
        learn("after_train")

    def count_steps(self) -> int:
        return self._counter.steps


class _OutputWatcher(Callback):
    """The last callback of all: passes on what reached the loss, when the batch is over."""

    order, name = 4000, "planted_output"

    def __init__(self, on_output: Callable[[Any, Any], bool]):
        self.on_output, self.ends, self.output = on_output, False, None

    def after_pred(self) -> None:
        self.output = self.learn.pred

    def after_batch(self) -> None:
        if self.learn.training and self.output is not None:
            self.ends = self.on_output(self.output, self.learn.loss)
            self.output = None


_FASTAIS_OWN = (TrainEvalCallback, CastToTensor)  # every learner has them
_LOOP_METHODS = ("_do_one_batch", "one_batch", "_backward", "_step", "_split", "_with_events", "_do_grad_opt")


def _runs_by_epoch(callback: Callback) -> bool:
    return not is_bystander(callback) and reaches_training(type(callback), is_own_code(callback))
