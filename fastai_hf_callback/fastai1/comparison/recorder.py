"""Records a fastai 1 run into a ``Trace``, and evaluates a learner without disturbing it."""

import copy
import math
from typing import Any, Callable, Dict, List, Optional

from fastai import basic_train
from fastai.basic_train import Learner
from fastai.callback import AverageMetric, Callback, CallbackHandler
from torch import Tensor

from fastai_hf_callback.comparison.baseline import (
    Evaluation,
    compute_base_rates,
    compute_constant_prediction_scores,
    compute_grad_norm,
    make_unique_names,
)
from fastai_hf_callback.fastai1.metrics import score_constant
from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.results.trace import Epoch, Step, Trace, digest
from fastai_hf_callback.utils.rng import preserve_rng_state

__all__ = ["TraceRecorder", "Evaluation", "evaluate", "base_rates", "constant_prediction_scores"]


class TraceRecorder(Callback):
    """Writes every step and epoch into `trace`; reads, never changes.

    Parameters
    ----------
    learn : Learner
        Whose optimizer and parameters are read.
    trace : Trace
        Written to.
    on_step : callable, optional
        Called with the steps done and the steps expected in this fit.
    """

    _order = -2000  # before any callback that scales the loss or clips the gradients

    def __init__(self, learn: Learner, trace: Trace, on_step: Optional[Callable[[int, int], None]] = None):
        self.learn, self.trace, self.on_step = learn, trace, on_step
        self.n_train_targets = 0
        self._fit_index, self._loss, self._steps_expected = -1, math.nan, 0

    def on_train_begin(self, n_epochs: int, **kwargs: Any) -> None:
        self._fit_index += 1
        self._steps_expected = n_epochs * len(self.learn.data.train_dl)

    def on_batch_begin(self, last_input: Any, last_target: Any, train: bool, epoch: int, **kwargs: Any) -> None:
        if not train:
            return
        if not self.trace.first_batch:
            self.trace.first_batch = digest(list(tensors_in((last_input, last_target))))
        if self._fit_index == 0 and epoch == 0:
            self.n_train_targets += sum(t.numel() for t in tensors_in(last_target))

    def on_backward_begin(self, last_loss: Tensor, **kwargs: Any) -> None:
        self._loss = float(last_loss.detach().double().mean())

    def on_backward_end(self, epoch: int, num_batch: int, iteration: int, **kwargs: Any) -> None:
        lrs = tuple(float(group["lr"]) for group in self.learn.opt.param_groups)
        self.trace.steps.append(
            Step(self._fit_index, epoch, num_batch, self._loss, compute_grad_norm(self.learn.model), lrs)
        )
        if self.on_step is not None:
            self.on_step(iteration + 1, self._steps_expected)

    def on_epoch_end(self, epoch: int, last_metrics: List[Any], **kwargs: Any) -> None:
        names = metric_names(self.learn.metrics)
        self.trace.epochs.append(_build_epoch(self._fit_index, epoch, last_metrics, names))


def evaluate(learn: Learner) -> Optional[Evaluation]:
    """Loss, metrics and outputs on the validation set, through fastai's own ``validate``.

    Parameters
    ----------
    learn : Learner
        Only callbacks that change inputs or outputs take part; train mode and random states are put back.

    Returns
    -------
    Evaluation or None
        None without a validation set.
    """
    if learn.data.empty_val:
        return None
    collector = _OutputCollector()
    handler = CallbackHandler(
        [cb for cb in learn.callbacks if _is_batch_transform(cb)] + [collector], copy.deepcopy(learn.metrics)
    )
    modes = [(module, module.training) for module in learn.model.modules()]
    with preserve_rng_state():
        _notify_metrics(handler, "train_begin", metrics_names=[])
        _notify_metrics(handler, "epoch_begin")
        loss = basic_train.validate(learn.model, learn.data.valid_dl, learn.loss_func, handler)
        handler.state_dict["last_metrics"] = [loss]
        _notify_metrics(handler, "epoch_end")
    for module, training in modes:
        module.training = training
    figures = _build_epoch(-1, -1, handler.state_dict["last_metrics"], metric_names(learn.metrics))
    return Evaluation(figures, collector.outputs, collector.targets)


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
    def score(row: Tensor) -> Dict[str, float]:
        metrics = copy.deepcopy(learn.metrics)
        return dict(zip(metric_names(metrics), score_constant(row, evaluation.outputs, evaluation.targets, metrics)))

    return score


def metric_names(metrics: List[Any]) -> List[str]:
    """Names as fastai shows them, made unique."""
    return make_unique_names(
        [
            getattr(metric, "name", None) or type(metric).__name__
            if isinstance(metric, Callback)
            else AverageMetric(metric).name or type(metric).__name__
            for metric in metrics
        ]
    )


class _OutputCollector(Callback):
    _order = 2000  # after whatever changes the output

    def __init__(self) -> None:
        self.outputs: List[Any] = []
        self.targets: List[Any] = []

    def on_loss_begin(self, last_output: Any, last_target: Any, **kwargs: Any) -> None:
        keep = [[t.detach().cpu() for t in tensors_in(part)] for part in (last_output, last_target)]
        for part, where in zip(keep, (self.outputs, self.targets)):
            where.append(part[0] if len(part) == 1 else part)


def _notify_metrics(handler: CallbackHandler, event: str, **kwargs: Any) -> None:
    # The metrics alone: a callback's own epochs are the fit's, not this evaluation's.
    for metric in handler.metrics:
        handler._call_and_update(metric, event, **kwargs)


def _is_batch_transform(callback: Callback) -> bool:
    return any(
        getattr(type(callback), event) is not getattr(Callback, event) for event in ("on_loss_begin", "on_batch_begin")
    ) and not isinstance(callback, TraceRecorder)


def _build_epoch(fit: int, epoch: int, last_metrics: List[Any], names: List[str]) -> Epoch:
    loss = last_metrics[0]
    values = {name: float(value) for name, value in zip(names, last_metrics[1:]) if value is not None}
    return Epoch(fit, epoch, None if loss is None else float(loss), values)
