"""``Doctor`` for fastai 2: watches a real fit at almost no cost and says why its metrics do not move.

What is common to both fastais stands in the core's ``watching.py``.
"""

import copy
from typing import Any, Callable, Dict, List, Optional

from fastai.callback.core import Callback
from fastai.learner import Learner
from torch import Tensor

from fastai_hf_callback.diagnosis.diagnosis import Diagnosis, build_diagnosis
from fastai_hf_callback.diagnosis.fit_monitor import SAMPLED_ELEMENTS, SAMPLED_PARAMETERS, FitMonitor, never_raises
from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.errors import FastaiHFError
from fastai_hf_callback.results.evidence import Evidence, MetricEvidence

from .diagnose import probe_first_batch
from .fixes import FASTAI2_PHRASES, find_fix
from .metric_probe import probe_metrics
from .step_monitor import StepMonitor, has_remaining_gradients

__all__ = ["Doctor"]


class Doctor(Callback, FitMonitor):
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
    _is_read_only = True

    def __init__(self, every: int = 50, say: Callable[[str], Any] = print):
        if isinstance(every, Learner):
            raise FastaiHFError(
                "Doctor was given a Learner; on fastai 2 it takes none. Write Learner(..., "
                "cbs=[HFCallback(), Doctor()]).",
                "registration",
            )
        self.every, self.say = every, say
        self._last_diagnosis: Optional[Diagnosis] = None
        self._reset_state()
        self._clear_batch()

    @property
    def diagnosis(self) -> Optional[Diagnosis]:
        return self._build_diagnosis(self._evidence) if self._fitting else self._last_diagnosis

    # -- the fit's events --------------------------------------------------------------------------------------

    @never_raises
    def before_fit(self) -> None:
        self._fitting = False  # validate and get_preds begin with this event too, and a fit that failed ends here

    @never_raises
    def before_train(self) -> None:
        if not self._fitting:
            self._last_diagnosis = None
            self._begin_fit()

    @never_raises
    def before_batch(self) -> None:
        self._clear_batch()
        if self._fitting and self.learn.training:
            self._start_batch()
        elif self._fitting:
            self._collect_validation_batch(tuple(self.learn.xb), _unpack_single(self.learn.yb))

    @never_raises
    def after_pred(self) -> None:
        self._receive_logits(self.learn.pred, self.learn.training)

    @never_raises
    def before_backward(self) -> None:
        self._backward_ran = True
        loss = self.learn.loss
        self._begin_backward(self.learn.loss_grad, float(loss.detach()) if isinstance(loss, Tensor) else 0.0)

    @never_raises
    def after_cancel_backward(self) -> None:
        self._backward_ran = False

    @never_raises
    def before_step(self) -> None:
        self._finish_backward(stepped=True)

    @never_raises
    def after_cancel_step(self) -> None:
        self._finish_backward(stepped=False)

    @never_raises
    def after_batch(self) -> None:
        if not self._fitting or not self.learn.training:
            return
        self._start_batch()
        self._finish_backward(stepped=False)
        self._finish_step(has_remaining_gradients(self.learn))
        self._finish_batch(float(self.learn.loss.detach()))
        self._clear_batch()

    @never_raises
    def after_epoch(self) -> None:
        if self._fitting:
            figures, asked = list(getattr(self.learn, "final_record", [])), len(self.learn.metrics)
            self._finish_epoch(figures[len(figures) - asked :] if self._outputs else [])

    @never_raises
    def after_fit(self) -> None:
        if not self._fitting:
            return
        if self._steps:
            self._attempt("the fit", self._probe_steps)
        self._last_diagnosis = self._build_diagnosis(self._evidence)
        self._reset_state()
        self._report_summary()

    def _start_batch(self) -> None:
        if not self._batch_started:
            self._batch_started = True
            self._begin_batch(tuple(self.learn.xb), _unpack_single(self.learn.yb))

    def _finish_backward(self, stepped: bool) -> None:
        if not self._backward_finished:
            self._backward_finished = True
            self._record_backward(not stepped, not self._backward_ran, float(self.learn.opt.hypers[-1]["lr"]))

    def _clear_batch(self) -> None:
        self._batch_started = self._backward_finished = self._backward_ran = False

    # -- what the core asks ------------------------------------------------------------------------------------

    def _build_monitor(self) -> StepMonitor:
        return StepMonitor(self.learn, SAMPLED_PARAMETERS, SAMPLED_ELEMENTS)

    def _probe_first_batch(self, batch: Any, target: Any) -> None:
        self._keep_first_batch_evidence(probe_first_batch(self.learn, Batch(batch, target)))

    def _copy_metrics(self) -> List[Any]:
        return copy.deepcopy(list(self.learn.metrics))

    def _collect_metric_evidence(self, outputs: List[Any], targets: List[Any]) -> List[MetricEvidence]:
        return probe_metrics(self._metric_copies, outputs, targets, self.learn.loss_func)

    def _build_diagnosis(self, evidence: Evidence) -> Diagnosis:
        return build_diagnosis(evidence, find_fix, FASTAI2_PHRASES)

    def _read_weight_decay(self) -> float:
        return max((float(hyper.get("wd", 0.0) or 0.0) for hyper in self.learn.opt.hypers), default=0.0)

    def _optimizer_name(self) -> str:
        optimizer = self.learn.opt
        return type(vars(optimizer).get("opt") or optimizer).__name__

    # -- export, pickle: its settings, nothing of a fit ----------------------------------------------------------

    def __getstate__(self) -> Dict[str, Any]:
        return {"every": self.every, "learn": self.learn}

    def __setstate__(self, state: Dict[str, Any]) -> None:
        vars(self).update({**state, "say": print, "_last_diagnosis": None})
        self._reset_state()
        self._clear_batch()


def _unpack_single(targets: Any) -> Any:
    return targets[0] if len(targets) == 1 else targets
