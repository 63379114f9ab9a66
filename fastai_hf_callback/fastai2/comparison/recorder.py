"""Records a fastai 2 run into a ``Trace``, and evaluates a learner without disturbing it."""

from typing import Any, Callable, Dict, List, Optional, Sequence

from fastai.callback.core import Callback, TrainEvalCallback
from fastai.learner import AvgLoss, Learner, Metric
from fastcore.foundation import L
from torch import Tensor

from fastai_hf_callback.comparison.baseline import (
    Evaluation,
    compute_base_rates,
    compute_constant_prediction_scores,
    compute_grad_norm,
    make_unique_names,
)
from fastai_hf_callback.fastai2.compat.learner_state import (
    preserve_attributes,
    preserve_learner,
    preserve_training_modes,
)
from fastai_hf_callback.fastai2.metrics import score_constant
from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.results.trace import Epoch, Step, Trace, digest
from fastai_hf_callback.utils.rng import preserve_rng_state

__all__ = ["TraceRecorder", "evaluate", "base_rates", "has_validation", "metric_names", "constant_prediction_scores"]


class TraceRecorder(Callback):
    """Writes every step and epoch into `trace`; reads, never changes.

    Parameters
    ----------
    trace : Trace
        Written to.
    on_step : callable, optional
        Called with the steps done and the steps expected in this fit.
    """

    order = -2000  # before any callback that scales the gradients or clips them

    def __init__(self, trace: Trace, on_step: Optional[Callable[[int, int], None]] = None):
        self.trace, self.on_step = trace, on_step
        self.n_train_targets = 0
        self._fit_index, self._is_fitting, self._steps_done, self._steps_expected = -1, False, 0, 0

    def before_fit(self) -> None:
        self._is_fitting = False  # validate and get_preds begin with this event too

    def before_train(self) -> None:
        if not self._is_fitting:
            self._is_fitting, self._steps_done = True, 0
            self._fit_index += 1
            self._steps_expected = self.learn.n_epoch * len(self.learn.dls.train)

    def before_batch(self) -> None:
        learn = self.learn
        if not learn.training:
            return
        if not self.trace.first_batch:
            self.trace.first_batch = digest(list(tensors_in((learn.xb, learn.yb))))
        if self._fit_index == 0 and learn.epoch == 0:
            self.n_train_targets += sum(t.numel() for t in tensors_in(learn.yb))

    def after_backward(self) -> None:
        learn = self.learn
        self._steps_done += 1
        self.trace.steps.append(
            Step(
                self._fit_index,
                learn.epoch,
                learn.iter,
                float(learn.loss.detach().double().mean()),
                compute_grad_norm(learn.model),
                tuple(float(hyper["lr"]) for hyper in learn.opt.hypers),
            )
        )
        if self.on_step is not None:
            self.on_step(self._steps_done, self._steps_expected)

    def after_epoch(self) -> None:
        if self._is_fitting:
            figures = _read_epoch_values(self.learn)
            self.trace.epochs.append(_build_epoch(self._fit_index, self.learn.epoch, figures, self.learn.metrics))


def evaluate(learn: Learner) -> Optional[Evaluation]:
    """Loss, metrics and outputs on the validation set, through fastai's own loop.

    Parameters
    ----------
    learn : Learner
        Only callbacks that change inputs, outputs or the loss take part; everything is put back.

    Returns
    -------
    Evaluation or None
        None without a validation set.
    """
    if not has_validation(learn):
        return None
    collector, transforming = (
        _OutputCollector([AvgLoss(), *learn.metrics]),
        [cb for cb in learn.cbs if _is_batch_transform(cb)],
    )
    with preserve_rng_state(), preserve_learner(learn), preserve_attributes(
        [*learn.metrics, *transforming]
    ), preserve_training_modes(learn.model):
        learn.cbs = L(transforming)
        learn.add_cb(collector)
        with learn.validation_context():
            learn._do_epoch_validate()
    return Evaluation(_build_epoch(-1, -1, collector.figures, learn.metrics), collector.outputs, collector.targets)


def base_rates(learn: Learner, evaluation: Evaluation) -> Dict[str, float]:
    """What the best constant output scores on the validation set.

    Returns
    -------
    dict of str to float
        By metric name, and ``valid_loss``; empty where outputs or targets are not single tensors.
    """
    return compute_base_rates(evaluation, learn.loss_func, _build_score_function(learn, evaluation))


def constant_prediction_scores(learn: Learner, evaluation: Evaluation) -> Dict[str, List[float]]:
    """By metric name, what models score on the validation set that say one thing of every text."""
    return compute_constant_prediction_scores(evaluation, _build_score_function(learn, evaluation))


def _build_score_function(learn: Learner, evaluation: Evaluation) -> Callable[[Tensor], Dict[str, float]]:
    metrics = list(learn.metrics)
    return lambda row: dict(
        zip(metric_names(metrics), score_constant(row, evaluation.outputs, evaluation.targets, metrics))
    )


def metric_names(metrics: Sequence[Metric]) -> List[str]:
    """Names as fastai shows them, made unique."""
    return make_unique_names([metric.name for metric in metrics])


class _OutputCollector(Callback):
    """Outputs, targets, loss and metrics of one validation."""

    order = 2000  # after whatever changes the output

    def __init__(self, metrics: List[Metric]):
        self.tracked_metrics = metrics
        self.outputs: List[Any] = []
        self.targets: List[Any] = []
        self.figures: List[Any] = []

    def before_validate(self) -> None:
        for metric in self.tracked_metrics:
            metric.reset()

    def after_batch(self) -> None:
        for metric in self.tracked_metrics:
            metric.accumulate(self.learn)
        keep = [[t.detach().cpu() for t in tensors_in(part)] for part in (self.learn.pred, self.learn.yb)]
        for part, where in zip(keep, (self.outputs, self.targets)):
            where.append(part[0] if len(part) == 1 else part)

    def after_validate(self) -> None:
        self.figures = [metric.value for metric in self.tracked_metrics]


def _is_batch_transform(callback: Callback) -> bool:
    if isinstance(callback, TrainEvalCallback):
        return True
    changes = any(hasattr(callback, event) for event in ("before_batch", "after_pred", "after_loss"))
    return changes and callback.run_valid and not isinstance(callback, TraceRecorder)


def has_validation(learn: Learner) -> bool:
    """Whether there are rows to validate on."""
    loaders = getattr(learn.dls, "loaders", None)
    return (loaders is None or len(loaders) > 1) and len(learn.dls.valid) > 0


def _read_epoch_values(learn: Learner) -> List[Any]:
    """Validation loss and metrics as fastai's Recorder has just computed them."""
    recorder = getattr(learn, "recorder", None)
    if recorder is None or not recorder.valid_metrics or getattr(recorder, "cancel_valid", False):
        return [None]
    return list(recorder.log)[-1 - len(learn.metrics) :]


def _build_epoch(fit: int, epoch: int, figures: List[Any], metrics: Sequence[Metric]) -> Epoch:
    loss = figures[0]
    values = {name: float(value) for name, value in zip(metric_names(metrics), figures[1:]) if value is not None}
    return Epoch(fit, epoch, None if loss is None else float(loss), values)
