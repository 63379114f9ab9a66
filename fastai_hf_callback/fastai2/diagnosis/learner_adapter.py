"""``LearnerAdapter`` for fastai 2: access to its learner, and runs of its loop."""

import copy
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Sized, Tuple

import torch
from fastai.callback.core import Callback
from fastai.learner import Learner, Metric, Recorder
from torch import Tensor

from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.diagnosis.event_replay import EventLog
from fastai_hf_callback.diagnosis.fixes.fix_table import FixTable
from fastai_hf_callback.diagnosis.learner_adapter import (
    CallbackLog,
    LastFit,
    LossNotReachedError,
    find_start,
    is_library_class,
    is_number,
    is_stream,
    read_trackers,
)
from fastai_hf_callback.diagnosis.learning_rates import choose_fit
from fastai_hf_callback.diagnosis.probes.batches import Batch, describe_unsplit_batch
from fastai_hf_callback.diagnosis.probes.metrics import MetricFunc
from fastai_hf_callback.diagnosis.probes.steps import StepMonitor
from fastai_hf_callback.errors import InputError
from fastai_hf_callback.fastai2.callback import HFCallback
from fastai_hf_callback.fastai2.comparison.recorder import metric_names
from fastai_hf_callback.fastai2.compat.learner_state import seed_loaders
from fastai_hf_callback.fastai2.compat.training_loop import find_active_patch
from fastai_hf_callback.fastai2.data.dataset import TextDataset
from fastai_hf_callback.fastai2.data.own_loss import adapt_own_loss
from fastai_hf_callback.fastai2.metrics import ConstantBaseline, SingleBatchLearner, UnavailableAttributeError
from fastai_hf_callback.results.evidence import Wiring
from fastai_hf_callback.utils.rng import seed_everything

from .callback_replay import (
    CANCEL_EXCEPTIONS,
    ENDING_EXCEPTIONS,
    RawLossForwarder,
    RawOutputRecorder,
    StepEventForwarder,
    copy_without_checks,
    dry_run,
    enter_epoch,
    has_own_events,
    is_batch_callback,
    is_bystander,
    log_callbacks,
    prepare_short_fit,
    replay_events,
    simulate_epoch,
    to_fastai_batch,
)
from .fixes import FIXES
from .optimizer_reader import OptimizerReader
from .snapshot import copy_callback, preserve_everything

__all__ = ["LearnerAdapter"]


