"""fastai 1 metrics: mean column-wise AUC, and the base rate next to another metric."""

import copy
from functools import partial
from typing import Any, Callable, Dict, List, Sequence

import torch
from fastai.callback import AverageMetric, Callback, CallbackHandler
from fastai.core import camel2snake
from fastai.torch_core import add_metrics
from torch import Tensor

from fastai_hf_callback.comparison.baseline import expand_row
from fastai_hf_callback.data.batches.token_labels import count_correct_words
from fastai_hf_callback.model.metrics import compute_constant_row, mean_columnwise_auc, score_best_constant

__all__ = ["ColumnwiseAUC", "ConstantBaseline", "WordAccuracy", "build_metrics_handler", "score_constant"]


class _WholeSetMetric(Callback):
    """A metric of all outputs and targets of an epoch, right with batches of different size."""

    def __init__(self, name: str, score: Callable[[List[Tensor], List[Tensor]], float]):
        self.name, self._score = name, score

    def on_epoch_begin(self, **kwargs: Any) -> None:
        self._outputs: List[Tensor] = []
        self._targets: List[Tensor] = []

    def on_batch_end(self, last_output: Tensor, last_target: Tensor, train: bool, **kwargs: Any) -> None:
        if not train:
            self._outputs.append(last_output.detach().float().cpu())
            self._targets.append(last_target.detach().cpu())

    def on_epoch_end(self, last_metrics: List[Any], **kwargs: Any) -> Dict[str, Any]:
        value = self._score(self._outputs, self._targets)
        self._outputs, self._targets = [], []
        return add_metrics(last_metrics, value)


class ColumnwiseAUC(_WholeSetMetric):
    """The mean column-wise AUC over the whole validation set; see ``mean_columnwise_auc``."""

    def __init__(self, name: str = "mean_auc"):
        super().__init__(name, partial(_score_all_rows, mean_columnwise_auc))


class ConstantBaseline(_WholeSetMetric):
    """The score of the best constant predictor of the validation targets under `metric`.

    Parameters
    ----------
    metric : callable or Callback
        A fastai metric function of ``(outputs, targets)``, for example ``accuracy_thresh``, or a metric that is a
        callback, for example ``WordAccuracy()``.
    name : str, optional
        The column's heading; by default ``base_`` and the metric's name.

    Notes
    -----
    Put it next to the metric itself, ``metrics=[accuracy_thresh, ConstantBaseline(accuracy_thresh)]``: a metric
    equal to its base rate says nothing about the model.
    """

    def __init__(self, metric: Callable[..., Any], name: str = ""):
        shown = metric if isinstance(metric, Callback) else AverageMetric(metric)
        shown_name = getattr(shown, "name", None) or camel2snake(type(shown).__name__)  # fastai's own have none
        super().__init__(name or f"base_{shown_name}", partial(_score_best_constant, metric))
        self.metric = metric


def _score_all_rows(score: Callable[[Tensor, Tensor], float], outputs: List[Tensor], targets: List[Tensor]) -> float:
    return score(torch.cat(outputs), torch.cat(targets))


def _score_best_constant(metric: Any, outputs: List[Tensor], targets: List[Tensor]) -> float:
    if isinstance(metric, Callback):  # batch by batch: rows of words need not be of one width
        return score_constant(compute_constant_row(outputs, targets), outputs, targets, [metric])[0]
    return _score_all_rows(partial(score_best_constant, metric), outputs, targets)


class WordAccuracy(Callback):
    """The share of words labelled right, with a label per word: no padding, special tokens or later pieces.

    Right with batches of different size; fastai's ``accuracy`` counts every position of every batch. Where targets are
    token ids (masked words, an answer that is written), the share of tokens.

    Parameters
    ----------
    name : str
    ahead : int
        How many tokens ahead a position predicts: 1 for causal language models, whose targets are their inputs.
    """

    def __init__(self, name: str = "word_accuracy", ahead: int = 0):
        self.name, self.ahead = name, ahead

    def on_epoch_begin(self, **kwargs: Any) -> None:
        self._n_correct = self._n_words = 0

    def on_batch_end(self, last_output: Tensor, last_target: Tensor, train: bool, **kwargs: Any) -> None:
        if not train:
            right, words = count_correct_words(last_output, last_target, self.ahead)
            self._n_correct, self._n_words = self._n_correct + right, self._n_words + words

    def on_epoch_end(self, last_metrics: List[Any], **kwargs: Any) -> Dict[str, Any]:
        return add_metrics(last_metrics, self._n_correct / self._n_words if self._n_words else float("nan"))


def build_metrics_handler(metrics: Sequence[Any]) -> CallbackHandler:
    """Build fastai's handler of `metrics` for this process: fastai's own waits for other processes at each batch."""
    handler = CallbackHandler([], metrics)
    for metric in handler.metrics:
        if isinstance(metric, AverageMetric):
            metric.world = 0
    return handler


def score_constant(row: Tensor, outputs: List[Any], targets: List[Any], metrics: Sequence[Any]) -> List[float]:
    """Run copies of fastai's own metrics over batches in which every output is `row`.

    Parameters
    ----------
    row : Tensor, (width,)
        The constant output.
    outputs : list of Tensor
        The real outputs of each batch, for their shapes.
    targets : list of Tensor
        The targets of each batch.
    metrics : list
        fastai metrics (functions or callbacks).

    Returns
    -------
    list of float
    """
    metrics = copy.deepcopy(metrics)
    handler = build_metrics_handler(metrics)
    handler.on_train_begin(1, None, metrics)
    handler.on_epoch_begin()
    for output, target in zip(outputs, targets):
        handler.on_batch_begin(None, target, train=False)
        handler.on_loss_begin(expand_row(row, output))
        handler.on_batch_end(torch.zeros(()))
    handler.on_epoch_end(0.0)
    return [float(value) for value in handler.state_dict["last_metrics"][1:]]
