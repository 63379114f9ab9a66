"""``Doctor`` for fastai 2: the callback that watches a fit at almost no cost and says why its metrics do not move."""

from typing import Any, Callable, Dict, Optional

from fastai.callback.core import Callback
from fastai.learner import Learner
from torch import Tensor

from fastai_hf_callback.diagnosis.diagnosis import Diagnosis
from fastai_hf_callback.diagnosis.fit_monitor import FitMonitor, never_raises, share_docstring
from fastai_hf_callback.errors import FastaiHFError

from .learner_adapter import LearnerAdapter
from .optimizer_reader import OptimizerReader

__all__ = ["Doctor"]


@share_docstring
class Doctor(Callback):
    """A callback that watches a fit, prints the first sound evidence, and sums up in ``diagnosis``.

    Write ``Learner(..., cbs=[HFCallback(), Doctor()])`` or ``learn.add_cb(Doctor())``. fastai 2 tells no callback of an
    exception: for one that ended a fit, write ``explain(error)``.

    Examples
    --------
    >>> learn = Learner(data, HFModel(model, inputs=data.inputs), cbs=[HFCallback(), Doctor()])
    >>> learn.fit(1, 1e-3)
    >>> learn.doctor.diagnosis.healthy
    True
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
        self._set_up(every, say)

    def _set_up(self, every: int, say: Callable[[str], Any]) -> None:
        self.every, self.monitor = every, FitMonitor(every, say)
        self._clear_batch()

    def _clear_batch(self) -> None:
        self._batch_started = self._backward_finished = self._backward_ran = False

    @property
    def diagnosis(self) -> Optional[Diagnosis]:
        return self.monitor.diagnosis

    @never_raises
    def before_fit(self) -> None:
        self.monitor.reset()  # validate and get_preds begin with this event too, and a fit that failed ends here

    @never_raises
    def before_train(self) -> None:
        if not self.monitor.fitting:
            self.monitor.begin_fit(LearnerAdapter(self.learn))

    @never_raises
    def before_batch(self) -> None:
        self._clear_batch()
        if self.monitor.fitting and self.learn.training:
            self._start_batch()
        elif self.monitor.fitting:
            self.monitor.collect_validation_batch(tuple(self.learn.xb), _unpack_single(self.learn.yb))

    @never_raises
    def after_pred(self) -> None:
        self.monitor.receive_logits(self.learn.pred, self.learn.training)

    @never_raises
    def before_backward(self) -> None:
        self._backward_ran = True
        loss = self.learn.loss
        self.monitor.begin_backward(self.learn.loss_grad, float(loss.detach()) if isinstance(loss, Tensor) else 0.0)

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
        if not self.monitor.fitting or not self.learn.training:
            return
        self._start_batch()
        self._finish_backward(stepped=False)
        self.monitor.finish_step(OptimizerReader(self.learn).has_remaining_gradients())
        self.monitor.finish_batch(float(self.learn.loss.detach()))
        self._clear_batch()

    @never_raises
    def after_epoch(self) -> None:
        if self.monitor.fitting:
            figures, asked = list(getattr(self.learn, "final_record", [])), len(self.learn.metrics)
            self.monitor.finish_epoch(figures[len(figures) - asked :] if self.monitor.has_validated else [])

    @never_raises
    def after_fit(self) -> None:
        if self.monitor.fitting:
            self.monitor.end_fit()

    def _start_batch(self) -> None:
        if not self._batch_started:
            self._batch_started = True
            self.monitor.begin_batch(tuple(self.learn.xb), _unpack_single(self.learn.yb))

    def _finish_backward(self, stepped: bool) -> None:
        if not self._backward_finished:
            self._backward_finished = True
            self.monitor.finish_backward(not stepped, not self._backward_ran, float(self.learn.opt.hypers[-1]["lr"]))

    # -- export, pickle: its settings, nothing of a fit ----------------------------------------------------------

    def __getstate__(self) -> Dict[str, Any]:
        return {"every": self.every, "learn": self.learn}

    def __setstate__(self, state: Dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_up(self.every, print)


def _unpack_single(targets: Any) -> Any:
    return targets[0] if len(targets) == 1 else targets
