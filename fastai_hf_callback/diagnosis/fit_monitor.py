"""What a doctor notes and says while a fit runs, on either fastai; its rooms bring the events. Imports torch, numpy."""
import copy
import functools
import math
from dataclasses import replace
from typing import Any, Callable, Dict, List, Optional, Set

import numpy as np
import torch
from torch import Tensor

from .diagnosis import Diagnosis
from fastai_hf_callback.results.evidence import Evidence, History, Hyper
from fastai_hf_callback.diagnosis.probes.batches import is_per_token
from fastai_hf_callback.diagnosis.probes.labels import Sampled, look_at_labels
from fastai_hf_callback.diagnosis.probes.loss import ask_about_all_targets
from fastai_hf_callback.diagnosis.probes.steps import StepWatch
from fastai_hf_callback.diagnosis.probes.weights import look_at_weights
from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.utils.distributed import rank
from .learning_rates import is_range_test, share_without_rate
from fastai_hf_callback.utils.rng import rng_preserved

__all__ = ["AnyDoctor", "harmless"]

SAMPLED_PARAMETERS, SAMPLED_ELEMENTS = 12, 256
FIRST_STEPS = 4
LABEL_ROWS, METRIC_BATCHES, MOST_TARGETS = 384, 4, 200


def harmless(event: Callable[..., None]) -> Callable[..., None]:
    """An event of the doctor's that never ends the fit: what fails is noted, and the doctor stops watching."""
    @functools.wraps(event)
    def on_event(self: "AnyDoctor", **kwargs: Any) -> None:
        try:
            event(self, **kwargs)
        except Exception as error:
            self._seen.not_looked_at.append(f"{event.__name__} ({type(error).__name__}: {error})"[:200])
            self._sampled = False
    return on_event


class RowsKept:
    """Token ids and targets of the first rows that come by, up to ``LABEL_ROWS``."""

    def __init__(self) -> None:
        self.targets: List[Tensor] = []
        self._ids: List[Any] = []

    def keep(self, batch: Any, target: Any, place: Optional[int]) -> None:
        """`place` is that of the ids among the batch's tensors."""
        if len(self._ids) >= LABEL_ROWS or not isinstance(target, Tensor) or target.dim() == 0 or target.dim() > 2:
            return
        tables = list(tensors_in(batch))
        if place is None or place >= len(tables) or len(tables[place]) != len(target) or \
                is_per_token(target, tables[place]):
            return
        self.targets.append(target.detach().cpu())
        self._ids += list(tables[place].cpu().numpy())

    def sampled(self, pads: List[int]) -> Sampled:
        """All of them, padding taken away."""
        return Sampled([row[~np.isin(row, pads)] for row in self._ids], _values(torch.cat(self.targets)))


def _values(targets: Tensor) -> np.ndarray:
    exact = targets.is_floating_point() or targets.dim() == 2
    return targets.double().numpy() if exact else targets.long().numpy()


