"""One examination of a live fastai 2 learner; lives inside ``preserve_everything``. See ``probe``.

What is common to both fastais stands in the core's ``examination.py``.
"""

from contextlib import suppress
from typing import Any, Callable, List, Optional, Tuple

import torch
from fastai.callback.core import Callback
from torch import Tensor

from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.diagnosis.checks.failures import classify_exception
from fastai_hf_callback.diagnosis.examination import AnyExamination, LossNotReachedError, format_error
from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.diagnosis.probes.inputs import TokenView
from fastai_hf_callback.diagnosis.probes.labels import SampledRows
from fastai_hf_callback.diagnosis.probes.steps import probe_graph
from fastai_hf_callback.fastai2.callback import HFCallback
from fastai_hf_callback.fastai2.comparison.recorder import has_validation
from fastai_hf_callback.fastai2.compat.training_loop import find_active_patch
from fastai_hf_callback.fastai2.data.dataset import TextDataset
from fastai_hf_callback.results.evidence import Graph, History, HyperParams, MetricEvidence, Wiring

from .batches import draw_rows, read_batches, to_fastai_batch
from .callback_replay import (
    CANCEL_EXCEPTIONS,
    ENDING_EXCEPTIONS,
    CallbackMonitor,
    StepEventForwarder,
    copy_without_checks,
    count_simulated_steps,
    dry_run,
    enter_epoch,
    find_peak_lr,
    is_batch_callback,
)
from .history import read_history, read_hyperparameters, set_learning_rate
from .metric_probe import probe_metrics
from .step_monitor import RawLossRecorder, StepMonitor

__all__ = ["Examination"]

PROBING_LR = 1e-4  # where no fit has named a rate, one is needed for the steps and is not judged


