"""The recorder of a fastai 2 run into a ``Trace``, and the evaluation of a learner without side effects."""

from typing import Any, List, Optional, Sequence

from fastai.callback.core import Callback, TrainEvalCallback
from fastai.learner import AvgLoss, Learner, Metric
from fastcore.foundation import L

from fastai_hf_callback.comparison.baseline import Evaluation, OutputStore, make_unique_names
from fastai_hf_callback.comparison.trace_writer import TraceWriter, build_epoch
from fastai_hf_callback.fastai2.compat.learner_state import preserve_attributes, preserve_learner
from fastai_hf_callback.fastai2.data.own_loss import adapt_own_loss
from fastai_hf_callback.utils.rng import preserve_rng_state
from fastai_hf_callback.utils.snapshot import preserve_training_modes

__all__ = ["TraceRecorder", "evaluate", "has_validation", "metric_names"]


class TraceRecorder(Callback):
    """A recorder that passes every step and epoch to `writer`."""

    order = -2000  # before any callback that scales the gradients or clips them

    def __init__(self, writer: TraceWriter):
        self.writer, self._is_fitting = writer, False

    def before_fit(self) -> None:
        self._is_fitting = False  # validate and get_preds begin with this event too
        adapt_own_loss(self.learn)  # as HFCallback does, which is in one arm alone

    def before_train(self) -> None:
        if not self._is_fitting:
            self._is_fitting = True
            self.writer.begin_fit(self.learn.n_epoch * len(self.learn.dls.train))

    def before_batch(self) -> None:
        learn = self.learn
        if learn.training:
            self.writer.write_batch(learn.epoch, learn.xb, learn.yb)

    def after_backward(self) -> None:
        learn = self.learn
        self.writer.read_loss(learn.loss)
        self.writer.write_step(learn.epoch, learn.iter, learn.model, learn.opt.hypers)

    def after_epoch(self) -> None:
        if self._is_fitting:
            names = metric_names(self.learn.metrics)
            self.writer.write_epoch(self.learn.epoch, names, _read_epoch_values(self.learn))


def evaluate(learn: Learner) -> Optional[Evaluation]:
    """Compute loss, metrics and outputs on the validation set, through fastai's own loop.

    Parameters
    ----------
    learn : Learner
        Only callbacks that change inputs, outputs or the loss take part; everything is restored.

    Returns
    -------
    Evaluation or None
        None without a validation set.
    """
    if not has_validation(learn):
        return None
    collector = _OutputCollector([AvgLoss(), *learn.metrics])
    transforming = [cb for cb in learn.cbs if _is_batch_transform(cb)]
    with preserve_rng_state(), preserve_learner(learn), preserve_attributes(
        [*learn.metrics, *transforming]
    ), preserve_training_modes(learn.model):
        adapt_own_loss(learn)
        learn.cbs = L(transforming)
        learn.add_cb(collector)
        with learn.validation_context():
            learn._do_epoch_validate()
    epoch = build_epoch(-1, -1, metric_names(learn.metrics), collector.figures)
    return Evaluation(epoch, collector.store.outputs, collector.store.targets)


def metric_names(metrics: Sequence[Any]) -> List[str]:
    """Return the metrics' names as fastai shows them, made unique; a function that nobody wrapped has its own."""
    names = [str(getattr(m, "name", None) or getattr(m, "__name__", type(m).__name__)) for m in metrics]
    return make_unique_names(names)


class _OutputCollector(Callback):
    """Outputs, targets, loss and metrics of one validation."""

    order = 2000  # after every callback that changes the output

    def __init__(self, metrics: List[Metric]):
        self.tracked_metrics, self.store = metrics, OutputStore()
        self.figures: List[Any] = []

    def before_validate(self) -> None:
        for metric in self.tracked_metrics:
            metric.reset()

    def after_batch(self) -> None:
        for metric in self.tracked_metrics:
            metric.accumulate(self.learn)
        self.store.add(self.learn.pred, self.learn.yb)

    def after_validate(self) -> None:
        self.figures = [metric.value for metric in self.tracked_metrics]


def _is_batch_transform(callback: Callback) -> bool:
    if isinstance(callback, TrainEvalCallback):
        return True
    changes = any(hasattr(callback, event) for event in ("before_batch", "after_pred", "after_loss"))
    return changes and callback.run_valid and not isinstance(callback, TraceRecorder)


def has_validation(learn: Learner) -> bool:
    """Return whether there are rows to validate on."""
    loaders = getattr(learn.dls, "loaders", None)
    return (loaders is None or len(loaders) > 1) and len(learn.dls.valid) > 0


def _read_epoch_values(learn: Learner) -> List[Any]:
    """Read validation loss and metrics as fastai's Recorder has just computed them."""
    recorder = getattr(learn, "recorder", None)
    if recorder is None or not recorder.valid_metrics or getattr(recorder, "cancel_valid", False):
        return [None]
    return list(recorder.log)[-1 - len(learn.metrics) :]
