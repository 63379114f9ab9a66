"""The recorder of a fastai 1 run into a ``Trace``, and the evaluation of a learner without side effects."""

import copy
from typing import Any, List, Optional, Sequence

from fastai import basic_train
from fastai.basic_train import Learner
from fastai.callback import AverageMetric, Callback, CallbackHandler
from torch import Tensor

from fastai_hf_callback.comparison.baseline import Evaluation, OutputStore, make_unique_names
from fastai_hf_callback.comparison.trace_writer import TraceWriter, build_epoch
from fastai_hf_callback.fastai1.data.own_loss import adapt_own_loss
from fastai_hf_callback.utils.rng import preserve_rng_state
from fastai_hf_callback.utils.snapshot import preserve_training_modes

__all__ = ["TraceRecorder", "evaluate", "metric_names"]


class TraceRecorder(Callback):
    """A recorder that passes every step and epoch of `learn` to `writer`."""

    _order = -2000  # before any callback that scales the loss or clips the gradients

    def __init__(self, learn: Learner, writer: TraceWriter):
        self.learn, self.writer = learn, writer

    def on_train_begin(self, n_epochs: int, **kwargs: Any) -> None:
        adapt_own_loss(self.learn)  # as HFCallback does, which is in one arm alone
        self.writer.begin_fit(n_epochs * len(self.learn.data.train_dl))

    def on_batch_begin(self, last_input: Any, last_target: Any, train: bool, epoch: int, **kwargs: Any) -> None:
        if train:
            self.writer.write_batch(epoch, last_input, last_target)

    def on_backward_begin(self, last_loss: Tensor, **kwargs: Any) -> None:
        self.writer.read_loss(last_loss)

    def on_backward_end(self, epoch: int, num_batch: int, **kwargs: Any) -> None:
        self.writer.write_step(epoch, num_batch, self.learn.model, self.learn.opt.param_groups)

    def on_epoch_end(self, epoch: int, last_metrics: List[Any], **kwargs: Any) -> None:
        self.writer.write_epoch(epoch, metric_names(self.learn.metrics), last_metrics)


def evaluate(learn: Learner) -> Optional[Evaluation]:
    """Compute loss, metrics and outputs on the validation set, through fastai's own ``validate``.

    Parameters
    ----------
    learn : Learner
        Only callbacks that change inputs or outputs take part; train mode and random states are restored.

    Returns
    -------
    Evaluation or None
        None without a validation set.
    """
    if learn.data.empty_val:
        return None
    adapt_own_loss(learn)
    collector = _OutputCollector()
    handler = CallbackHandler(
        [cb for cb in learn.callbacks if _is_batch_transform(cb)] + [collector], copy.deepcopy(learn.metrics)
    )
    with preserve_rng_state(), preserve_training_modes(learn.model):
        _notify_metrics(handler, "train_begin", metrics_names=[])
        _notify_metrics(handler, "epoch_begin")
        loss = basic_train.validate(learn.model, learn.data.valid_dl, learn.loss_func, handler)
        handler.state_dict["last_metrics"] = [loss]
        _notify_metrics(handler, "epoch_end")
    epoch = build_epoch(-1, -1, metric_names(learn.metrics), handler.state_dict["last_metrics"])
    return Evaluation(epoch, collector.store.outputs, collector.store.targets)


def metric_names(metrics: Sequence[Any]) -> List[str]:
    """Return the metrics' names as fastai shows them, made unique."""
    return make_unique_names(
        [
            getattr(metric, "name", None) or type(metric).__name__
            if isinstance(metric, Callback)
            else AverageMetric(metric).name or type(metric).__name__
            for metric in metrics
        ]
    )


class _OutputCollector(Callback):
    _order = 2000  # after every callback that changes the output

    def __init__(self) -> None:
        self.store = OutputStore()

    def on_loss_begin(self, last_output: Any, last_target: Any, **kwargs: Any) -> None:
        self.store.add(last_output, last_target)


def _notify_metrics(handler: CallbackHandler, event: str, **kwargs: Any) -> None:
    # The metrics alone: a callback's own epochs are the fit's, not this evaluation's.
    for metric in handler.metrics:
        handler._call_and_update(metric, event, **kwargs)


def _is_batch_transform(callback: Callback) -> bool:
    return any(
        getattr(type(callback), event) is not getattr(Callback, event) for event in ("on_loss_begin", "on_batch_begin")
    ) and not isinstance(callback, TraceRecorder)
