"""``Doctor`` for fastai 1: watches a real fit at almost no cost and says why its metrics do not move."""
import copy
import functools
import math
from dataclasses import replace
from typing import Any, Callable, Dict, List, Optional, Set

import numpy as np
import torch
from fastai.basic_train import Learner, LearnerCallback
from torch import Tensor

from ..diagnosis import Diagnosis, diagnosed
from ..errors import GradientError
from ..evidence import Evidence, History, Hyper
from ..failures import explained
from ..instruments.labels import Sampled, look_at_labels
from ..instruments.weights import look_at_weights
from ..output import tensors_in
from ..rates import is_range_test, share_without_rate
from ..rng import rng_preserved
from .cure import cure_for
from .metric_probe import look_at_metrics
from .observer import StepWatch, masters_of
from .probe import first_look

__all__ = ["Doctor"]

SAMPLED_PARAMETERS, SAMPLED_ELEMENTS = 12, 256
FIRST_STEPS = 4
LABEL_ROWS, METRIC_BATCHES, MOST_TARGETS = 384, 4, 200


def _harmless(event: Callable[..., None]) -> Callable[..., None]:
    """An event of the doctor's that never ends the fit: what fails is noted, and the doctor stops watching."""
    @functools.wraps(event)
    def on_event(self: "Doctor", **kwargs: Any) -> None:
        try:
            event(self, **kwargs)
        except Exception as error:
            self._seen.not_looked_at.append(f"{event.__name__} ({type(error).__name__}: {error})"[:200])
            self._sampled = False
    return on_event