class LearnerAdapter:
    """A fastai 2 learner with the interface that ``diagnosis/`` uses.

    Parameters
    ----------
    learn : Learner
    """

    scaler_attribute = "scaler"
    fixes: FixTable = FIXES

    def __init__(self, learn: Learner):
        self.learn, self.optimizer = learn, OptimizerReader(learn)
        self.callbacks: List[Callback] = []
        self._given: List[Callback] = []
        self._last_run: Tuple[Optional[Batch], Any] = None, None

    @contextmanager
    def preserve(self, copy_weights: bool = True) -> Iterator[None]:
        with preserve_everything(self.learn, copy_weights):
            if any(isinstance(callback, HFCallback) for callback in self.learn.cbs):
                adapt_own_loss(self.learn)  # as the callback will when a fit begins
            yield

    def seed(self, seed: int) -> None:
        seed_everything(seed)
        seed_loaders(self.learn, seed)

    # -- data --------------------------------------------------------------------------------------------------

    def has_rows(self, train: bool) -> bool:
        loaders = getattr(self.learn.dls, "loaders", None) or []
        if len(loaders) <= (not train):
            return False
        dataset = getattr(self._get_loader(train), "dataset", None)
        return len(dataset) > 0 if isinstance(dataset, Sized) else True  # a stream's are seen when they are read

    def require_loaders(self) -> None:
        if len(self.learn.dls.loaders) < 2:
            raise InputError(
                "One loader was given to DataLoaders; fastai 2's fit expects two and ends where it validates. Write "
                "DataLoaders(train_loader, valid_loader)",
                "no-validation-loader",
            )

    def count_rows(self, train: bool) -> int:
        return len(self._get_loader(train).dataset)

    def iterate_batches(self, train: bool) -> Iterator[Batch]:
        for batch in self._get_loader(train):
            yield self._split_batch(batch)

    def has_numbered_rows(self, train: bool) -> bool:
        loader = self._get_loader(train)
        dataset = getattr(loader, "dataset", None)
        collates = hasattr(loader, "do_batch") or callable(getattr(loader, "collate_fn", None))
        return collates and isinstance(dataset, Sized) and hasattr(dataset, "__getitem__") and not is_stream(dataset)

    def collate(self, train: bool, rows: List[int]) -> Batch:
        loader = self._get_loader(train)
        if hasattr(loader, "do_batch"):
            return self._split_batch(loader.after_batch(loader.do_batch([loader.do_item(row) for row in rows])))
        return self._split_batch(loader.collate_fn([loader.dataset[row] for row in rows]))

    def find_encoder(self) -> Optional[TextEncoder]:
        dataset = self.learn.dls.train.dataset
        return dataset.collator.encoder if isinstance(dataset, TextDataset) else None

    def find_vocabulary(self) -> Sequence[Any]:
        vocabularies = getattr(self.learn.dls, "vocab", None)  # fastai's text data: words first, then classes
        words = vocabularies[0] if isinstance(vocabularies, (list, tuple)) and vocabularies else None
        return words if isinstance(words, (list, tuple)) and "xxbos" in words else ()

    def _get_loader(self, train: bool) -> Any:
        return self.learn.dls[0 if train else 1]

    def _split_batch(self, batch: Any) -> Batch:
        """Split a batch into inputs and targets, as the learner does."""
        if not isinstance(batch, (tuple, list)):
            raise InputError(describe_unsplit_batch(batch, "fastai 2's Learner takes"), "batch-not-split")
        inputs = getattr(self.learn.dls, "n_inp", 1 if len(batch) == 1 else len(batch) - 1)
        targets = tuple(batch[inputs:])
        return Batch(tuple(batch[:inputs]), targets[0] if len(targets) == 1 else targets)

    # -- what was and what is set up -----------------------------------------------------------------------------

    def read_wiring(self) -> Wiring:
        callbacks = self.learn.cbs
        return Wiring(
            patch=find_active_patch(),
            hf_callback=any(isinstance(cb, HFCallback) for cb in callbacks),
            trackers=read_trackers(callbacks),
            bare_metrics=[name for name, one in self._name_metrics(self.learn.metrics) if not is_metric(one)],
            only_in_training=[type(cb).__name__ for cb in callbacks if not cb.run_valid and hasattr(cb, "after_pred")],
        )

    def read_last_fit(self) -> LastFit:
        own_callbacks = [cb for cb in self.learn.cbs if isinstance(cb, HFCallback)]
        own, start = [cb.last_fit for cb in own_callbacks], find_start(own_callbacks, self.learn.model)
        last = choose_fit([vars(self.learn).get("recorder"), *own])
        if last is None:
            return LastFit([], [], {}, self.optimizer.has_taken_steps(), start)
        losses, rates = [float(loss) for loss in last.losses], [float(rate) for rate in last.lrs]
        return LastFit(losses, rates, _read_metric_values(last.metric_names, last.values), start=start)

    def list_metric_functions(self, metrics: Sequence[Any]) -> List[Tuple[str, MetricFunc]]:
        named = [pair for pair in self._name_metrics(metrics) if is_metric(pair[1])]
        return [(name, partial(_compute_value, one)) for name, one in named if _reads_batches(one)]

    def _name_metrics(self, metrics: Sequence[Any]) -> List[Tuple[str, Any]]:
        return list(zip(metric_names(list(metrics)), metrics))

    def list_metric_names(self) -> List[str]:
        return metric_names(list(self.learn.metrics))

    # -- callbacks and the loop ----------------------------------------------------------------------------------

    def prepare_callbacks(self, wiring: Wiring) -> bool:
        self._given = list(self.learn.cbs)
        self.copy_running_callbacks()
        return True

    def has_own_callbacks(self) -> bool:
        return any(is_batch_callback(cb) and not is_library_class(type(cb)) for cb in self.learn.cbs)

    def list_idle_callbacks(self) -> List[str]:
        return [type(cb).__name__ for cb in self.learn.cbs if not is_batch_callback(cb) and not is_bystander(cb)]

    def has_own_events(self) -> bool:
        return any(has_own_events(callback) for callback in self._given)

    def replay_events(self, train: List[Batch], valid: List[Batch]) -> EventLog:
        return replay_events(self.learn, self._given, train, valid)

    def copy_running_callbacks(self) -> None:
        self.callbacks = [copy_without_checks(cb, self.learn) for cb in self.learn.cbs if is_batch_callback(cb)]

    validates_with_all_callbacks = True

    def list_unvalidated_callbacks(self) -> List[str]:
        return []

    def run_batch(self, batch: Batch, loss_func: Callable[..., Any], with_graph: bool, validates: bool) -> Any:
        """Return the loss of one batch in eval mode, run as ``validate`` and ``get_preds`` run it."""
        learn, asked, own = self.learn, [], self.learn.loss_func

        def recorded_loss_func(*given: Any) -> Any:
            asked.append(True)
            return loss_func(*given)

        raw = RawOutputRecorder()
        try:
            with enter_epoch(learn, [raw, *self.callbacks], training=False), torch.set_grad_enabled(with_graph):
                learn.loss_func = recorded_loss_func
                learn.one_batch(0, to_fastai_batch(batch))
        except CANCEL_EXCEPTIONS:
            pass
        finally:
            learn.loss_func = own
            if validates:
                self._last_run = batch, raw.output
        if not asked and not len(learn.yb):
            raise LossNotReachedError("the batches hold no targets, and without any fastai 2 computes no loss")
        if not asked:
            raise LossNotReachedError("a callback cancels the batch before the loss")
        return learn.loss

    def prepare_optimizer(self, lr: float, is_first: bool) -> None:
        learn = self.learn
        if learn.opt is None:
            learn.create_opt()
        self.optimizer.set_learning_rate(lr)
        if is_first and learn.wd is not None:  # what fit would apply
            learn.opt.set_hypers(wd=learn.wd)

    def take_steps(
        self, batches: List[Batch], log: CallbackLog, on_loss: Callable[[Tensor], None], monitor: StepMonitor
    ) -> None:
        log_callbacks(self.callbacks, log)
        callbacks = [RawLossForwarder(on_loss), *self.callbacks, StepEventForwarder(monitor, self.optimizer)]
        try:
            with enter_epoch(self.learn, callbacks, training=True):
                for i, batch in enumerate(batches):
                    self.learn.one_batch(i, to_fastai_batch(batch))
        except ENDING_EXCEPTIONS:
            log.ended = True

    def fit_briefly(self, train: List[Batch], valid: List[Batch], epochs: int, lr: float) -> Dict[str, List[float]]:
        learn = self.learn
        chosen = [cb for cb in learn.cbs if is_batch_callback(cb) or isinstance(cb, Recorder)]
        copies = [cb if isinstance(cb, Recorder) else copy_callback(cb, learn) for cb in chosen]
        prepare_short_fit(learn, copies, train, valid)
        learn.fit(epochs, lr)
        names, rows = list(learn.recorder.metric_names)[1:], learn.recorder.values
        return {name: _list_numbers(row[i] for row in rows if i < len(row)) for i, name in enumerate(names)}

    def replay_step(self, batch: Batch, log: CallbackLog) -> None:
        log_callbacks(self.callbacks, log)
        known, output = self._last_run
        output, self._last_run = output if known is batch else None, (None, None)
        with suppress(Exception), dry_run(self.learn, self.learn.loss_func, output):  # the fit itself will raise it
            with enter_epoch(self.learn, self.callbacks, training=True):
                self.learn.one_batch(0, to_fastai_batch(batch))

    def simulate_epoch(self, callbacks: List[Any], batch: Batch) -> Iterator[Tuple[int, float]]:
        return simulate_epoch(self.learn, callbacks, batch)


