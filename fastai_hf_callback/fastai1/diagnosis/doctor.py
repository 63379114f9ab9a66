"""``Doctor`` for fastai 1: watches a real fit at almost no cost and says why its metrics do not move.

What is common to both fastais stands in the core's ``watching.py``.
"""

import copy
from typing import Any, Callable, List, Optional

from fastai.basic_train import Learner, LearnerCallback
from torch import Tensor

from fastai_hf_callback.diagnosis.checks.failures import classify_exception
from fastai_hf_callback.diagnosis.diagnosis import Diagnosis, build_diagnosis
from fastai_hf_callback.diagnosis.fit_monitor import SAMPLED_ELEMENTS, SAMPLED_PARAMETERS, FitMonitor, never_raises
from fastai_hf_callback.errors import GradientError
from fastai_hf_callback.results.evidence import Evidence, MetricEvidence

from .diagnose import probe_first_batch
from .fixes import find_fix
from .metric_probe import probe_metrics
from .step_monitor import StepMonitor

__all__ = ["Doctor"]


class Doctor(LearnerCallback, FitMonitor):
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
    _is_read_only = True

    def __init__(self, learn: Learner, every: int = 50, say: Callable[[str], Any] = print):
        super().__init__(learn)
        self.every, self.say = every, say
        self.diagnosis: Optional[Diagnosis] = None
        self._reset_state()
        self.exclude = [*self.exclude, *(name for name in vars(self) if name.startswith("_")), "diagnosis", "say"]

    # -- the fit's events --------------------------------------------------------------------------------------

    @never_raises
    def on_train_begin(self, **kwargs: Any) -> None:
        self._begin_fit()

    @never_raises
    def on_batch_begin(self, last_input: Any, last_target: Any, train: bool, **kwargs: Any) -> None:
        if self._fitting and train:
            self._begin_batch(last_input, last_target)
        elif self._fitting:
            self._collect_validation_batch(last_input, last_target)

    @never_raises
    def on_loss_begin(self, last_output: Any, train: bool, **kwargs: Any) -> None:
        self._receive_logits(last_output, train)

    @never_raises
    def on_backward_begin(self, last_loss: Tensor, smooth_loss: Tensor, **kwargs: Any) -> None:
        # Smoothed over one loss it is the one that loss_func gave.
        self._begin_backward(last_loss, float(smooth_loss) if self._steps == 0 else 0.0)

    @never_raises
    def on_backward_end(self, skip_step: bool, skip_bwd: bool, **kwargs: Any) -> None:
        self._record_backward(skip_step, skip_bwd, self.learn.opt.lr)

    @never_raises
    def on_step_end(self, skip_zero: bool, **kwargs: Any) -> None:
        self._finish_step(skip_zero)

    @never_raises
    def on_batch_end(self, train: bool, last_loss: Any, **kwargs: Any) -> None:
        if self._fitting and train:
            self._finish_batch(float(last_loss))

    @never_raises
    def on_epoch_end(self, epoch: int, last_metrics: List[Any], **kwargs: Any) -> None:
        self._finish_epoch((last_metrics or [])[1:])

    @never_raises
    def on_train_end(self, exception: Any = False, **kwargs: Any) -> None:
        if not self._fitting:
            return
        if self._steps:
            self._attempt("the fit", self._probe_steps)
        self.diagnosis = self._build_diagnosis(self._evidence)
        if isinstance(exception, Exception):
            self.diagnosis = self._add_exception(exception)
        self._reset_state()
        self._report_summary()

    def _add_exception(self, exception: Exception) -> Diagnosis:
        """What was seen, and what ended the fit."""
        finding = classify_exception(exception)
        if isinstance(exception, GradientError) and not any(p.requires_grad for p in self.learn.model.parameters()):
            finding.cause = "everything-frozen"
        finding.cure = find_fix(finding)
        others = [f for f in self.diagnosis.findings if f.cause != finding.cause]
        known = [finding] if finding.cause != "unknown-failure" or not self.diagnosis.at_least("error") else []
        return Diagnosis([*known, *others], self.diagnosis.evidence)

    # -- what the core asks ------------------------------------------------------------------------------------

    def _build_monitor(self) -> StepMonitor:
        return StepMonitor(self.learn, SAMPLED_PARAMETERS, SAMPLED_ELEMENTS)

    def _probe_first_batch(self, batch: Any, target: Any) -> None:
        others = [
            cb
            for cb in vars(self.learn).values()
            if isinstance(cb, LearnerCallback)
            and cb is not self
            and not any(cb is known for known in self.learn.callbacks)
        ]
        self._keep_first_batch_evidence(probe_first_batch(self.learn, batch, target, others))

    def _copy_metrics(self) -> List[Any]:
        return copy.deepcopy(self.learn.metrics)

    def _collect_metric_evidence(self, outputs: List[Any], targets: List[Any]) -> List[MetricEvidence]:
        return probe_metrics(self._metric_copies, outputs, targets, self.learn.loss_func)

    def _build_diagnosis(self, evidence: Evidence) -> Diagnosis:
        return build_diagnosis(evidence, find_fix)

    def _read_weight_decay(self) -> float:
        return float(self.learn.opt.wd)

    def _optimizer_name(self) -> str:
        return type(self.learn.opt.opt).__name__