class Examination(AnyExamination):
    """One examination; lives inside ``preserve_everything``."""

    def wiring(self) -> Wiring:
        return Wiring(
            patch=find_active_patch(),
            hf_callback=any(isinstance(cb, HFCallback) for cb in self.learn.cbs),
            only_in_training=[
                type(cb).__name__ for cb in self.learn.cbs if not cb.run_valid and hasattr(cb, "after_pred")
            ],
        )

    def has_validation(self) -> bool:
        return has_validation(self.learn)

    def training_batches(self) -> List[Batch]:
        return read_batches(self.learn, self.learn.dls.train, self.n_batches)

    def validation_batches(self, n: int) -> List[Batch]:
        return read_batches(self.learn, self.learn.dls.valid, n)

    def draw_rows(self, train: bool, ids_index: Optional[int], pad_ids: List[int]) -> Optional[SampledRows]:
        return draw_rows(self.learn, self.learn.dls[0 if train else 1], ids_index, pad_ids)

    def past(self) -> Tuple[Optional[History], HyperParams]:
        return read_history(self.learn), read_hyperparameters(self.learn)

    def collect_metric_evidence(self, outputs: List[Tensor], targets: List[Tensor]) -> List[MetricEvidence]:
        return probe_metrics(self.learn.metrics, outputs, targets, self.loss_func)

    def encoder(self) -> Optional[TextEncoder]:
        rows = self.learn.dls.train.dataset
        return rows.collator.encoder if isinstance(rows, TextDataset) else None

    def foreign_tokens(self, views: List[TokenView]) -> List[str]:
        vocabularies = getattr(self.learn.dls, "vocab", None)  # fastai's text data: words first, then classes
        words = vocabularies[0] if isinstance(vocabularies, (list, tuple)) and vocabularies else None
        if not isinstance(words, (list, tuple)) or "xxbos" not in words:
            return []
        used = {int(t) for v in views for t in v.ids.unique().tolist()}
        return sorted({words[i] for i in used if i < len(words) and words[i].startswith("xx")} - {"xxpad", "xxunk"})

    # -- the two paths to the loss ----------------------------------------------------------------------------

    def prepare_callbacks(self) -> bool:
        self.callbacks = [copy_without_checks(cb, self.learn) for cb in self.learn.cbs if is_batch_callback(cb)]
        return True

    def validation_loss(self, batch: Batch) -> float:
        self._run_through_loop(batch, self.loss_func)
        return float(self.learn.loss)

    def logits(self, batch: Batch) -> Any:
        return self._capture_output(batch, with_graph=False)[0]

    def training_output(self, batch: Batch) -> Tuple[Any, Tuple[Any, ...]]:
        return self._capture_output(batch, with_graph=True)

    def _capture_output(self, batch: Batch, with_graph: bool) -> Tuple[Any, Tuple[Any, ...]]:
        caught: List[Any] = []

        def catch(output: Any, *target: Any) -> Tensor:
            caught.append((output, target))
            return torch.zeros(())

        self._run_through_loop(batch, catch, with_graph)
        return caught[0]

    def _run_through_loop(self, batch: Batch, loss_func: Callable[..., Any], with_graph: bool = False) -> None:
        """One batch through fastai's loop in eval mode, as ``validate`` and ``get_preds`` send it."""
        learn, asked = self.learn, []

        def recorded_loss_func(*given: Any) -> Any:
            asked.append(True)
            return loss_func(*given)

        try:
            with enter_epoch(learn, self.callbacks, training=False), torch.set_grad_enabled(with_graph):
                learn.loss_func = recorded_loss_func
                learn.one_batch(0, to_fastai_batch(batch))
        except CANCEL_EXCEPTIONS:
            pass
        finally:
            learn.loss_func = self.loss_func
        if not asked:
            raise LossNotReachedError("a callback cancels the batch before the loss")

    # -- steps ------------------------------------------------------------------------------------------------

    def run_training_steps(self) -> None:
        learn, evidence = self.learn, self.evidence
        before, watch, monitor = RawLossRecorder(), StepMonitor(learn), CallbackMonitor(self.callbacks)
        rate = PROBING_LR if evidence.hyper.lr is None else evidence.hyper.lr
        try:
            self._prepare_optimizer(rate)
            with enter_epoch(learn, [before, *self.callbacks, StepEventForwarder(watch)], training=True):
                for i, batch in enumerate(self.train):
                    learn.one_batch(i, to_fastai_batch(batch))
        except ENDING_EXCEPTIONS:
            if not watch.stepping.steps:
                evidence.wiring.ends_training = sorted(monitor.skipped_by)
        except Exception as error:
            if not any(p.requires_grad for p in learn.model.parameters()):
                watch.graph = watch.graph or self.attempt("the graph", self._probe_graph_without_steps)
            if watch.graph is None or (watch.graph.trainable and watch.graph.loss_has_graph):
                evidence.wiring.train_error, evidence.wiring.train_message = (
                    classify_exception(error).cause,
                    format_error(error),
                )
        evidence.graph, evidence.precision = watch.graph, watch.precision
        self._record_ineffective_assignments(monitor)
        if watch.stepping.steps:
            evidence.stepping = watch.summarize()
            evidence.stepping.loss_factor = before.compute_loss_factor(watch.losses)
            self.attempt("rates set by callbacks", lambda: self._probe_callback_lr(rate))
            self._record_cancelled_steps(monitor)
            evidence.examined += ["gradients", "optimizer"]
        watch.compare_executed(self.executed)

    def replay_one_step(self) -> None:
        """The events of one step on the first batch, for what the callbacks set in vain alone."""
        monitor = CallbackMonitor(self.callbacks)
        with suppress(Exception), dry_run(self.learn, self.loss_func):  # the fit itself will say what it raises
            with enter_epoch(self.learn, self.callbacks, training=True):
                self.learn.one_batch(0, to_fastai_batch(self.train[0]))
        self._record_ineffective_assignments(monitor)

    def _record_ineffective_assignments(self, monitor: CallbackMonitor) -> None:
        self.evidence.wiring.set_on_itself = dict(monitor.shadowed_attributes)
        self.evidence.wiring.loss_only_shown = sorted(monitor.changed_display_loss_only)

    def _probe_graph_without_steps(self) -> Graph:
        """Where no step can be made: fastai 2 makes no optimizer for a model whose every parameter is frozen."""
        output, target = self.training_output(self.train[0])
        return probe_graph(self.learn.model, output, self.loss_func(output, *target))

    def _prepare_optimizer(self, rate: float) -> None:
        learn, hyper = self.learn, self.evidence.hyper
        if learn.opt is None:
            learn.create_opt()
        set_learning_rate(learn.opt, rate)
        if hyper.lr is None and learn.wd is not None:  # what fit would put in force
            learn.opt.set_hypers(wd=learn.wd)
        hyper.wd = max((float(group.get("wd", 0.0) or 0.0) for group in learn.opt.hypers), default=0.0)

    def _record_cancelled_steps(self, monitor: CallbackMonitor) -> None:
        step = self.evidence.stepping
        step.skipped_by = sorted(monitor.skipped_by)
        if step.skipped_steps >= step.steps:
            step.steps_simulated = self.attempt(
                "an epoch of skipped steps",
                lambda: count_simulated_steps(self.learn, monitor.skipping_callbacks, self.train[0]),
            )

    def _probe_callback_lr(self, initial_lr: float) -> None:
        """Where a callback sets the rate: the highest that it would set in an epoch, and the update that makes."""
        step, hyper = self.evidence.stepping, self.evidence.hyper
        if step.lr_in_force is None or abs(step.lr_in_force - initial_lr) <= 1e-6 * initial_lr:
            return
        setting: List[Callback] = [cb for cb in self.callbacks if "scaler" not in vars(cb)]
        peak = max(find_peak_lr(self.learn, setting, self.train[0]), step.lr_in_force)
        if step.update is not None and step.lr_in_force > 0:
            step.update *= peak / step.lr_in_force
        step.lr_in_force, hyper.lr, hyper.source = peak, peak, "set by a callback"
