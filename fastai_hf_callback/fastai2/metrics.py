"""fastai 2 metrics: mean column-wise AUC, and the base rate next to another metric."""

from functools import partial
from types import SimpleNamespace
from typing import Any, Callable, List, Optional, Sequence

import torch
from fastai.learner import AvgMetric, Metric
from fastai.torch_core import to_detach
from torch import Tensor

from fastai_hf_callback.comparison.baseline import expand_row
from fastai_hf_callback.data.batches.token_labels import count_correct_words
from fastai_hf_callback.fastai2.compat.learner_state import preserve_attributes
from fastai_hf_callback.model.metrics import compute_constant_row, mean_columnwise_auc, score_best_constant

__all__ = [
    "ColumnwiseAUC",
    "ConstantBaseline",
    "WordAccuracy",
    "UnavailableAttributeError",
    "SingleBatchLearner",
    "score_constant",
]


class _NamedMetric(Metric):
    """A metric with a name of its own; fastai 2 makes ``name`` a property."""

    _name = ""

    @property
    def name(self) -> str:
        return self._name


class _WholeSetMetric(_NamedMetric):
    """A metric of all outputs and targets of an epoch, right with batches of different size."""

    def __init__(self, name: str, score: Callable[[List[Tensor], List[Tensor]], float]):
        self._name, self._score = name, score
        self.reset()

    def reset(self) -> None:
        self._outputs: List[Tensor] = []
        self._targets: List[Tensor] = []
        self._value: Optional[float] = None

    def accumulate(self, learn: Any) -> None:
        self._outputs.append(learn.to_detach(learn.pred).float())  # of all processes, where several share the rows
        self._targets.append(learn.to_detach(learn.yb[0]))

    @property
    def value(self) -> Optional[float]:
        if self._outputs:  # computed once, and then the tensors are dropped
            value = self._score(self._outputs, self._targets)
            self.reset()
            self._value = value
        return self._value


class ColumnwiseAUC(_WholeSetMetric):
    """The mean column-wise AUC over the whole validation set; see ``mean_columnwise_auc``."""

    def __init__(self, name: str = "mean_auc"):
        super().__init__(name, partial(_score_all_rows, mean_columnwise_auc))


class ConstantBaseline(_WholeSetMetric):
    """The score of the best constant predictor of the validation targets under `metric`.

    Parameters
    ----------
    metric : callable or Metric
        A fastai metric function of ``(outputs, targets)``, for example ``accuracy_multi``, or a metric of outputs and
        targets, for example ``WordAccuracy()``.
    name : str, optional
        The column's heading; by default ``base_`` and the metric's name.

    Notes
    -----
    Put it next to the metric itself, ``metrics=[accuracy_multi, ConstantBaseline(accuracy_multi)]``: a metric
    equal to its base rate says nothing about the model.
    """

    def __init__(self, metric: Callable[..., Any], name: str = ""):
        shown = metric if isinstance(metric, Metric) else AvgMetric(metric)
        super().__init__(name or f"base_{shown.name}", partial(_score_best_constant, metric))
        self.metric = metric


def _score_all_rows(score: Callable[[Tensor, Tensor], float], outputs: List[Tensor], targets: List[Tensor]) -> float:
    return score(torch.cat(outputs), torch.cat(targets))


def _score_best_constant(metric: Any, outputs: List[Tensor], targets: List[Tensor]) -> float:
    if isinstance(metric, Metric):  # batch by batch: rows of words need not be of one width
        return score_constant(compute_constant_row(outputs, targets), outputs, targets, [metric])[0]
    return _score_all_rows(partial(score_best_constant, metric), outputs, targets)


class WordAccuracy(_NamedMetric):
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
        self._name, self.ahead = name, ahead
        self.reset()

    def reset(self) -> None:
        self._n_correct = self._n_words = 0

    def accumulate(self, learn: Any) -> None:
        output, target = learn.pred, learn.yb[0]
        counts = [
            count_correct_words(output[at : at + 1], target[at : at + 1], self.ahead) for at in range(len(target))
        ]
        # Row by row, so that the counts of processes that share the rows can be gathered.
        right, words = learn.to_detach(torch.tensor(counts, device=target.device)).sum(0).tolist()
        self._n_correct, self._n_words = self._n_correct + right, self._n_words + words

    @property
    def value(self) -> float:
        return self._n_correct / self._n_words if self._n_words else float("nan")


def score_constant(row: Tensor, outputs: List[Any], targets: List[Any], metrics: Sequence[Metric]) -> List[float]:
    """Run fastai's own metrics over batches in which every output is `row`.

    Parameters
    ----------
    row : Tensor, (width,)
        The constant output.
    outputs : list of Tensor
        The real outputs of each batch, for their shapes.
    targets : list of Tensor
        The targets of each batch.
    metrics : list of Metric
        As ``learn.metrics`` holds them; their state is restored.

    Returns
    -------
    list of float
    """
    with preserve_attributes(metrics):
        for metric in metrics:
            metric.reset()
        for output, target in zip(outputs, targets):
            batch = SingleBatchLearner(expand_row(row, output), target)
            for metric in metrics:
                metric.accumulate(batch)
        return [float(metric.value) for metric in metrics]


class UnavailableAttributeError(AttributeError):
    """The error of a metric that reads more than outputs and targets: the loss, the inputs."""


class SingleBatchLearner(SimpleNamespace):
    """The attributes of a learner that a metric reads, of one batch in this process alone."""

    to_detach = staticmethod(partial(to_detach, gather=False))

    def __init__(self, pred: Tensor, target: Tensor):
        super().__init__(pred=pred, y=target, yb=(target,), training=False)

    def __getattr__(self, name: str) -> Any:
        raise UnavailableAttributeError(f"the metric asked for learn.{name}; expected learn.pred, learn.y or learn.yb")