def is_metric(metric: Any) -> bool:
    """Return whether the Recorder can use it: ``learn.metrics.append(function)`` wraps nothing."""
    return not isinstance(metric, type) and all(hasattr(type(metric), name) for name in ("reset", "accumulate"))


def _read_metric_values(metric_names: Sequence[str], values: Sequence[Any]) -> Dict[str, List[float]]:
    names = [name for name in metric_names if name not in ("epoch", "train_loss", "time")]
    rows = [list(row)[-len(names) :] if names else [] for row in values]
    return {name: [float(row[i]) for row in rows if i < len(row) and is_number(row[i])] for i, name in enumerate(names)}


def _reads_batches(metric: Metric) -> bool:
    """Return whether a metric reads predictions: a ``ValueMetric`` shows what a callback has measured."""
    reads: List[str] = []
    with suppress(Exception):  # fit raises it
        copy.deepcopy(metric).accumulate(_AttributeRecorder(reads))
    return bool(reads) and not isinstance(metric, ConstantBaseline)


class _AttributeRecorder:
    """A learner of which it is recorded what a metric asks for; it has nothing."""

    def __init__(self, asked: List[str]):
        vars(self)["asked"] = asked

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        raise UnavailableAttributeError(name)


def _list_numbers(values: Iterable[Any]) -> List[float]:
    return [float(value) for value in values if is_number(value)]


def _compute_value(metric: Metric, epochs: List[Any]) -> float:
    """Compute a copy's value after the last of `epochs`, each a pair of lists of batches."""
    made, value = copy.deepcopy(metric), float("nan")
    for outputs, targets in epochs:
        made.reset()
        for output, target in zip(outputs, targets):
            try:
                made.accumulate(SingleBatchLearner(output, target))
            except UnavailableAttributeError:  # for the loss, or the inputs, as Perplexity does
                return float("nan")
        value = float(made.value)
    return value
