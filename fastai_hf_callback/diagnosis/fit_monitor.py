"""What a doctor notes and says while a fit runs, on either fastai; its rooms bring the events. Imports torch, numpy."""

import copy
import functools
import math
from dataclasses import replace
from typing import Any, Callable, Dict, List, Optional, Set

import numpy as np
import torch
from torch import Tensor

from fastai_hf_callback.diagnosis.probes.batches import is_per_token
from fastai_hf_callback.diagnosis.probes.labels import SampledRows, probe_labels
from fastai_hf_callback.diagnosis.probes.loss import probe_all_targets
from fastai_hf_callback.diagnosis.probes.steps import StepMonitor
from fastai_hf_callback.diagnosis.probes.weights import probe_weights
from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.results.evidence import Evidence, History, HyperParams
from fastai_hf_callback.utils.distributed import rank
from fastai_hf_callback.utils.rng import preserve_rng_state

from .diagnosis import Diagnosis
from .learning_rates import compute_near_zero_lr_share, is_range_test

__all__ = ["FitMonitor", "never_raises"]

SAMPLED_PARAMETERS, SAMPLED_ELEMENTS = 12, 256
FIRST_STEPS = 4
LABEL_ROWS, METRIC_BATCHES, MAX_TARGETS = 384, 4, 200


def never_raises(event: Callable[..., None]) -> Callable[..., None]:
    """An event of the doctor's that never ends the fit: what fails is noted, and the doctor stops watching."""

    @functools.wraps(event)
    def on_event(self: "FitMonitor", **kwargs: Any) -> None:
        try:
            event(self, **kwargs)
        except Exception as error:
            self._evidence.skipped.append(f"{event.__name__} ({type(error).__name__}: {error})"[:200])
            self._step_is_sampled = False

    return on_event


class RowCollector:
    """Token ids and targets of the first rows that come by, up to ``LABEL_ROWS``."""

    def __init__(self) -> None:
        self.targets: List[Tensor] = []
        self._ids: List[Any] = []

    def add(self, batch: Any, target: Any, ids_index: Optional[int]) -> None:
        """`ids_index` is that of the ids among the batch's tensors."""
        if len(self._ids) >= LABEL_ROWS or not isinstance(target, Tensor) or target.dim() == 0 or target.dim() > 2:
            return
        tables = list(tensors_in(batch))
        if (
            ids_index is None
            or ids_index >= len(tables)
            or len(tables[ids_index]) != len(target)
            or is_per_token(target, tables[ids_index])
        ):
            return
        self.targets.append(target.detach().cpu())
        self._ids += list(tables[ids_index].cpu().numpy())

    def sample(self, pad_ids: List[int]) -> SampledRows:
        """All of them, padding taken away."""
        return SampledRows([row[~np.isin(row, pad_ids)] for row in self._ids], _as_array(torch.cat(self.targets)))


def _as_array(targets: Tensor) -> np.ndarray:
    exact = targets.is_floating_point() or targets.dim() == 2
    return targets.double().numpy() if exact else targets.long().numpy()


