"""``FitMonitor``: what ``Doctor`` records and reports while a fit runs, on either fastai. Imports torch, numpy."""

import copy
import functools
import inspect
import math
from dataclasses import replace
from typing import Any, Callable, Dict, List, Optional, Protocol, Set, Type, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.diagnosis.probes.labels import SampledRows, probe_labels
from fastai_hf_callback.diagnosis.probes.loss import probe_all_targets
from fastai_hf_callback.diagnosis.probes.steps import StepMonitor
from fastai_hf_callback.diagnosis.probes.weights import probe_weights
from fastai_hf_callback.errors import GradientError, describe_exception
from fastai_hf_callback.model.weights.adapters import has_adapters
from fastai_hf_callback.model.weights.starting_weights import StartingWeights
from fastai_hf_callback.results.evidence import Evidence, Weights
from fastai_hf_callback.results.finding import Action
from fastai_hf_callback.results.fit_record import History
from fastai_hf_callback.results.probes import DOES_NOT_APPLY, FAILED, MADE, NOT_MADE, begin_probes, close_probes
from fastai_hf_callback.utils.distributed import rank
from fastai_hf_callback.utils.rng import preserve_rng_state

from .checks.failures import classify_exception
from .diagnose import judge, probe_first_batch
from .diagnosis import Diagnosis
from .fix_trials import withhold_fixes
from .fixes.adapter_fixes import keep_base_frozen
from .fixes.fix_table import resolve_fix
from .learner_adapter import LearnerAdapter, Watch, is_number
from .learning_rates import is_range_test, summarize_hyperparameters
from .metric_scores import probe_metrics
from .numeric_inputs import NumericInputsProbe, summarize_targets
from .probe_runner import DoesNotApplyError, attempt, format_error
from .targets import RowCollector, to_array

__all__ = ["FitMonitor", "never_raises"]

SAMPLED_PARAMETERS, SAMPLED_ELEMENTS = 12, 256
FIRST_STEPS = 4
METRIC_BATCHES, MAX_TARGETS = 4, 200

Doctor = TypeVar("Doctor")


def never_raises(event: Callable[..., None]) -> Callable[..., None]:
    """Keep an event of ``Doctor`` from ending the fit: a failure is recorded, and the step is no longer monitored."""

    @functools.wraps(event)
    def on_event(self: "HoldsMonitor", **kwargs: Any) -> None:
        try:
            event(self, **kwargs)
        except Exception as error:
            self.monitor.record_failure(event.__name__, error)

    return on_event


class HoldsMonitor(Protocol):
    """A fastai's ``Doctor``."""

    monitor: "FitMonitor"


def share_docstring(doctor: Type[Doctor]) -> Type[Doctor]:
    """Decorate a fastai's ``Doctor``: append the parameters and attributes of ``FitMonitor`` to its docstring."""
    own, shared = inspect.cleandoc(doctor.__doc__ or ""), inspect.cleandoc(FitMonitor.__doc__ or "")
    doctor.__doc__ = own + shared[shared.index("\n") :]
    return doctor


