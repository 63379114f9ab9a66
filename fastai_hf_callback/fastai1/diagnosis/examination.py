"""One examination of a live fastai 1 learner; lives inside ``preserve_everything``. See ``probe``.

What is common to both fastais stands in the core's ``examination.py``.
"""

from typing import Any, Callable, List, Optional, Tuple

import torch
from fastai import basic_train
from fastai.basic_train import Learner, Recorder
from fastai.callback import Callback, CallbackHandler
from torch import Tensor

from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.diagnosis.checks.failures import classify_exception
from fastai_hf_callback.diagnosis.examination import AnyExamination, format_error
from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.diagnosis.probes.inputs import TokenView
from fastai_hf_callback.diagnosis.probes.labels import SampledRows
from fastai_hf_callback.errors import FastaiHFError
from fastai_hf_callback.fastai1.callback import HFCallback
from fastai_hf_callback.fastai1.compat.no_progress import SilentProgressBar
from fastai_hf_callback.fastai1.compat.training_loop import find_active_patch
from fastai_hf_callback.fastai1.data.dataset import TextList
from fastai_hf_callback.results.evidence import History, HyperParams, MetricEvidence, Wiring

from .batches import draw_rows, read_batches
from .callback_replay import (
    CallbackMonitor,
    StepEventForwarder,
    copy_without_checks,
    count_simulated_steps,
    find_peak_lr,
    is_batch_callback,
)
from .history import read_history, read_hyperparameters, set_learning_rate
from .metric_probe import probe_metrics
from .step_monitor import RawLossRecorder, StepMonitor, find_master_copies

__all__ = ["Examination"]

PROBING_LR = 1e-4  # where no fit has named a rate, one is needed for the steps and is not judged