class FitMonitor:
    """Notes what a fit does, speaks at the first sound evidence. Each fastai's own hands it the events."""

    learn: Any
    every: int
    say: Callable[[str], Any]
    diagnosis: Optional[Diagnosis]

    # -- the fit's events --------------------------------------------------------------------------------------

    def _begin_fit(self) -> None:
        self._reset_state()
        self._evidence = Evidence(examined=["gradients", "optimizer"])
        self._monitor = self._build_monitor()
        self._evidence.weights = probe_weights(self.learn.model, bool(self._monitor.master_weights()))
        self._metric_copies = self._copy_metrics()  # before an epoch has left anything in them
        self._fitting = True

    def _begin_batch(self, batch: Any, target: Any) -> None:
        if self._steps == 0:
            self._attempt("inputs and outputs", lambda: self._probe_first_batch(batch, target))
        self._train_rows.add(batch, target, self._ids_index)
        self._step_is_sampled = self._steps < FIRST_STEPS or self._steps % self.every == 0
        if self._step_is_sampled:
            self._monitor.begin_batch(target)
        else:
            self._monitor.ignore_step()

    def _receive_logits(self, output: Any, train: bool) -> None:
        if self._sample_logits is None and train and isinstance(output, Tensor) and output.dim():
            self._sample_logits = output[:1].detach()
        if self._step_is_sampled and train:
            self._monitor.begin_loss(output)
        elif self._fitting and not train and len(self._outputs) < METRIC_BATCHES:
            self._outputs.append(output.detach() if isinstance(output, Tensor) else None)

    def _begin_backward(self, loss: Tensor, given: float) -> None:
        """`given` is the loss that ``loss_func`` gave."""
        if not self._step_is_sampled:
            return
        self._monitor.begin_backward(loss)
        if self._steps == 0 and given:
            self._loss_factor = self._monitor.losses[0] / given

    def _record_backward(self, skip_step: bool, skip_backward: bool, rate: Any) -> None:
        self._skipped_steps += bool(skip_step)
        self._skipped_backwards += bool(skip_backward)
        if isinstance(rate, float):
            self._learning_rates.append(rate)
        if self._step_is_sampled:
            self._monitor.finish_backward(skip_step, skip_backward)

    def _finish_step(self, skip_zero: bool) -> None:
        self._skipped_zero_grads += bool(skip_zero)
        if self._step_is_sampled:
            self._monitor.finish_step(skip_zero)

    def _finish_batch(self, loss: float) -> None:
        self._losses.append(loss)
        if self._step_is_sampled:
            self._monitor.finish_batch()
        self._steps += 1
        if self._step_is_sampled or not math.isfinite(loss) and not self._nan_reported:
            self._nan_reported |= not math.isfinite(loss)
            self._attempt("a step", self._probe_steps)
        self._step_is_sampled = False

    def _finish_epoch(self, values: List[Any]) -> None:
        self._epochs += 1
        self._record_metrics(values)
        if self._epochs == 1:
            self._attempt("targets", self._probe_targets)
        self._attempt("metrics", self._probe_metrics)
        self._attempt("an epoch", self._probe_steps)
        self._outputs, self._targets = [], []

    def _report_summary(self) -> None:
        if not self.diagnosis.healthy:
            self._say_on_rank_zero(
                f"Doctor: {len(self.diagnosis.at_least('warning'))} finding(s) in learn.doctor.diagnosis, first "
                f"{self.diagnosis.causes[0]}"
            )

    def _say_on_rank_zero(self, line: str) -> None:
        """Of several processes the first one speaks; all of them note."""
        if rank() == 0:
            self.say(line)

    # -- looks -------------------------------------------------------------------------------------------------

    def _keep_first_batch_evidence(self, found: Any) -> None:
        evidence, self._executed = found
        self._evidence.wiring, self._evidence.inputs = evidence.wiring, evidence.inputs
        self._evidence.outputs, self._evidence.loss = evidence.outputs, evidence.loss
        self._evidence.examined = [*evidence.examined, *self._evidence.examined]
        self._ids_index = evidence.ids_index

    def _probe_steps(self) -> None:
        evidence, monitor = self._evidence, self._monitor
        monitor.compare_executed(self._executed)
        sampled = monitor.summarize()
        testing = is_range_test(self._learning_rates)  # lr_find goes up to rates that ruin any model, and loads it anew
        lost = 0 if testing else sum(not math.isfinite(loss) for loss in self._losses)
        # What is counted at every step, beside what was sampled.
        evidence.stepping = replace(
            sampled,
            steps=self._steps,
            sampled_steps=sampled.steps,
            skipped_steps=self._skipped_steps,
            skipped_backwards=self._skipped_backwards,
            skipped_zero_grads=self._skipped_zero_grads,
            loss_factor=self._loss_factor,
            non_finite_losses=lost,
            steps_simulated=self._steps - self._skipped_steps if self._epochs else None,
            lr_in_force=sampled.lr_in_force if self._epochs else None,
        )
        evidence.graph, evidence.precision = monitor.graph, monitor.precision
        evidence.history = None if testing else History(self._losses, self._metric_values)
        evidence.hyper = None
        if self._epochs and self._learning_rates and not testing:  # a schedule may begin at nothing and end there
            highest, wd = max(self._learning_rates), self._read_weight_decay()
            evidence.hyper = HyperParams(
                highest,
                min(self._learning_rates),
                wd,
                highest * wd,
                sampled.steps_in_an_epoch or 0,
                "the highest of this fit",
                self._optimizer_name(),
                compute_near_zero_lr_share(self._learning_rates),
            )
        evidence.weights.has_master_copies |= bool(monitor.master_weights())
        self._report_findings()

    def _report_findings(self) -> None:
        for finding in self._build_diagnosis(self._evidence).at_least("warning"):
            if finding.cause not in self._reported_causes:
                self._reported_causes.add(finding.cause)
                self._say_on_rank_zero(f"Doctor, step {self._steps}: {finding}\n  fix: {finding.fix}")

    def _collect_validation_batch(self, batch: Any, target: Any) -> None:
        if self._epochs == 0:
            self._valid_rows.add(batch, target, self._ids_index)
        if len(self._targets) < MAX_TARGETS:
            self._targets.append(target.detach() if isinstance(target, Tensor) else None)

    def _probe_targets(self) -> None:
        train = self._train_rows
        if not train.targets:
            return
        pad_ids = (
            []
            if self._evidence.inputs is None or self._evidence.inputs.pad_token_id is None
            else [self._evidence.inputs.pad_token_id]
        )
        self._evidence.labels = probe_labels(
            train.sample(pad_ids), self._sample_validation(pad_ids), train.targets, pad_ids, together=False
        )
        if self._evidence.loss is not None and self._sample_logits is not None:
            with preserve_rng_state():  # a loss may draw, and may keep what it was asked: a copy is asked
                probe_all_targets(
                    self._evidence.loss,
                    copy.deepcopy(self.learn.loss_func),
                    self._sample_logits,
                    torch.cat(train.targets).to(self._sample_logits.device),
                )
        self._evidence.examined.append("targets")

    def _sample_validation(self, pad_ids: List[int]) -> Optional[SampledRows]:
        """Rows with their words; where these were not found, all targets alone."""
        if self._valid_rows.targets:
            return self._valid_rows.sample(pad_ids)
        known = [t for t in self._targets if isinstance(t, Tensor)]
        return SampledRows(None, _as_array(torch.cat(known).cpu())) if known else None

    def _probe_metrics(self) -> None:
        targets = self._targets[: len(self._outputs)]
        if not targets or not self._metric_copies or not all(isinstance(t, Tensor) for t in self._outputs + targets):
            return
        with preserve_rng_state():
            self._evidence.metrics = self._collect_metric_evidence(self._outputs, targets)
        if self._evidence.metrics and "metrics" not in self._evidence.examined:
            self._evidence.examined.append("metrics")

    def _record_metrics(self, values: List[Any]) -> None:
        for i, value in enumerate(values):
            if value is not None:
                self._metric_values.setdefault(str(i), []).append(float(value))

    def _attempt(self, what: str, action: Callable[[], Any]) -> None:
        """No look of the doctor's may end the fit."""
        try:
            action()
        except Exception as error:
            self._evidence.skipped.append(f"{what} ({type(error).__name__}: {error})"[:200])

    def _reset_state(self) -> None:
        self._evidence, self._monitor = Evidence(), None
        self._fitting = self._step_is_sampled = self._nan_reported = False
        self._steps = self._epochs = 0
        self._skipped_steps = self._skipped_backwards = self._skipped_zero_grads = 0
        self._learning_rates: List[float] = []
        self._loss_factor: Optional[float] = None
        self._ids_index: Optional[int] = None
        self._metric_copies: List[Any] = []
        self._executed: List[Any] = []
        self._losses: List[float] = []
        self._outputs: List[Any] = []
        self._targets: List[Any] = []
        self._train_rows, self._valid_rows = RowCollector(), RowCollector()
        self._sample_logits: Optional[Tensor] = None
        self._metric_values: Dict[str, List[float]] = {}
        self._reported_causes: Set[str] = set()

    # -- what each fastai answers in its own way --------------------------------------------------------------

    def _build_monitor(self) -> StepMonitor:
        raise NotImplementedError

    def _probe_first_batch(self, batch: Any, target: Any) -> None:
        raise NotImplementedError

    def _copy_metrics(self) -> List[Any]:
        raise NotImplementedError

    def _collect_metric_evidence(self, outputs: List[Any], targets: List[Any]) -> List[Any]:
        raise NotImplementedError

    def _build_diagnosis(self, evidence: Evidence) -> Diagnosis:
        raise NotImplementedError

    def _read_weight_decay(self) -> float:
        raise NotImplementedError

    def _optimizer_name(self) -> str:
        raise NotImplementedError