class Doctor(LearnerCallback):
    """Watch a fit; speak at the first sound evidence; sum up in ``diagnosis``.

    Write ``Learner(..., callback_fns=[Doctor])`` or ``learn.callbacks.append(Doctor(learn))``. It reads and never
    changes: the weights after a fit are bit for bit those of a fit without it.

    Parameters
    ----------
    learn : Learner
    every : int
        Steps between two looks at the weights, after the first four.
    say : callable
        What a finding is said with, once each; by default ``print``.

    Attributes
    ----------
    diagnosis : Diagnosis or None
        Of the last fit; None before one.
    """

    _order = 3000  # after all others: what it sees is what the loss, the optimizer and the weights get
    _watches_only = True

    def __init__(self, learn: Learner, every: int = 50, say: Callable[[str], Any] = print):
        super().__init__(learn)
        self.every, self.say = every, say
        self.diagnosis: Optional[Diagnosis] = None
        self._forget()
        self.exclude = [*self.exclude, *(name for name in vars(self) if name.startswith("_")), "diagnosis", "say"]

    # -- the fit's events --------------------------------------------------------------------------------------

    @_harmless
    def on_train_begin(self, **kwargs: Any) -> None:
        self._forget()
        self._seen = Evidence(looked_at=["gradients", "optimizer"])
        self._watch = StepWatch(self.learn, SAMPLED_PARAMETERS, SAMPLED_ELEMENTS)
        self._seen.weights = look_at_weights(self.learn.model, bool(masters_of(self.learn)))
        self._metrics = copy.deepcopy(self.learn.metrics)  # before an epoch has left anything in them
        self._fitting = True

    @_harmless
    def on_batch_begin(self, last_input: Any, last_target: Any, train: bool, **kwargs: Any) -> None:
        if not self._fitting:
            return
        if not train:
            self._keep_validation_target(last_target)
            return
        if self._steps == 0:
            self._carefully("inputs and outputs", lambda: self._first_look(last_input, last_target))
        self._keep_targets(last_input, last_target)
        self._sampled = self._steps < FIRST_STEPS or self._steps % self.every == 0
        if self._sampled:
            self._watch.batch_begins(last_target)
        else:
            self._watch.forget_step()

    @_harmless
    def on_loss_begin(self, last_output: Any, train: bool, **kwargs: Any) -> None:
        if self._sampled and train:
            self._watch.loss_begins(last_output)
        elif self._fitting and not train and len(self._outputs) < METRIC_BATCHES:
            self._outputs.append(last_output.detach() if isinstance(last_output, Tensor) else None)

    @_harmless
    def on_backward_begin(self, last_loss: Tensor, smooth_loss: Tensor, **kwargs: Any) -> None:
        if not self._sampled:
            return
        self._watch.backward_begins(last_loss)
        if self._steps == 0 and float(smooth_loss):  # smoothed over one loss: the one that loss_func gave
            self._factor = self._watch.losses[0] / float(smooth_loss)

    @_harmless
    def on_backward_end(self, skip_step: bool, skip_bwd: bool, **kwargs: Any) -> None:
        self._skipped_steps += bool(skip_step)
        self._skipped_backwards += bool(skip_bwd)
        rate = self.learn.opt.lr
        if isinstance(rate, float):
            self._rates.append(rate)
        if self._sampled:
            self._watch.backward_ended(skip_step, skip_bwd)

    @_harmless
    def on_step_end(self, skip_zero: bool, **kwargs: Any) -> None:
        self._kept += bool(skip_zero)
        if self._sampled:
            self._watch.step_ended(skip_zero)

    @_harmless
    def on_batch_end(self, train: bool, last_loss: Any, **kwargs: Any) -> None:
        if not self._fitting or not train:
            return
        loss = float(last_loss)
        self._losses.append(loss)
        if self._sampled:
            self._watch.batch_ended()
        self._steps += 1
        if self._sampled or not math.isfinite(loss) and not self._said_nan:
            self._said_nan |= not math.isfinite(loss)
            self._carefully("a step", self._look_at_steps)
        self._sampled = False

    @_harmless
    def on_epoch_end(self, epoch: int, last_metrics: List[Any], **kwargs: Any) -> None:
        self._epochs += 1
        self._note_metrics(last_metrics)
        if self._epochs == 1:
            self._carefully("targets", self._look_at_targets)
        self._carefully("metrics", self._look_at_metrics)
        self._carefully("an epoch", self._look_at_steps)
        self._outputs, self._targets = [], []

    @_harmless
    def on_train_end(self, exception: Any = False, **kwargs: Any) -> None:
        if not self._fitting:
            return
        if self._steps:
            self._carefully("the fit", self._look_at_steps)
        self.diagnosis = diagnosed(self._seen, cure_for)
        if isinstance(exception, Exception):
            self.diagnosis = self._with(exception)
        self._forget()
        if not self.diagnosis.healthy:
            self.say(f"Doctor: {len(self.diagnosis.at_least('warning'))} finding(s) in learn.doctor.diagnosis, first "
                     f"{self.diagnosis.causes[0]}")

    def _with(self, exception: Exception) -> Diagnosis:
        """What was seen, and what ended the fit."""
        finding = explained(exception)
        if isinstance(exception, GradientError) and not any(p.requires_grad for p in self.learn.model.parameters()):
            finding.cause = "everything-frozen"
        finding.cure = cure_for(finding)
        others = [f for f in self.diagnosis.findings if f.cause != finding.cause]
        known = [finding] if finding.cause != "unknown-failure" or not self.diagnosis.at_least("error") else []
        return Diagnosis([*known, *others], self.diagnosis.evidence)

    # -- looks -------------------------------------------------------------------------------------------------

    def _first_look(self, batch: Any, target: Any) -> None:
        others = [cb for cb in vars(self.learn).values() if isinstance(cb, LearnerCallback) and cb is not self
                  and not any(cb is known for known in self.learn.callbacks)]
        found, self._ran = first_look(self.learn, batch, target, others)
        self._seen.wiring, self._seen.inputs = found.wiring, found.inputs
        self._seen.outputs, self._seen.loss = found.outputs, found.loss
        self._seen.looked_at = [*found.looked_at, *self._seen.looked_at]
        self._place = found.place_of_ids

    def _look_at_steps(self) -> None:
        seen, watch = self._seen, self._watch
        watch.see_executed(self._ran)
        sampled = watch.finish()
        testing = is_range_test(self._rates)  # lr_find goes up to rates that ruin any model, and loads it anew
        lost = 0 if testing else sum(not math.isfinite(loss) for loss in self._losses)
        # What is counted at every step, beside what was sampled.
        seen.stepping = replace(
            sampled, steps=self._steps, sampled_steps=sampled.steps, skipped_steps=self._skipped_steps,
            skipped_backwards=self._skipped_backwards, kept_gradients=self._kept, loss_factor=self._factor,
            non_finite_losses=lost, steps_simulated=self._steps - self._skipped_steps if self._epochs else None,
            lr_in_force=sampled.lr_in_force if self._epochs else None)
        seen.graph, seen.precision = watch.graph, watch.precision
        seen.history = None if testing else History(self._losses, self._metric_values)
        seen.hyper = None
        if self._epochs and self._rates and not testing:  # a schedule may begin at nothing and end there
            highest, wd = max(self._rates), float(self.learn.opt.wd)
            seen.hyper = Hyper(highest, min(self._rates), wd, highest * wd, sampled.steps_in_an_epoch or 0,
                               "the highest of this fit", type(self.learn.opt.opt).__name__,
                               share_without_rate(self._rates))
        seen.weights.has_master_copies |= bool(masters_of(self.learn))
        self._speak()

    def _speak(self) -> None:
        for finding in diagnosed(self._seen, cure_for).at_least("warning"):
            if finding.cause not in self._said:
                self._said.add(finding.cause)
                self.say(f"Doctor, step {self._steps}: {finding}\n  fix: {finding.fix}")

    def _keep_targets(self, batch: Any, target: Any) -> None:
        if self._rows >= LABEL_ROWS or not isinstance(target, Tensor) or target.dim() == 0 or target.dim() > 2:
            return
        tables = list(tensors_in(batch))
        if self._place is None or len(tables[self._place]) != len(target):
            return
        self._train_targets.append(target.detach().cpu())
        self._train_ids += list(tables[self._place].cpu().numpy())
        self._rows += len(target)

    def _keep_validation_target(self, target: Any) -> None:
        if len(self._targets) < MOST_TARGETS:
            self._targets.append(target.detach() if isinstance(target, Tensor) else None)

    def _look_at_targets(self) -> None:
        if not self._train_targets:
            return
        joined = torch.cat(self._train_targets)
        values = joined.double().numpy() if joined.is_floating_point() or joined.dim() == 2 else joined.long().numpy()
        pads = [] if self._seen.inputs is None or self._seen.inputs.pad_id is None else [self._seen.inputs.pad_id]
        rows = [row[~np.isin(row, pads)] for row in self._train_ids]
        known = [t for t in self._targets if isinstance(t, Tensor)]
        valid = Sampled(None, torch.cat(known).cpu().double().numpy() if joined.dim() == 2 or joined.is_floating_point()
                        else torch.cat(known).cpu().long().numpy()) if known else None
        self._seen.labels = look_at_labels(Sampled(rows, values), valid, self._train_targets, pads)
        self._seen.looked_at.append("targets")

    def _look_at_metrics(self) -> None:
        targets = self._targets[:len(self._outputs)]
        if not targets or not self._metrics or not all(isinstance(t, Tensor) for t in self._outputs + targets):
            return
        with rng_preserved():
            self._seen.metrics = look_at_metrics(self._metrics, self._outputs, targets, self.learn.loss_func)
        if self._seen.metrics and "metrics" not in self._seen.looked_at:
            self._seen.looked_at.append("metrics")

    def _note_metrics(self, last_metrics: List[Any]) -> None:
        for i, value in enumerate((last_metrics or [])[1:]):
            if value is not None:
                self._metric_values.setdefault(str(i), []).append(float(value))

    def _carefully(self, what: str, look: Callable[[], Any]) -> None:
        """No look of the doctor's may end the fit."""
        try:
            look()
        except Exception as error:
            self._seen.not_looked_at.append(f"{what} ({type(error).__name__}: {error})"[:200])

    def _forget(self) -> None:
        self._seen, self._watch = Evidence(), None
        self._fitting = self._sampled = self._said_nan = False
        self._steps = self._epochs = self._rows = 0
        self._skipped_steps = self._skipped_backwards = self._kept = 0
        self._rates: List[float] = []
        self._factor: Optional[float] = None
        self._place: Optional[int] = None
        self._metrics: List[Any] = []
        self._ran: List[Any] = []
        self._losses: List[float] = []
        self._outputs: List[Any] = []
        self._targets: List[Any] = []
        self._train_targets: List[Tensor] = []
        self._train_ids: List[Any] = []
        self._metric_values: Dict[str, List[float]] = {}
        self._said: Set[str] = set()
