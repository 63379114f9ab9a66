"""``LearnerAdapter`` for fastai 1: access to its learner, and runs of its loop."""

import copy
from contextlib import contextmanager
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Sized, Tuple

import torch
from fastai import basic_train
from fastai.basic_train import Learner, LearnerCallback, Recorder
from fastai.callback import Callback, CallbackHandler
from fastai.callbacks.fp16 import MixedPrecision
from torch import Tensor

from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.diagnosis.checks.failures import classify_exception
from fastai_hf_callback.diagnosis.event_replay import EventLog
from fastai_hf_callback.diagnosis.fixes.fix_table import FixTable
from fastai_hf_callback.diagnosis.learner_adapter import (
    CallbackLog,
    LastFit,
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
from fastai_hf_callback.errors import FastaiHFError, InputError
from fastai_hf_callback.fastai1.callback import HFCallback
from fastai_hf_callback.fastai1.comparison.recorder import metric_names
from fastai_hf_callback.fastai1.compat.no_progress import SilentProgressBar
from fastai_hf_callback.fastai1.compat.training_loop import find_active_patch
from fastai_hf_callback.fastai1.data.dataset import TextList
from fastai_hf_callback.fastai1.data.own_loss import adapt_own_loss
from fastai_hf_callback.fastai1.metrics import ConstantBaseline, build_metrics_handler
from fastai_hf_callback.results.evidence import Wiring
from fastai_hf_callback.results.fit_record import FitRecord
from fastai_hf_callback.utils.rng import seed_everything

from .callback_replay import (
    FewBatches,
    RawLossForwarder,
    StepEventForwarder,
    copy_without_checks,
    has_own_events,
    is_batch_callback,
    is_bystander,
    log_skips,
    replay_events,
    simulate_epoch,
)
from .fixes import FIXES
from .optimizer_reader import OptimizerReader
from .snapshot import preserve_everything

__all__ = ["LearnerAdapter"]


class LearnerAdapter:
    """A fastai 1 learner with the interface that ``diagnosis/`` uses.

    Parameters
    ----------
    learn : Learner
    """

    scaler_attribute = "loss_scale"
    fixes: FixTable = FIXES

    def __init__(self, learn: Learner):
        self.learn, self.optimizer = learn, OptimizerReader(learn)
        self.callbacks: List[Callback] = []
        self._learner_callbacks: List[Callback] = []  # those that validate has, too
        self._from_callback_fns: List[Callback] = []
        self._is_in_fit = False
        self._made_by_fns: List[Callback] = []  # for the next fit

    @contextmanager
    def preserve(self, copy_weights: bool = True) -> Iterator[None]:
        with preserve_everything(self.learn, copy_weights):
            if any(isinstance(callback, HFCallback) for callback in self.learn.callbacks):
                adapt_own_loss(self.learn)  # as the callback will when a fit begins
            yield

    def seed(self, seed: int) -> None:
        seed_everything(seed)

    # -- data --------------------------------------------------------------------------------------------------

    def has_rows(self, train: bool) -> bool:
        data = self.learn.data
        return len(getattr(data.train_ds, "items", [0])) > 0 if train else not data.empty_val

    def require_loaders(self) -> None:
        """Do nothing: fastai 1 trains without a validation set."""

    def count_rows(self, train: bool) -> int:
        return len(self._get_loader(train).dl.dataset)

    def has_numbered_rows(self, train: bool) -> bool:
        dataset = getattr(self._get_loader(train).dl, "dataset", None)
        return isinstance(dataset, Sized) and hasattr(dataset, "__getitem__") and not is_stream(dataset)

    def iterate_batches(self, train: bool) -> Iterator[Batch]:
        for batch in self._get_loader(train):
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                raise InputError(describe_unsplit_batch(batch, "fastai 1's Learner takes"), "batch-not-split")
            yield Batch(*batch)

    def collate(self, train: bool, rows: List[int]) -> Batch:
        loader = self._get_loader(train)
        xb, yb = loader.proc_batch(loader.dl.collate_fn([loader.dl.dataset[row] for row in rows]))
        return Batch(xb, yb)

    def find_encoder(self) -> Optional[TextEncoder]:
        texts = getattr(self.learn.data.train_ds, "x", None)
        return texts.encoder if isinstance(texts, TextList) else None

    def find_vocabulary(self) -> Sequence[Any]:
        return getattr(getattr(self.learn.data, "vocab", None), "itos", None) or ()

    def _get_loader(self, train: bool) -> Any:
        return self.learn.data.train_dl if train else self.learn.data.valid_dl

    # -- what was and what is set up -----------------------------------------------------------------------------

    def read_wiring(self) -> Wiring:
        return Wiring(find_active_patch(), any(isinstance(cb, HFCallback) for cb in self.learn.callbacks))

    def read_last_fit(self) -> LastFit:
        own_callbacks = [cb for cb in self.learn.callbacks if isinstance(cb, HFCallback)]
        own, start = [cb.last_fit for cb in own_callbacks], find_start(own_callbacks, self.learn.model)
        last = choose_fit([_read_recorder(vars(self.learn).get("recorder")), *own])
        if last is None:
            return LastFit([], [], {}, self.optimizer.has_taken_steps(), start)
        losses, rates = [float(loss) for loss in last.losses], [float(rate) for rate in last.lrs]
        return LastFit(losses, rates, _read_metric_values(last), start=start)

    def list_metric_functions(self, metrics: Sequence[Any]) -> List[Tuple[str, MetricFunc]]:
        named = zip(metric_names(list(metrics)), metrics)
        return [(name, partial(_compute_value, one)) for name, one in named if _reads_batches(one)]

    def list_metric_names(self) -> List[str]:
        return metric_names(list(self.learn.metrics))

    # -- callbacks and the loop ----------------------------------------------------------------------------------

    def prepare_callbacks(self, wiring: Wiring) -> bool:
        copies = [copy_without_checks(cb, self.learn) for cb in self.learn.callbacks]
        wrong = [cb for cb in copies if not isinstance(cb, Callback)]
        if wrong:
            wiring.train_error = "callback-class-not-instance"
            wiring.train_message = f"{wrong[0]!r} is among learn.callbacks"
            return False
        made = self._create_fn_callbacks(wiring)
        if made is None:
            return False
        self._made_by_fns = made
        wiring.trackers = read_trackers([*self.learn.callbacks, *made])
        wiring.only_in_callback_fns = _list_output_callbacks(made)
        self._learner_callbacks = [cb for cb in copies if is_batch_callback(cb)]
        self.callbacks = self._learner_callbacks + [cb for cb in made if is_batch_callback(cb)]
        return True

    def _create_fn_callbacks(self, wiring: Wiring) -> Optional[List[Callback]]:
        try:
            return [fn(self.learn) for fn in self.learn.callback_fns if getattr(fn, "func", fn) is not Recorder]
        except Exception as error:
            cause = classify_exception(error, FIXES).cause
            if isinstance(error, FastaiHFError):
                cause = "unwrapping-in-callback-fns"
            elif cause == "unknown-failure" and "is not callable" in str(error):
                cause = "callback-instance-in-callback-fns"
            wiring.train_error, wiring.train_message = cause, f"{type(error).__name__}: {error}"
            return None

    def has_own_callbacks(self) -> bool:
        callbacks = [cb for cb in [*self.learn.callbacks, *vars(self.learn).values()] if isinstance(cb, Callback)]
        return any(is_batch_callback(cb) and not is_library_class(type(cb)) for cb in callbacks)

    def list_idle_callbacks(self) -> List[str]:
        given = [*self.learn.callbacks, *self._made_by_fns]
        return [type(cb).__name__ for cb in given if not is_batch_callback(cb) and not is_bystander(cb)]

    def has_own_events(self) -> bool:
        return any(has_own_events(cb) for cb in [*self.learn.callbacks, *self._made_by_fns])

    def replay_events(self, train: List[Batch], valid: List[Batch]) -> EventLog:
        learn, wiring = self.learn, Wiring()
        made = self._create_fn_callbacks(wiring)
        if made is None:
            raise _describe_unmade_callbacks(wiring)
        return replay_events(learn, list(learn.callbacks), made, train, valid)

    def copy_running_callbacks(self) -> None:
        learn, self._is_in_fit = self.learn, True
        self._from_callback_fns = [
            cb
            for cb in vars(learn).values()
            if isinstance(cb, LearnerCallback)
            and not getattr(type(cb), "_is_read_only", False)
            and not any(cb is known for known in learn.callbacks)
        ]
        self._learner_callbacks = [copy_without_checks(cb, learn) for cb in learn.callbacks if is_batch_callback(cb)]
        self.callbacks = self._learner_callbacks + [
            copy_without_checks(cb, learn) for cb in self._from_callback_fns if is_batch_callback(cb)
        ]

    @property
    def validates_with_all_callbacks(self) -> bool:
        return len(self.callbacks) == len(self._learner_callbacks)

    def list_unvalidated_callbacks(self) -> List[str]:
        return _list_output_callbacks(self._from_callback_fns) or ["A callback given to fit"]

    def run_batch(self, batch: Batch, loss_func: Callable[..., Any], with_graph: bool, validates: bool) -> Any:
        """Return the loss of one batch in eval mode, run as ``validate`` and ``pred_batch`` run it."""
        self.learn.model.eval()
        handler = CallbackHandler(list(self._learner_callbacks if validates else self.callbacks))
        if not self._is_in_fit:  # where copies have no state from the fit's own begin yet
            _begin([cb for cb in handler.callbacks if not isinstance(cb, MixedPrecision)], validates)
        with torch.set_grad_enabled(with_graph):
            xb, yb = handler.on_batch_begin(batch.xb, batch.yb, train=with_graph)
            return basic_train.loss_batch(self.learn.model, xb, yb, loss_func, cb_handler=handler)

    def prepare_optimizer(self, lr: float, is_first: bool) -> None:
        if not getattr(self.learn, "opt", False):
            self.learn.create_opt(lr, self.learn.wd)
        self.optimizer.set_learning_rate(lr)

    def take_steps(
        self, batches: List[Batch], log: CallbackLog, on_loss: Callable[[Tensor], None], monitor: StepMonitor
    ) -> None:
        learn = self.learn
        log_skips(self.callbacks, log)
        handler = CallbackHandler([RawLossForwarder(on_loss), *self.callbacks, StepEventForwarder(monitor)])
        learn.model.train()
        handler.on_train_begin(1, pbar=SilentProgressBar(range(1)), metrics=[])
        handler.on_epoch_begin()
        for batch in batches:
            xb, yb = handler.on_batch_begin(batch.xb, batch.yb)
            loss = basic_train.loss_batch(learn.model, xb, yb, learn.loss_func, learn.opt, handler)
            handler.on_batch_end(loss)

    def fit_briefly(self, train: List[Batch], valid: List[Batch], epochs: int, lr: float) -> Dict[str, List[float]]:
        learn, wiring = self.learn, Wiring()
        if not self.prepare_callbacks(wiring):
            raise _describe_unmade_callbacks(wiring)
        learn.data = FewBatches(learn.data, train, valid)
        learn.callbacks, made = self._learner_callbacks, self.callbacks[len(self._learner_callbacks) :]
        learn.callback_fns = [partial(Recorder, silent=True)]
        learn.fit(epochs, lr, callbacks=made)
        recorder = learn.recorder
        epoch_ends = range(len(train) - 1, len(recorder.losses), max(1, len(train)))
        losses = {"train_loss": [recorder.losses[i] for i in epoch_ends], "valid_loss": recorder.val_losses}
        fit = FitRecord(recorder.losses, recorder.lrs, recorder.metrics, recorder.metrics_names)
        return {**{name: [float(x) for x in values] for name, values in losses.items()}, **_read_metric_values(fit)}

    def replay_step(self, batch: Batch, log: CallbackLog) -> None:
        """Do nothing: what a callback sets in vain, fastai 1's loop itself refuses."""

    def simulate_epoch(self, callbacks: List[Any], batch: Batch) -> Iterator[Tuple[int, float]]:
        return simulate_epoch(self.learn, callbacks, batch)


def _begin(callbacks: List[Callback], validates: bool) -> None:
    """Send the events of a beginning, as ``validate`` and a fit do; not to what prepares an optimizer there."""
    handler = CallbackHandler(callbacks)
    handler.on_train_begin(1, pbar=None if validates else SilentProgressBar(range(1)), metrics=[])  # validate has none
    handler.on_epoch_begin()


def _describe_unmade_callbacks(wiring: Wiring) -> FastaiHFError:
    return FastaiHFError(f"The callbacks cannot be made; look at {wiring.train_message}")


def _read_recorder(recorder: Optional[Recorder]) -> Optional[FitRecord]:
    if not hasattr(recorder, "losses"):  # none, or one that get_preds has made
        return None
    return FitRecord(recorder.losses, recorder.lrs, recorder.metrics, recorder.metrics_names)


def _read_metric_values(fit: FitRecord) -> Dict[str, List[float]]:
    return {
        name: [float(row[i]) for row in fit.values if i < len(row) and is_number(row[i])]
        for i, name in enumerate(fit.metric_names)
    }


def _list_output_callbacks(callbacks: List[Callback]) -> List[str]:
    """List the classes that see the output before the loss."""
    return [type(cb).__name__ for cb in callbacks if type(cb).on_loss_begin is not Callback.on_loss_begin]


def _reads_batches(metric: Any) -> bool:
    """Return whether a metric reads predictions: others show what a callback has measured."""
    if isinstance(metric, ConstantBaseline):
        return False
    return not isinstance(metric, Callback) or type(metric).on_batch_end is not Callback.on_batch_end


def _compute_value(metric: Any, epochs: List[Any]) -> float:
    """Compute a copy's value after the last of `epochs`, each a pair of lists of batches."""
    handler = build_metrics_handler([copy.deepcopy(metric)])
    handler.on_train_begin(1, None, [])
    for outputs, targets in epochs:
        handler.on_epoch_begin()
        for output, target in zip(outputs, targets):
            handler.on_batch_begin(None, target, train=False)
            handler.on_loss_begin(output)
            handler.on_batch_end(torch.zeros(()))
        handler.on_epoch_end(0.0)
    return float(handler.state_dict["last_metrics"][1])