class FitMonitor:
    """A monitor of a fit that reports at the first sound evidence; a fastai's ``Doctor`` forwards the events to it.

    It only reads: the weights after a fit are bit for bit those of a fit without it.

    Parameters
    ----------
    every : int
        Steps between two samples of the weights, after the first four.
    say : callable
        Called with each finding, once; by default ``print``.

    Attributes
    ----------
    diagnosis : Diagnosis or None
        Of the last fit, also of one that is running or has failed, as far as it went; None before the first.
    """

    # Set while a fit runs.
    _adapter: LearnerAdapter
    _monitor: StepMonitor
    _weights: Weights
    _start: StartingWeights

    def __init__(self, every: int = 50, say: Callable[[str], Any] = print):
        self.every, self.say = every, say
        self._last_diagnosis: Optional[Diagnosis] = None
        self._last_weights = StartingWeights()
        self._known_causes: Set[str] = set()
        self.reset()

    def reset(self) -> None:
        """Forget the monitored fit, its learner and its tensors."""
        for name in ("_adapter", "_monitor", "_weights", "_start"):
            vars(self).pop(name, None)
        self._evidence = Evidence()
        self.fitting = self._has_begun = self._step_is_sampled = self._nan_reported = False
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

    @property
    def diagnosis(self) -> Optional[Diagnosis]:
        return self._judge() if self._has_begun else self._last_diagnosis

    @property
    def has_validated(self) -> bool:
        """Whether this epoch had validation batches."""
        return bool(self._outputs)

    # -- the fit's events --------------------------------------------------------------------------------------

    def begin_fit(self, adapter: LearnerAdapter) -> None:
        """Monitor a fit of this learner, before its first batch."""
        self.reset()
        self._adapter, self._monitor = adapter, StepMonitor(adapter.optimizer, SAMPLED_PARAMETERS, SAMPLED_ELEMENTS)
        self._evidence = Evidence(probes=begin_probes(in_fit=True))
        master_weights = adapter.optimizer.read_master_weights()
        self._weights = self._evidence.weights = probe_weights(adapter.learn.model, bool(master_weights))
        self._start = StartingWeights(adapter.learn.model)
        self._metric_copies = copy.deepcopy(list(adapter.learn.metrics))  # before an epoch has changed their state
        self.fitting = True

    def begin_batch(self, batch: Any, target: Any) -> None:
        if not self._has_begun:  # fastai 1's validate begins like a fit
            self._has_begun, self._last_diagnosis = True, None
            self._evidence.probes["the last fit"].settle(NOT_MADE, *_NOT_ENDED)
        if self._steps == 0:
            self._attempt("outputs", lambda: self._probe_first_batch(Batch(batch, target)))
        self._train_rows.add(batch, target, self._ids_index, self._compute_features)
        self._step_is_sampled = self._steps < FIRST_STEPS or self._steps % self.every == 0
        if self._step_is_sampled:
            self._monitor.begin_batch(target)
        else:
            self._monitor.ignore_step()

    def receive_logits(self, output: Any, train: bool) -> None:
        if self._sample_logits is None and train and isinstance(output, Tensor) and output.dim():
            self._sample_logits = output[:1].detach()
        if self._step_is_sampled and train:
            self._monitor.begin_loss(output)
        elif self.fitting and not train and len(self._outputs) < METRIC_BATCHES:
            self._outputs.append(output.detach() if isinstance(output, Tensor) else None)

    def begin_backward(self, loss: Tensor, given: float) -> None:
        """Record the losses before backward; `given` is what ``loss_func`` returned."""
        if not self._step_is_sampled:
            return
        self._monitor.begin_backward(loss)
        if self._steps == 0 and given:
            self._loss_factor = self._monitor.losses[0] / given

    def finish_backward(self, skip_step: bool, skip_backward: bool, rate: Any) -> None:
        self._skipped_steps += bool(skip_step)
        self._skipped_backwards += bool(skip_backward)
        if isinstance(rate, float):
            self._learning_rates.append(rate)
        if self._step_is_sampled:
            self._monitor.finish_backward(skip_step, skip_backward)

    def finish_step(self, skip_zero: bool) -> None:
        self._skipped_zero_grads += bool(skip_zero)
        if self._step_is_sampled:
            self._monitor.finish_step(skip_zero)

    def finish_batch(self, loss: float) -> None:
        self._losses.append(loss)
        if self._step_is_sampled:
            self._monitor.finish_batch()
        self._steps += 1
        if self._step_is_sampled or not math.isfinite(loss) and not self._nan_reported:
            self._nan_reported |= not math.isfinite(loss)
            self._attempt("optimizer", self._probe_steps)
        self._step_is_sampled = False

    def finish_epoch(self, values: List[Any]) -> None:
        self._epochs += 1
        self._record_metrics(values)
        if self._epochs == 1:
            self._attempt("targets", self._probe_targets)
        self._attempt("metrics", self._probe_metrics)
        self._attempt("optimizer", self._probe_steps)
        self._outputs, self._targets = [], []

    def end_fit(self, error: Optional[BaseException] = None) -> None:
        """Summarize the fit, also one that `error` has ended."""
        if self._steps:
            self._attempt("optimizer", self._probe_steps)
        self._close_probes(error)
        diagnosis = self._judge()
        if isinstance(error, Exception):
            diagnosis = self._add_error(diagnosis, error)
        self._last_diagnosis, self._last_weights = diagnosis, StartingWeights(self._adapter.learn.model)
        self.reset()
        if diagnosis.at_least("warning"):
            self._say_on_rank_zero(
                f"Doctor: {len(diagnosis.at_least('warning'))} finding(s) in learn.doctor.diagnosis, first "
                f"{diagnosis.causes[0]}"
            )

    def recall(self, model: nn.Module) -> Optional[Watch]:
        """Return what the last fit has shown, for `diagnose`; None where there was none, or the weights are others."""
        last, weights = self._last_diagnosis, self._last_weights  # a fit that runs or has failed leaves none
        if last is None or last.evidence is None or not (weights.covers(model) and weights.is_unchanged()):
            return None
        return Watch([f.cause for f in last.at_least("warning")], last.evidence.history, last.evidence.hyper)

    def learn_of(self, diagnosis: Diagnosis) -> None:
        """Keep what `diagnose` has said of the learner: the next fit says of the same causes that they are still so."""
        self._known_causes = set(diagnosis.causes)

    def _judge(self) -> Diagnosis:
        return withhold_fixes(judge(self._adapter, self._evidence), "a fit is watched only; diagnose(learn) tries it")

    def _close_probes(self, error: Optional[BaseException]) -> None:
        """Settle what the fit has come to, and what it has not."""
        probes = self._evidence.probes
        if error:
            probes["the last fit"].settle(FAILED, describe_exception(error))
        elif self._steps:
            probes["the last fit"].settle(MADE)
        testing = is_range_test(self._learning_rates)
        for name in ("targets", "metrics"):
            if not probes[name].was_reached and testing:
                probes[name].settle(DOES_NOT_APPLY, "a range test ends before an epoch does")
            elif not probes[name].was_reached:
                probes[name].settle(NOT_MADE, "no epoch was completed", "fit for one")
        close_probes(probes)

    def _add_error(self, diagnosis: Diagnosis, error: Exception) -> Diagnosis:
        """Add the error that ended the fit to the diagnosis."""
        fixes = self._adapter.fixes
        finding = resolve_fix(classify_exception(error, fixes), fixes)
        trainable = any(p.requires_grad for p in self._adapter.learn.model.parameters())
        if isinstance(error, GradientError) and not trainable:
            frozen = replace(finding, cause="everything-frozen", action=Action("unfreeze"))
            finding = resolve_fix(frozen, fixes)
        finding = keep_base_frozen(finding, has_adapters(self._adapter.learn.model))
        others = [f for f in diagnosis.findings if f.cause != finding.cause]
        finding = replace(finding, fix_function=None)
        known = [finding] if finding.cause != "unknown-failure" or not diagnosis.at_least("error") else []
        return Diagnosis([*known, *others], diagnosis.evidence)

    def _say_on_rank_zero(self, line: str) -> None:
        """Report on the first of several processes only; all of them record."""
        if rank() == 0:
            self.say(line)

    # -- probes ------------------------------------------------------------------------------------------------

    def _probe_first_batch(self, batch: Batch) -> None:
        evidence, self._executed = probe_first_batch(self._adapter, batch)
        self._evidence.wiring, self._evidence.inputs = evidence.wiring, evidence.inputs
        self._evidence.outputs, self._evidence.loss = evidence.outputs, evidence.loss
        if evidence.outputs is not None:
            evidence.outputs.before_fit = True
        self._evidence.pairing = evidence.pairing
        self._evidence.numeric_inputs = evidence.numeric_inputs
        self._evidence.probes.update({name: row for name, row in evidence.probes.items() if row.was_reached})
        self._ids_index = evidence.ids_index

    def _compute_features(self, batch: Any) -> Optional[np.ndarray]:
        return NumericInputsProbe(self._adapter, self._evidence).compute_features(batch)

    def _probe_steps(self) -> None:
        evidence, monitor = self._evidence, self._monitor
        for name in ("gradients", "optimizer"):
            if not evidence.probes[name].was_reached:
                evidence.probes[name].settle(MADE)
        monitor.compare_executed(self._executed)
        sampled = monitor.summarize()
        testing = is_range_test(self._learning_rates)  # lr_find goes up to rates that ruin any model, and reloads it
        lost = 0 if testing else sum(not math.isfinite(loss) for loss in self._losses)
        # Counted at every step, next to what was sampled.
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
        if self._epochs and self._learning_rates and not testing:  # a schedule may begin at zero and end there
            rates, optimizer = self._learning_rates, self._adapter.optimizer
            evidence.hyper = summarize_hyperparameters(rates, optimizer, "this fit")
            self._weights.distance = self._start.measure_distance()
        self._weights.has_master_copies |= bool(self._adapter.optimizer.read_master_weights())
        self._report_findings()

    def _report_findings(self) -> None:
        for finding in self._judge().at_least("warning"):
            if finding.cause not in self._reported_causes:
                self._reported_causes.add(finding.cause)
                known = finding.cause in self._known_causes
                said = f"{finding.severity}: {finding.cause}, as diagnose(learn) said" if known else str(finding)
                self._say_on_rank_zero(f"Doctor, step {self._steps}: {said}\n  fix: {finding.fix}")

    def collect_validation_batch(self, batch: Any, target: Any) -> None:
        if self._epochs == 0:
            self._valid_rows.add(batch, target, self._ids_index, self._compute_features)
        if len(self._targets) < MAX_TARGETS:
            self._targets.append(target.detach() if isinstance(target, Tensor) else None)

    def _probe_targets(self) -> None:
        train = self._train_rows
        if not train.targets:
            raise DoesNotApplyError("there are no rows with one target each")
        inputs = self._evidence.inputs
        pad_ids = [] if inputs is None or inputs.pad_token_id is None else [inputs.pad_token_id]
        self._evidence.labels = probe_labels(
            train.sample(pad_ids), self._sample_validation(pad_ids), train.targets, pad_ids, together=False
        )
        if self._evidence.loss is not None and self._sample_logits is not None and not train.are_summaries:
            with preserve_rng_state():  # a loss may use random numbers and keep state: a copy is called
                probe_all_targets(
                    self._evidence.loss,
                    copy.deepcopy(self._adapter.learn.loss_func),
                    self._sample_logits,
                    torch.cat(train.targets).to(self._sample_logits.device),
                )

    def _sample_validation(self, pad_ids: List[int]) -> Optional[SampledRows]:
        """Sample rows with their words; where these were not found, only all targets."""
        if self._valid_rows.targets:
            return self._valid_rows.sample(pad_ids)
        known = [summarize_targets(t) for t in self._targets if isinstance(t, Tensor)]
        return SampledRows(None, to_array(torch.cat(known).cpu())) if known else None

    def _probe_metrics(self) -> None:
        targets = self._targets[: len(self._outputs)]
        if not self._metric_copies or not targets:
            raise DoesNotApplyError("no validation set" if self._metric_copies else "the learner has none")
        if not all(isinstance(t, Tensor) for t in self._outputs + targets):
            raise DoesNotApplyError("outputs and targets are not one tensor each")
        with preserve_rng_state():
            evidence = self._evidence
            evidence.metrics = probe_metrics(self._adapter, self._metric_copies, self._outputs, targets, evidence)

    def _record_metrics(self, values: List[Any]) -> None:
        for i, value in enumerate(values):
            if is_number(value):
                self._metric_values.setdefault(str(i), []).append(float(value))

    def _attempt(self, name: str, action: Callable[[], Any]) -> None:
        """Run one probe; its failure does not end the fit."""
        attempt(self._evidence, name, action)

    def record_failure(self, event: str, error: Exception) -> None:
        """Record what could not be monitored, and ignore the rest of the step."""
        outcome = self._evidence.probes.get("metrics" if "epoch" in event else "optimizer")
        if outcome is not None:
            outcome.settle(NOT_MADE, f"{event}: {format_error(error)}"[:200])
        self._step_is_sampled = False


_NOT_ENDED = ("it has not ended: it is running, or an error ended it", "explain(error) where one did")
