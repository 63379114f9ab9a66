"""``Doctor`` for fastai 1: watches a real fit at almost no cost and says why its metrics do not move.

What is common to both fastais stands in the core's ``watching.py``.
"""
import copy
from typing import Any, Callable, List, Optional

from fastai.basic_train import Learner, LearnerCallback
from torch import Tensor

from fastai_hf_callback.diagnosis.diagnosis import Diagnosis, diagnosed
from fastai_hf_callback.errors import GradientError
from fastai_hf_callback.results.evidence import Evidence, MetricSeen
from fastai_hf_callback.diagnosis.failures import explained
from fastai_hf_callback.diagnosis.fit_monitor import SAMPLED_ELEMENTS, SAMPLED_PARAMETERS, AnyDoctor, harmless
from .fixes import cure_for
from .metric_probe import look_at_metrics
from .step_monitor import StepWatch
from .diagnose import first_look

__all__ = ["Doctor"]


class Doctor(LearnerCallback, AnyDoctor):
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

    @harmless
    def on_train_begin(self, **kwargs: Any) -> None:
        self._fit_begins()

    @harmless
    def on_batch_begin(self, last_input: Any, last_target: Any, train: bool, **kwargs: Any) -> None:
        if self._fitting and train:
            self._batch_begins(last_input, last_target)
        elif self._fitting:
            self._keep_validation(last_input, last_target)

    @harmless
    def on_loss_begin(self, last_output: Any, train: bool, **kwargs: Any) -> None:
        self._logits_arrive(last_output, train)

    @harmless
    def on_backward_begin(self, last_loss: Tensor, smooth_loss: Tensor, **kwargs: Any) -> None:
        # Smoothed over one loss it is the one that loss_func gave.
        self._backward_begins(last_loss, float(smooth_loss) if self._steps == 0 else 0.0)

    @harmless
    def on_backward_end(self, skip_step: bool, skip_bwd: bool, **kwargs: Any) -> None:
        self._backward_ended(skip_step, skip_bwd, self.learn.opt.lr)

    @harmless
    def on_step_end(self, skip_zero: bool, **kwargs: Any) -> None:
        self._step_ended(skip_zero)

    @harmless
    def on_batch_end(self, train: bool, last_loss: Any, **kwargs: Any) -> None:
        if self._fitting and train:
            self._batch_ended(float(last_loss))

    @harmless
    def on_epoch_end(self, epoch: int, last_metrics: List[Any], **kwargs: Any) -> None:
        self._epoch_ended((last_metrics or [])[1:])

    @harmless
    def on_train_end(self, exception: Any = False, **kwargs: Any) -> None:
        if not self._fitting:
            return
        if self._steps:
            self._carefully("the fit", self._look_at_steps)
        self.diagnosis = self._judged(self._seen)
        if isinstance(exception, Exception):
            self.diagnosis = self._with(exception)
        self._forget()
        self._sum_up()

    def _with(self, exception: Exception) -> Diagnosis:
        """What was seen, and what ended the fit."""
        finding = explained(exception)
        if isinstance(exception, GradientError) and not any(p.requires_grad for p in self.learn.model.parameters()):
            finding.cause = "everything-frozen"
        finding.cure = cure_for(finding)
        others = [f for f in self.diagnosis.findings if f.cause != finding.cause]
        known = [finding] if finding.cause != "unknown-failure" or not self.diagnosis.at_least("error") else []
        return Diagnosis([*known, *others], self.diagnosis.evidence)

    # -- what the core asks ------------------------------------------------------------------------------------

    def _new_watch(self) -> StepWatch:
        return StepWatch(self.learn, SAMPLED_PARAMETERS, SAMPLED_ELEMENTS)

    def _look_at_first_batch(self, batch: Any, target: Any) -> None:
        others = [cb for cb in vars(self.learn).values() if isinstance(cb, LearnerCallback) and cb is not self
                  and not any(cb is known for known in self.learn.callbacks)]
        self._keep_first_look(first_look(self.learn, batch, target, others))

    def _metrics_copied(self) -> List[Any]:
        return copy.deepcopy(self.learn.metrics)

    def _metrics_seen(self, outputs: List[Any], targets: List[Any]) -> List[MetricSeen]:
        return look_at_metrics(self._metrics_asked, outputs, targets, self.learn.loss_func)

    def _judged(self, seen: Evidence) -> Diagnosis:
        return diagnosed(seen, cure_for)

    def _decay(self) -> float:
        return float(self.learn.opt.wd)

    def _kind_of_optimizer(self) -> str:
        return type(self.learn.opt.opt).__name__
