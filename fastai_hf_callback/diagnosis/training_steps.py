"""Real steps through fastai's own loop, on copies, and a new optimizer's on one batch; part of an examination."""

import time
from typing import Any, List, Sequence, Tuple

import torch
from torch import Tensor

from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.diagnosis.probes.steps import LossRecorder, StepMonitor, has_hidden_checkpoints, probe_graph
from fastai_hf_callback.diagnosis.probes.weights import count_half_weights
from fastai_hf_callback.results.evidence import Evidence, Graph, Stepping, Wiring
from fastai_hf_callback.results.probes import FAILED, MADE, NOT_MADE

from .checks.failures import classify_exception
from .learner_adapter import CallbackLog, LearnerAdapter
from .learning_rates import read_step_rule
from .probe_runner import DoesNotApplyError, NotMadeError, attempt, format_error, record_failure, was_raised_here

__all__ = ["TrainingSteps", "capture_output", "record_vain_assignments"]

FIT_STEPS, FIT_SECONDS = 12, 8.0
CLEAR_MOVE = 1e-2  # of the loss: a hundred times what would be found
PROBING_LR = 1e-4  # where no fit has set a rate, the steps need one, which is not judged


class TrainingSteps:
    """Training on a few batches; used inside ``adapter.preserve()``.

    Parameters
    ----------
    adapter : LearnerAdapter
        With callbacks already prepared.
    evidence : Evidence
        Written to; holds wiring, hyperparameters and weights already.
    batches : list of Batch
    """

    def __init__(self, adapter: LearnerAdapter, evidence: Evidence, batches: List[Batch]):
        assert evidence.wiring and evidence.hyper and evidence.weights
        self.wiring, self.hyper, self.weights = evidence.wiring, evidence.hyper, evidence.weights
        self.adapter, self.evidence, self.batches = adapter, evidence, batches
        self.learn, self.loss_func = adapter.learn, adapter.learn.loss_func

    def run(self, executed: List[torch.nn.Module]) -> None:
        """Take a step on every batch; `executed` are the modules that ran in eval mode."""
        evidence, hyper, optimizer = self.evidence, self.hyper, self.adapter.optimizer
        losses, monitor, log = LossRecorder(), StepMonitor(optimizer), CallbackLog()
        lr = PROBING_LR if hyper.lr is None else hyper.lr
        try:
            self.adapter.prepare_optimizer(lr, is_first=hyper.lr is None)
            hyper.wd = optimizer.read_weight_decay()
            vars(hyper).update(read_step_rule(optimizer))
            self.adapter.take_steps(self.batches, log, losses.record, monitor)
        except Exception as error:
            self._record_failure(error, monitor)
        if log.ended and not monitor.stepping.steps:
            self.wiring.ends_training = log.skipped_by
        evidence.graph, evidence.precision = monitor.graph, monitor.precision
        record_vain_assignments(self.wiring, log)
        if monitor.stepping.steps:
            self._summarize(monitor, losses, log, lr)
        elif not evidence.probes["optimizer"].was_reached:
            reason = f"{', '.join(log.skipped_by) or 'the loop'} ends every batch before a step"
            for name in ("gradients", "optimizer"):
                evidence.probes[name].settle(NOT_MADE, reason, "take that callback out, and ask again")
        self.weights.has_master_copies |= bool(optimizer.read_master_weights())
        monitor.compare_executed(executed)
        self._probe_checkpoints()

    def _probe_checkpoints(self) -> None:
        """Find out whether reentrant checkpoints keep the gradient out, which need one among their inputs."""
        graph, step = self.evidence.graph, self.evidence.stepping
        if graph is None or not graph.trainable or graph.opaque:
            return
        unreached = 0.0 if step is None else step.executed_unreached / max(1, step.executed_elements)
        if not graph.output_has_graph or unreached >= 0.3:
            graph.behind_checkpoints = has_hidden_checkpoints(self.learn.model, self._compute_output)

    def _compute_output(self) -> Any:
        return capture_output(self.adapter, self.batches[0], with_graph=True)[0]

    def _summarize(self, monitor: StepMonitor, losses: LossRecorder, log: CallbackLog, lr: float) -> None:
        # HFCallback makes them float32 as a fit begins: what the steps have seen counts.
        self.weights.half, self.weights.half_dtypes = count_half_weights(self.learn.model)
        step = self.evidence.stepping = monitor.summarize()
        step.loss_factor = losses.compute_loss_factor(monitor.losses)
        attempt(self.evidence, "rates set by callbacks", lambda: self._probe_callback_lr(step, lr))
        attempt(self.evidence, "an epoch of skipped steps", lambda: self._record_skipped_steps(step, log))
        for name in ("gradients", "optimizer"):
            if not self.evidence.probes[name].was_reached:  # a later step may have raised
                self.evidence.probes[name].settle(MADE)

    def _record_failure(self, error: Exception, monitor: StepMonitor) -> None:
        optimizer = self.evidence.probes["optimizer"]
        if was_raised_here(error):
            optimizer.settle(NOT_MADE, format_error(error))
            return
        record_failure(optimizer, error, self.adapter.fixes)
        if not any(p.requires_grad for p in self.learn.model.parameters()):
            monitor.graph = monitor.graph or attempt(self.evidence, "gradients", self._probe_graph_without_steps)
        if self.evidence.probes["loss"].state == FAILED:
            return  # the examination has named it already
        if monitor.graph is None or (monitor.graph.trainable and monitor.graph.loss_has_graph):
            self.wiring.train_error, self.wiring.train_message = (
                classify_exception(error, self.adapter.fixes).cause,
                format_error(error),
            )

    def _probe_graph_without_steps(self) -> Graph:
        """Probe the graph where no step is possible: fastai 2 makes no optimizer if every parameter is frozen."""
        output, loss = self._compute_loss()
        return probe_graph(self.learn.model, output, loss)

    def _compute_loss(self) -> Tuple[Any, Tensor]:
        """Compute the first batch's output and loss with the graph, dropout switched off."""
        output, targets = capture_output(self.adapter, self.batches[0], with_graph=True)
        return output, self.loss_func(output, *targets)

    def _record_skipped_steps(self, step: Stepping, log: CallbackLog) -> None:
        step.skipped_by = log.skipped_by
        if step.skipped_steps < step.steps:
            raise DoesNotApplyError("steps are made")
        step.steps_simulated = sum(steps for steps, _ in self.adapter.simulate_epoch(log.skipping, self.batches[0]))

    def _probe_callback_lr(self, step: Stepping, initial_lr: float) -> None:
        """Find the highest rate that a callback would set in an epoch, where one does, and the update at that rate."""
        if step.lr_in_force is None or abs(step.lr_in_force - initial_lr) <= 1e-6 * initial_lr:
            raise DoesNotApplyError("no callback sets a rate")
        setting = [cb for cb in self.adapter.callbacks if self.adapter.scaler_attribute not in vars(cb)]
        peak = max([step.lr_in_force, *(lr for _, lr in self.adapter.simulate_epoch(setting, self.batches[0]))])
        if step.update is not None and step.lr_in_force > 0:
            step.update *= peak / step.lr_in_force
        step.lr_in_force, self.hyper.lr, self.hyper.source = peak, peak, "set by a callback"

    def fit_one_batch(self) -> None:
        """Fit the first batch with a new optimizer, and record whether the loss moves."""
        behavior = self.evidence.loss
        parameters = [p for p in self.learn.model.parameters() if p.requires_grad]
        if behavior is None:
            raise DoesNotApplyError("the loss was not examined")
        if behavior.first is None:
            raise NotMadeError("the loss of the first batch in eval mode is no finite number")
        if not parameters or self.weights.half or self.weights.non_finite:
            raise DoesNotApplyError("there are no finite float32 weights to train")
        optimizer = torch.optim.Adam(parameters, lr=_choose_lr(parameters))
        values, until = [], time.perf_counter() + FIT_SECONDS
        for _ in range(FIT_STEPS + 1):
            _, loss = self._compute_loss()
            values.append(float(loss.detach().float()))
            if not loss.requires_grad or time.perf_counter() > until or _has_moved(values):
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if len(values) > 1:
            behavior.before_fitting, behavior.fitting_steps = values[0], len(values) - 1
            behavior.after_fitting = max(values[1:], key=lambda value: abs(value - values[0]))


