"""``Doctor`` for fastai 1: the callback that watches a fit at almost no cost and says why its metrics do not move."""

from typing import Any, Callable, List, Optional

from fastai.basic_train import Learner, LearnerCallback
from torch import Tensor

from fastai_hf_callback.diagnosis.diagnosis import Diagnosis
from fastai_hf_callback.diagnosis.fit_monitor import FitMonitor, never_raises, share_docstring

from .learner_adapter import LearnerAdapter

__all__ = ["Doctor"]


@share_docstring
class Doctor(LearnerCallback):
    """A callback that watches a fit, prints the first sound evidence, and sums up in ``diagnosis``.

    Write ``Learner(..., callback_fns=[Doctor])`` or ``learn.callbacks.append(Doctor(learn))``.

    Examples
    --------
    >>> learn = Learner(data, HFModel(model, inputs=data.inputs), callbacks=[HFCallback()], callback_fns=[Doctor])
    >>> learn.fit(1, 1e-3)
    >>> learn.doctor.diagnosis.healthy
    True
    """

    _order = 3000  # after all others: what it sees is what the loss, the optimizer and the weights get
    _is_read_only = True

    def __init__(self, learn: Learner, every: int = 50, say: Callable[[str], Any] = print):
        super().__init__(learn)
        self.every, self.monitor = every, FitMonitor(every, say)
        self.exclude = [*self.exclude, "monitor"]

    @property
    def diagnosis(self) -> Optional[Diagnosis]:
        return self.monitor.diagnosis

    @never_raises
    def on_train_begin(self, **kwargs: Any) -> None:
        self.monitor.begin_fit(LearnerAdapter(self.learn))

    @never_raises
    def on_batch_begin(self, last_input: Any, last_target: Any, train: bool, **kwargs: Any) -> None:
        if self.monitor.fitting:
            notice = self.monitor.begin_batch if train else self.monitor.collect_validation_batch
            notice(last_input, last_target)

    @never_raises
    def on_loss_begin(self, last_output: Any, train: bool, **kwargs: Any) -> None:
        self.monitor.receive_logits(last_output, train)

    @never_raises
    def on_backward_begin(self, last_loss: Tensor, smooth_loss: Tensor, iteration: int, **kwargs: Any) -> None:
        # Smoothed over one loss it is the one that loss_func gave.
        self.monitor.begin_backward(last_loss, float(smooth_loss) if iteration == 0 else 0.0)

    @never_raises
    def on_backward_end(self, skip_step: bool, skip_bwd: bool, **kwargs: Any) -> None:
        self.monitor.finish_backward(skip_step, skip_bwd, self.learn.opt.lr)

    @never_raises
    def on_step_end(self, skip_zero: bool, **kwargs: Any) -> None:
        self.monitor.finish_step(skip_zero)

    @never_raises
    def on_batch_end(self, train: bool, last_loss: Any, **kwargs: Any) -> None:
        if self.monitor.fitting and train:
            self.monitor.finish_batch(float(last_loss))

    @never_raises
    def on_epoch_end(self, last_metrics: Optional[List[Any]], **kwargs: Any) -> None:
        self.monitor.finish_epoch((last_metrics or [])[1:])

    @never_raises
    def on_train_end(self, exception: Any = False, **kwargs: Any) -> None:
        if self.monitor.fitting:
            self.monitor.end_fit(exception)
