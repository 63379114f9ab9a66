"""``Doctor`` for fastai 2: watches a real fit at almost no cost and says why its metrics do not move.

What is common to both fastais stands in the core's ``watching.py``.
"""
import copy
from typing import Any, Callable, Dict, List, Optional

from fastai.callback.core import Callback
from fastai.learner import Learner
from torch import Tensor

from fastai_hf_callback.diagnosis.diagnosis import Diagnosis, diagnosed
from fastai_hf_callback.errors import BridgeError
from fastai_hf_callback.results.evidence import Evidence, MetricSeen
from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.diagnosis.fit_monitor import SAMPLED_ELEMENTS, SAMPLED_PARAMETERS, AnyDoctor, harmless
from .fixes import PHRASES, cure_for
from .metric_probe import look_at_metrics
from .step_monitor import StepWatch, gradients_left
from .diagnose import first_look

__all__ = ["Doctor"]


class Doctor(Callback, AnyDoctor):
    """Watch a fit; speak at the first sound evidence; sum up in ``diagnosis``.

    Write ``Learner(..., cbs=[HFCallback(), Doctor()])`` or ``learn.add_cb(Doctor())``. It reads and never changes: the
    weights after a fit are bit for bit those of a fit without it.

    Parameters
    ----------
    every : int
        Steps between two looks at the weights, after the first four.
    say : callable
        What a finding is said with, once each; by default ``print``.

    Attributes
    ----------
    diagnosis : Diagnosis or None
        Of the last fit, and of one that is running or that failed as far as it went; None before one.

    Notes
    -----
    fastai 2 tells no callback of an exception: what ended a fit is for ``explain(error)``.
    """

    order = 3000  # after all others: what it sees is what the loss, the optimizer and the weights get
    _watches_only = True

    def __init__(self, every: int = 50, say: Callable[[str], Any] = print):
        if isinstance(every, Learner):
            raise BridgeError("Doctor was given a Learner; on fastai 2 it takes none. Write Learner(..., "
                              "cbs=[HFCallback(), Doctor()]).", "registration")
        self.every, self.say = every, say
        self._last: Optional[Diagnosis] = None
        self._forget()
        self._forget_batch()

    @property
    def diagnosis(self) -> Optional[Diagnosis]:
        return self._judged(self._seen) if self._fitting else self._last

    # -- the fit's events --------------------------------------------------------------------------------------

    @harmless
    def before_fit(self) -> None:
        self._fitting = False  # validate and get_preds begin with this event too, and a fit that failed ends here

    @harmless
    def before_train(self) -> None:
        if not self._fitting:
            self._last = None
            self._fit_begins()

    @harmless
    def before_batch(self) -> None:
        self._forget_batch()
        if self._fitting and self.learn.training:
            self._begin()
        elif self._fitting:
            self._keep_validation(tuple(self.learn.xb), _alone(self.learn.yb))

    @harmless
    def after_pred(self) -> None:
        self._logits_arrive(self.learn.pred, self.learn.training)

    @harmless
    def before_backward(self) -> None:
        self._propagated = True
        loss = self.learn.loss
        self._backward_begins(self.learn.loss_grad, float(loss.detach()) if isinstance(loss, Tensor) else 0.0)

    @harmless
    def after_cancel_backward(self) -> None:
        self._propagated = False

    @harmless
    def before_step(self) -> None:
        self._end_backward(stepped=True)

    @harmless
    def after_cancel_step(self) -> None:
        self._end_backward(stepped=False)

    @harmless
    def after_batch(self) -> None:
        if not self._fitting or not self.learn.training:
            return
        self._begin()
        self._end_backward(stepped=False)
        self._step_ended(gradients_left(self.learn))
        self._batch_ended(float(self.learn.loss.detach()))
        self._forget_batch()

    @harmless
    def after_epoch(self) -> None:
        if self._fitting:
            figures, asked = list(getattr(self.learn, "final_record", [])), len(self.learn.metrics)
            self._epoch_ended(figures[len(figures) - asked:] if self._outputs else [])

    @harmless
    def after_fit(self) -> None:
        if not self._fitting:
            return
        if self._steps:
            self._carefully("the fit", self._look_at_steps)
        self._last = self._judged(self._seen)
        self._forget()
        self._sum_up()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._batch_begins(tuple(self.learn.xb), _alone(self.learn.yb))

    def _end_backward(self, stepped: bool) -> None:
        if not self._ended:
            self._ended = True
            self._backward_ended(not stepped, not self._propagated, float(self.learn.opt.hypers[-1]["lr"]))

    def _forget_batch(self) -> None:
        self._begun = self._ended = self._propagated = False

    # -- what the core asks ------------------------------------------------------------------------------------

    def _new_watch(self) -> StepWatch:
        return StepWatch(self.learn, SAMPLED_PARAMETERS, SAMPLED_ELEMENTS)

    def _look_at_first_batch(self, batch: Any, target: Any) -> None:
        self._keep_first_look(first_look(self.learn, Batch(batch, target)))

    def _metrics_copied(self) -> List[Any]:
        return copy.deepcopy(list(self.learn.metrics))

    def _metrics_seen(self, outputs: List[Any], targets: List[Any]) -> List[MetricSeen]:
        return look_at_metrics(self._metrics_asked, outputs, targets, self.learn.loss_func)

    def _judged(self, seen: Evidence) -> Diagnosis:
        return diagnosed(seen, cure_for, PHRASES)

    def _decay(self) -> float:
        return max((float(hyper.get("wd", 0.0) or 0.0) for hyper in self.learn.opt.hypers), default=0.0)

    def _kind_of_optimizer(self) -> str:
        optimizer = self.learn.opt
        return type(vars(optimizer).get("opt") or optimizer).__name__

    # -- export, pickle: its settings, nothing of a fit ----------------------------------------------------------

    def __getstate__(self) -> Dict[str, Any]:
        return {"every": self.every, "learn": self.learn}

    def __setstate__(self, state: Dict[str, Any]) -> None:
        vars(self).update({**state, "say": print, "_last": None})
        self._forget()
        self._forget_batch()


def _alone(targets: Any) -> Any:
    return targets[0] if len(targets) == 1 else targets