def _has_moved(losses: List[float]) -> bool:
    """Return whether the loss has clearly moved already: more steps would show nothing else."""
    return not abs(losses[-1] - losses[0]) <= CLEAR_MOVE * abs(losses[0])


def capture_output(adapter: LearnerAdapter, batch: Batch, with_graph: bool) -> Tuple[Any, Tuple[Any, ...]]:
    """Capture output and targets as they reach the loss in eval mode, through fastai's loop or what replaces it."""
    caught: List[Any] = []

    def catch(output: Any, *targets: Any) -> Tensor:
        caught.append((output, targets))
        return torch.zeros(())

    adapter.run_batch(batch, catch, with_graph, validates=False)
    return caught[0]


def record_vain_assignments(wiring: Wiring, log: CallbackLog) -> None:
    """Record what callbacks set without any effect."""
    wiring.set_on_itself, wiring.loss_only_shown = dict(log.set_on_itself), sorted(log.loss_only_shown)


def _choose_lr(parameters: Sequence[Tensor]) -> float:
    """Choose a rate for Adam at which a step moves the median matrix by a twentieth."""
    sizes = sorted(float(p.detach().float().pow(2).mean().sqrt()) for p in parameters if p.dim() > 1)
    return min(max(0.05 * (sizes[len(sizes) // 2] if sizes else 0.02), 1e-4), 1e-2)