class Examination(AnyExamination):
    """One examination; lives inside ``preserve_everything``."""

    def wiring(self) -> Wiring:
        return Wiring(
            patch=find_active_patch(), hf_callback=any(isinstance(cb, HFCallback) for cb in self.learn.callbacks)
        )

    def has_validation(self) -> bool:
        return not self.learn.data.empty_val

    def training_batches(self) -> List[Batch]:
        return read_batches(self.learn.data.train_dl, self.n_batches)

    def validation_batches(self, n: int) -> List[Batch]:
        return read_batches(self.learn.data.valid_dl, n)

    def draw_rows(self, train: bool, ids_index: Optional[int], pad_ids: List[int]) -> Optional[SampledRows]:
        data = self.learn.data
        return draw_rows(data.train_dl if train else data.valid_dl, ids_index, pad_ids)

    def past(self) -> Tuple[Optional[History], HyperParams]:
        return read_history(self.learn), read_hyperparameters(self.learn)

    def has_master_copies(self) -> bool:
        return bool(find_master_copies(self.learn))

    def collect_metric_evidence(self, outputs: List[Tensor], targets: List[Tensor]) -> List[MetricEvidence]:
        return probe_metrics(self.learn.metrics, outputs, targets, self.learn.loss_func)

    def encoder(self) -> Optional[TextEncoder]:
        texts = getattr(self.learn.data.train_ds, "x", None)
        return texts.encoder if isinstance(texts, TextList) else None

    def foreign_tokens(self, views: List[TokenView]) -> List[str]:
        return _find_fastai_tokens(self.learn, views)

    # -- the two paths to the loss ----------------------------------------------------------------------------

    def prepare_callbacks(self) -> bool:
        learn, evidence = self.learn, self.evidence
        copies = [copy_without_checks(cb, learn) for cb in learn.callbacks]
        if any(not isinstance(cb, Callback) for cb in copies):
            wrong = next(cb for cb in copies if not isinstance(cb, Callback))
            evidence.wiring.train_error = "callback-class-not-instance"
            evidence.wiring.train_message = f"{wrong!r} is among learn.callbacks"
            return False
        made = self._create_fn_callbacks()
        if made is None:
            return False
        evidence.wiring.only_in_callback_fns = [
            type(cb).__name__ for cb in made if type(cb).on_loss_begin is not Callback.on_loss_begin
        ]
        self.learner_callbacks = [cb for cb in copies if is_batch_callback(cb)]
        self.fit_callbacks = self.learner_callbacks + [cb for cb in made if is_batch_callback(cb)]
        return True

    def _create_fn_callbacks(self) -> Optional[List[Callback]]:
        try:
            return [fn(self.learn) for fn in self.learn.callback_fns if getattr(fn, "func", fn) is not Recorder]
        except Exception as error:
            found = classify_exception(error)
            cause = "unwrapping-in-callback-fns" if isinstance(error, FastaiHFError) else found.cause
            if cause == "unknown-failure" and "is not callable" in str(error):
                cause = "callback-instance-in-callback-fns"
            self.evidence.wiring.train_error, self.evidence.wiring.train_message = (
                cause,
                f"{type(error).__name__}: {error}",
            )
            return None

    def validation_loss(self, batch: Batch) -> float:
        return float(self.loss_batch(batch, self.learn.loss_func, self.learner_callbacks))

    def loss_batch(self, batch: Batch, loss_func: Optional[Callable], callbacks: List[Callback]) -> Any:
        """One batch through fastai's loop in eval mode, as ``validate`` and ``pred_batch`` send it."""
        self.learn.model.eval()
        handler = CallbackHandler(list(callbacks))
        with torch.no_grad():
            xb, yb = handler.on_batch_begin(batch.xb, batch.yb, train=False)
            return basic_train.loss_batch(self.learn.model, xb, yb, loss_func, cb_handler=handler)

    def logits(self, batch: Batch) -> Tensor:
        caught: List[Any] = []

        def catch(output: Any, *target: Any) -> Tensor:
            caught.append(output)
            return torch.zeros(())

        self.loss_batch(batch, catch, self.fit_callbacks)
        return caught[0]

    def training_output(self, batch: Batch) -> Tuple[Any, Tuple[Any, ...]]:
        self.learn.model.eval()
        caught: List[Any] = []

        def catch(output: Any, *target: Any) -> Tensor:
            caught.append((output, target))
            return torch.zeros(())

        handler = CallbackHandler(list(self.fit_callbacks))
        xb, yb = handler.on_batch_begin(batch.xb, batch.yb)
        basic_train.loss_batch(self.learn.model, xb, yb, catch, cb_handler=handler)
        return caught[0]

    # -- steps ------------------------------------------------------------------------------------------------

    def run_training_steps(self) -> None:
        learn, evidence = self.learn, self.evidence
        if not getattr(learn, "opt", False):
            learn.create_opt(PROBING_LR, learn.wd)
        rate = PROBING_LR if evidence.hyper.lr is None else evidence.hyper.lr
        set_learning_rate(learn.opt, rate)
        before, watch = RawLossRecorder(), StepMonitor(learn)
        monitor = CallbackMonitor(self.fit_callbacks)
        handler = CallbackHandler([before, *self.fit_callbacks, StepEventForwarder(watch)])
        learn.model.train()
        try:
            handler.on_train_begin(1, pbar=SilentProgressBar(range(1)), metrics=[])
            handler.on_epoch_begin()
            for batch in self.train:
                xb, yb = handler.on_batch_begin(batch.xb, batch.yb)
                loss = basic_train.loss_batch(learn.model, xb, yb, learn.loss_func, learn.opt, handler)
                handler.on_batch_end(loss)
        except Exception as error:
            if watch.graph is None or (watch.graph.trainable and watch.graph.loss_has_graph):
                evidence.wiring.train_error, evidence.wiring.train_message = (
                    classify_exception(error).cause,
                    format_error(error),
                )
        evidence.graph, evidence.precision = watch.graph, watch.precision
        if watch.stepping.steps:
            evidence.stepping = watch.summarize()
            evidence.stepping.loss_factor = before.compute_loss_factor(watch.losses)
            self.attempt("rates set by callbacks", lambda: self._probe_callback_lr(rate))
            evidence.stepping.skipped_by = sorted(monitor.skipped_by)
            if evidence.stepping.skipped_steps >= evidence.stepping.steps:
                evidence.stepping.steps_simulated = self.attempt(
                    "an epoch of skipped steps",
                    lambda: count_simulated_steps(learn, monitor.skipping_callbacks, self.train[0]),
                )
            evidence.examined += ["gradients", "optimizer"]
        if evidence.weights is not None and find_master_copies(learn):
            evidence.weights.has_master_copies = True
        watch.compare_executed(self.executed)

    def _probe_callback_lr(self, initial_lr: float) -> None:
        """Where a callback sets the rate: the highest that it would set in an epoch, and the update that makes."""
        step, hyper = self.evidence.stepping, self.evidence.hyper
        if step.lr_in_force is None or abs(step.lr_in_force - initial_lr) <= 1e-6 * initial_lr:
            return
        peak = max(find_peak_lr(self.learn, self.fit_callbacks, self.train[0]), step.lr_in_force)
        if step.update is not None and step.lr_in_force > 0:
            step.update *= peak / step.lr_in_force
        step.lr_in_force, hyper.lr, hyper.source = peak, peak, "set by a callback"


def _find_fastai_tokens(learn: Learner, views: List[TokenView]) -> List[str]:
    """fastai's own special tokens in the texts, where the data brings a vocabulary."""
    words = getattr(getattr(learn.data, "vocab", None), "itos", None)
    if not words:
        return []
    used = {int(t) for v in views for t in v.ids.unique().tolist()}
    return sorted(
        {
            words[i]
            for i in used
            if i < len(words) and str(words[i]).startswith("xx") and str(words[i]) not in ("xxpad", "xxunk")
        }
    )