class AnyDoctor:
    """Notes what a fit does, speaks at the first sound evidence. Each fastai's own hands it the events."""

    learn: Any
    every: int
    say: Callable[[str], Any]
    diagnosis: Optional[Diagnosis]

    # -- the fit's events --------------------------------------------------------------------------------------

    def _fit_begins(self) -> None:
        self._forget()
        self._seen = Evidence(looked_at=["gradients", "optimizer"])
        self._watch = self._new_watch()
        self._seen.weights = look_at_weights(self.learn.model, bool(self._watch.masters()))
        self._metrics_asked = self._metrics_copied()  # before an epoch has left anything in them
        self._fitting = True

    def _batch_begins(self, batch: Any, target: Any) -> None:
        if self._steps == 0:
            self._carefully("inputs and outputs", lambda: self._look_at_first_batch(batch, target))
        self._train_rows.keep(batch, target, self._place)
        self._sampled = self._steps < FIRST_STEPS or self._steps % self.every == 0
        if self._sampled:
            self._watch.batch_begins(target)
        else:
            self._watch.forget_step()

    def _logits_arrive(self, output: Any, train: bool) -> None:
        if self._a_row_of_logits is None and train and isinstance(output, Tensor) and output.dim():
            self._a_row_of_logits = output[:1].detach()
        if self._sampled and train:
            self._watch.loss_begins(output)
        elif self._fitting and not train and len(self._outputs) < METRIC_BATCHES:
            self._outputs.append(output.detach() if isinstance(output, Tensor) else None)

    def _backward_begins(self, loss: Tensor, given: float) -> None:
        """`given` is the loss that ``loss_func`` gave."""
        if not self._sampled:
            return
        self._watch.backward_begins(loss)
        if self._steps == 0 and given:
            self._factor = self._watch.losses[0] / given

    def _backward_ended(self, skip_step: bool, skip_backward: bool, rate: Any) -> None:
        self._skipped_steps += bool(skip_step)
        self._skipped_backwards += bool(skip_backward)
        if isinstance(rate, float):
            self._rates.append(rate)
        if self._sampled:
            self._watch.backward_ended(skip_step, skip_backward)

    def _step_ended(self, skip_zero: bool) -> None:
        self._kept += bool(skip_zero)
        if self._sampled:
            self._watch.step_ended(skip_zero)

    def _batch_ended(self, loss: float) -> None:
        self._losses.append(loss)
        if self._sampled:
            self._watch.batch_ended()
        self._steps += 1
        if self._sampled or not math.isfinite(loss) and not self._said_nan:
            self._said_nan |= not math.isfinite(loss)
            self._carefully("a step", self._look_at_steps)
        self._sampled = False

    def _epoch_ended(self, values: List[Any]) -> None:
        self._epochs += 1
        self._note_metrics(values)
        if self._epochs == 1:
            self._carefully("targets", self._look_at_targets)
        self._carefully("metrics", self._look_at_metrics)
        self._carefully("an epoch", self._look_at_steps)
        self._outputs, self._targets = [], []

    def _sum_up(self) -> None:
        if not self.diagnosis.healthy:
            self._tell(f"Doctor: {len(self.diagnosis.at_least('warning'))} finding(s) in learn.doctor.diagnosis, first "
                       f"{self.diagnosis.causes[0]}")

    def _tell(self, line: str) -> None:
        """Of several processes the first one speaks; all of them note."""
        if rank() == 0:
            self.say(line)

    # -- looks -------------------------------------------------------------------------------------------------

    def _keep_first_look(self, found: Any) -> None:
        seen, self._ran = found
        self._seen.wiring, self._seen.inputs = seen.wiring, seen.inputs
        self._seen.outputs, self._seen.loss = seen.outputs, seen.loss
        self._seen.looked_at = [*seen.looked_at, *self._seen.looked_at]
        self._place = seen.place_of_ids

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
            highest, wd = max(self._rates), self._decay()
            seen.hyper = Hyper(highest, min(self._rates), wd, highest * wd, sampled.steps_in_an_epoch or 0,
                               "the highest of this fit", self._kind_of_optimizer(),
                               share_without_rate(self._rates))
        seen.weights.has_master_copies |= bool(watch.masters())
        self._speak()

    def _speak(self) -> None:
        for finding in self._judged(self._seen).at_least("warning"):
            if finding.cause not in self._said:
                self._said.add(finding.cause)
                self._tell(f"Doctor, step {self._steps}: {finding}\n  fix: {finding.fix}")

    def _keep_validation(self, batch: Any, target: Any) -> None:
        if self._epochs == 0:
            self._valid_rows.keep(batch, target, self._place)
        if len(self._targets) < MOST_TARGETS:
            self._targets.append(target.detach() if isinstance(target, Tensor) else None)

    def _look_at_targets(self) -> None:
        train = self._train_rows
        if not train.targets:
            return
        pads = [] if self._seen.inputs is None or self._seen.inputs.pad_id is None else [self._seen.inputs.pad_id]
        self._seen.labels = look_at_labels(train.sampled(pads), self._validation_sampled(pads), train.targets, pads,
                                           together=False)
        if self._seen.loss is not None and self._a_row_of_logits is not None:
            with rng_preserved():  # a loss may draw, and may keep what it was asked: a copy is asked
                ask_about_all_targets(self._seen.loss, copy.deepcopy(self.learn.loss_func), self._a_row_of_logits,
                                      torch.cat(train.targets).to(self._a_row_of_logits.device))
        self._seen.looked_at.append("targets")

    def _validation_sampled(self, pads: List[int]) -> Optional[Sampled]:
        """Rows with their words; where these were not found, all targets alone."""
        if self._valid_rows.targets:
            return self._valid_rows.sampled(pads)
        known = [t for t in self._targets if isinstance(t, Tensor)]
        return Sampled(None, _values(torch.cat(known).cpu())) if known else None

    def _look_at_metrics(self) -> None:
        targets = self._targets[:len(self._outputs)]
        if not targets or not self._metrics_asked or not all(isinstance(t, Tensor) for t in self._outputs + targets):
            return
        with rng_preserved():
            self._seen.metrics = self._metrics_seen(self._outputs, targets)
        if self._seen.metrics and "metrics" not in self._seen.looked_at:
            self._seen.looked_at.append("metrics")

    def _note_metrics(self, values: List[Any]) -> None:
        for i, value in enumerate(values):
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
        self._steps = self._epochs = 0
        self._skipped_steps = self._skipped_backwards = self._kept = 0
        self._rates: List[float] = []
        self._factor: Optional[float] = None
        self._place: Optional[int] = None
        self._metrics_asked: List[Any] = []
        self._ran: List[Any] = []
        self._losses: List[float] = []
        self._outputs: List[Any] = []
        self._targets: List[Any] = []
        self._train_rows, self._valid_rows = RowsKept(), RowsKept()
        self._a_row_of_logits: Optional[Tensor] = None
        self._metric_values: Dict[str, List[float]] = {}
        self._said: Set[str] = set()

    # -- what each fastai answers in its own way --------------------------------------------------------------

    def _new_watch(self) -> StepWatch:
        raise NotImplementedError

    def _look_at_first_batch(self, batch: Any, target: Any) -> None:
        raise NotImplementedError

    def _metrics_copied(self) -> List[Any]:
        raise NotImplementedError

    def _metrics_seen(self, outputs: List[Any], targets: List[Any]) -> List[Any]:
        raise NotImplementedError

    def _judged(self, seen: Evidence) -> Diagnosis:
        raise NotImplementedError

    def _decay(self) -> float:
        raise NotImplementedError

    def _kind_of_optimizer(self) -> str:
        raise NotImplementedError
