"""``diagnose`` for fastai 1: a live learner -> ``Evidence``, and nothing changed afterwards.

Order of the examination: eval mode on the weights as they are, the loss and the metrics on stand-ins, the targets,
then real steps through fastai's own loop on copies, then a fresh optimizer on one batch.
"""
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import numpy as np
import torch
from fastai import basic_train
from fastai.basic_train import Learner, LearnerCallback, Recorder
from fastai.callback import Callback, CallbackHandler
from torch import Tensor, nn

from ..broadcast import broadcasts
from ..diagnosis import Diagnosis, diagnosed
from ..errors import BridgeError, UnusableInput
from ..evidence import Evidence, History, Hyper, Outputs, Wiring
from ..failures import explained
from ..instruments.inputs import (
    TokenView,
    arguments_watched,
    embeddings_watched,
    executed_watched,
    first_rows,
    look_at_inputs,
    other_words,
    unpadded_row,
    view_tokens,
)
from ..instruments.labels import Sampled, look_at_labels
from ..instruments.loss import loss_shape
from ..instruments.outputs import look_at_outputs
from ..instruments.weights import look_at_weights
from ..output import tensors_in
from ..rng import rng_preserved, seed_everything
from .callback import HFCallback
from .cure import cure_for
from .loop import active_patch
from .metric_probe import look_at_metrics
from .observer import LossBefore, StepWatch, masters_of
from .quiet import NoBar
from .snapshot import callback_copy, everything_put_back

__all__ = ["diagnose", "examine"]

BATCH_EVENTS = ("on_batch_begin", "on_loss_begin", "on_backward_begin", "on_backward_end", "on_step_end",
                "on_batch_end")
SKIPS = ("skip_step", "skip_bwd", "skip_zero")
ROWS = 16                # of a batch, in the forward and backward passes
LABEL_ROWS, LABEL_SECONDS = 512, 1.5
FIT_STEPS, FIT_SECONDS = 12, 8.0
PROBING_LR = 1e-4        # where no fit has named a rate, one is needed for the steps and is not judged


def diagnose(learn: Learner, batches: int = 4) -> Diagnosis:
    """Examine a learner in seconds and say why its metrics do not move, or would not.

    Parameters
    ----------
    learn : Learner
        As it is: before a fit, after one, or after one that failed. Nothing of it is changed: weights, gradients,
        optimizer, random states, modes, callbacks, loaders are what they were, so a fit that follows is bit for bit
        the one that would have been.
    batches : int
        How many training batches (their first 16 rows) are stepped on, and how many validation batches are read.

    Returns
    -------
    Diagnosis
        ``healthy`` where nothing worse than a note was found. A learning rate is judged only after a fit has put one
        in force.

    Raises
    ------
    UnusableInput
        Where `learn` is no Learner, or has no training batch.

    Notes
    -----
    Callbacks that take no part in a batch (``SaveModelCallback``, ``CSVLogger``) are not called: they write files.
    """
    return diagnosed(examine(learn, batches), cure_for)


def examine(learn: Learner, batches: int = 4) -> Evidence:
    """The evidence alone; parameters as in :func:`diagnose`."""
    if not isinstance(learn, Learner):
        raise UnusableInput(f"{type(learn).__name__} was given; expected a fastai Learner: diagnose(learn).")
    if batches < 1 or not len(learn.data.train_dl):
        raise UnusableInput(f"batches={batches} and a training loader of {len(learn.data.train_dl)} batches were "
                            f"given; expected at least one of each.")
    started = time.perf_counter()
    with everything_put_back(learn):
        seed_everything(0)
        seen = _Examination(learn, batches).run()
    seen.seconds = time.perf_counter() - started
    return seen


class FirstLook(NamedTuple):
    """What a doctor learns from the first batch, and the modules that ran on it."""

    seen: Evidence
    ran: List[nn.Module]


def first_look(learn: Learner, xb: Any, yb: Any, others: List[Callback], rows: int = 4) -> FirstLook:
    """Eval mode on a few rows of one batch: inputs, outputs and the loss, for ``Doctor``; nothing changed.

    Parameters
    ----------
    learn : Learner
    xb, yb : any
        The batch, as the loader gave it.
    others : list of Callback
        Those of this fit that are not among ``learn.callbacks``.
    rows : int
        How many rows are read.
    """
    with everything_put_back(learn):
        look = _Examination(learn, 1)
        seen = look.seen
        seen.wiring = Wiring(patch=active_patch(),
                             hf_callback=any(isinstance(cb, HFCallback) for cb in learn.callbacks))
        look.train = [_shrunk(_Batch(xb, yb), rows)]
        look.always = [_quietly_copied(cb, learn) for cb in learn.callbacks if _takes_part(cb)]
        look.fitting = look.always + [_quietly_copied(cb, learn) for cb in others if _takes_part(cb)]
        try:
            float(look._loss_batch(look.train[0], learn.loss_func, look.always))
        except Exception as error:
            seen.wiring.valid_error, seen.wiring.valid_said = explained(error).cause, _said(error)
            seen.wiring.only_in_callback_fns = [type(cb).__name__ for cb in others
                                                if type(cb).on_loss_begin is not Callback.on_loss_begin] \
                or ["A callback given to fit"]
        if look._look_in_eval_mode():
            look._attempt("outputs", look._look_closer)
        seen.wiring.train_error = seen.wiring.train_said = None  # the fit that is running will say so itself
    return FirstLook(seen, getattr(look, "ran", []))


class _Batch(NamedTuple):
    xb: Any
    yb: Any


class _Examination:
    """One examination; lives inside ``everything_put_back``."""

    def __init__(self, learn: Learner, batches: int):
        self.learn, self.wanted = learn, batches
        self.seen = Evidence()
        self.views: List[TokenView] = []

    def run(self) -> Evidence:
        seen, learn = self.seen, self.learn
        seen.wiring = Wiring(patch=active_patch(),
                             hf_callback=any(isinstance(cb, HFCallback) for cb in learn.callbacks))
        whole = self._attempt("training batches", lambda: _batches_of(learn.data.train_dl, self.wanted))
        if not whole:
            return seen
        seen.history, seen.hyper = _history(learn), _hyper(learn)
        seen.weights = look_at_weights(learn.model, bool(masters_of(learn)))
        self.train = [_shrunk(b) for b in whole]
        self._with_callbacks(whole)
        return seen

    def _with_callbacks(self, whole: List[_Batch]) -> None:
        learn, seen = self.learn, self.seen
        copies = [_quietly_copied(cb, learn) for cb in learn.callbacks]
        if any(not isinstance(cb, Callback) for cb in copies):
            wrong = next(cb for cb in copies if not isinstance(cb, Callback))
            seen.wiring.train_error = "callback-class-not-instance"
            seen.wiring.train_said = f"{wrong!r} is among learn.callbacks"
            return
        made = self._made_from_fns()
        if made is None:
            return
        seen.wiring.only_in_callback_fns = [type(cb).__name__ for cb in made
                                            if type(cb).on_loss_begin is not Callback.on_loss_begin]
        self.always = [cb for cb in copies if _takes_part(cb)]
        self.fitting = self.always + [cb for cb in made if _takes_part(cb)]
        self._watch_validation()
        if self._look_in_eval_mode():
            self._attempt("outputs", self._look_closer)
        self._attempt("targets", lambda: self._look_at_targets(whole))
        self._attempt("metrics", self._look_at_metrics)
        # Weights that hold no number make every step vain, and say so themselves.
        self._watch_steps()
        if seen.wiring.train_error is None:
            self._attempt("fitting one batch", self._fit_one_batch)

    # -- the two paths to the loss ----------------------------------------------------------------------------

    def _made_from_fns(self) -> Optional[List[Callback]]:
        try:
            return [fn(self.learn) for fn in self.learn.callback_fns if getattr(fn, "func", fn) is not Recorder]
        except Exception as error:
            found = explained(error)
            cause = "unwrapping-in-callback-fns" if isinstance(error, BridgeError) else found.cause
            if cause == "unknown-failure" and "is not callable" in str(error):
                cause = "callback-instance-in-callback-fns"
            self.seen.wiring.train_error, self.seen.wiring.train_said = cause, f"{type(error).__name__}: {error}"
            return None

    def _watch_validation(self) -> None:
        learn = self.learn
        if learn.data.empty_val:
            return
        try:
            batch = _batches_of(learn.data.valid_dl, 1)[0]
            value = self._loss_batch(_shrunk(batch), learn.loss_func, self.always)
            float(value)
        except Exception as error:
            self.seen.wiring.valid_error = explained(error).cause
            self.seen.wiring.valid_said = f"{type(error).__name__}: {error}"

    def _loss_batch(self, batch: _Batch, loss_func: Optional[Callable], callbacks: List[Callback]) -> Any:
        """One batch through fastai's loop in eval mode, as ``validate`` and ``pred_batch`` send it."""
        self.learn.model.eval()
        handler = CallbackHandler(list(callbacks))
        with torch.no_grad():
            xb, yb = handler.on_batch_begin(batch.xb, batch.yb, train=False)
            return basic_train.loss_batch(self.learn.model, xb, yb, loss_func, cb_handler=handler)

    def _logits(self, batch: _Batch) -> Tensor:
        """What reaches the loss in eval mode, through whatever stands in the loop's place."""
        caught: List[Any] = []

        def catch(output: Any, *target: Any) -> Tensor:
            caught.append(output)
            return torch.zeros(())

        self._loss_batch(batch, catch, self.fitting)
        return caught[0]

    # -- outputs and inputs -----------------------------------------------------------------------------------

    def _look_in_eval_mode(self) -> bool:
        seen, model = self.seen, self.learn.model
        outputs, calls, arguments = [], [], []
        try:
            for batch in self.train:
                with embeddings_watched(model) as looked_up, executed_watched(model) as ran, \
                        arguments_watched(model) as given:
                    outputs.append(self._logits(batch))
                calls.append(looked_up)
                arguments.append(given)
        except Exception as error:
            if seen.wiring.train_error is None:
                seen.wiring.train_error, seen.wiring.train_said = explained(error).cause, _said(error)
            return False
        self.ran, self.eval_outputs = ran, outputs
        self.views = [v for v in (view_tokens(c, b.xb) for c, b in zip(calls, self.train)) if v is not None]
        if len(self.views) == len(self.train):
            config = next((m.config for m in model.modules() if getattr(m, "config", None) is not None), None)
            seen.inputs = look_at_inputs(self.views, [b.xb for b in self.train], arguments, config)
            seen.place_of_ids = self._place_of_ids()
            seen.inputs.foreign_tokens = _fastai_tokens(self.learn, self.views)
            seen.looked_at.append("inputs")
        return isinstance(outputs[0], Tensor)

    def _look_closer(self) -> None:
        seen, batch, logits = self.seen, self.train[0], self.eval_outputs[0]
        seen.outputs = look_at_outputs(self.eval_outputs, [b.yb for b in self.train], self.learn.model)
        seen.looked_at.append("outputs")
        if isinstance(batch.yb, Tensor):
            seen.loss = loss_shape(self.learn.loss_func, logits, batch.yb)
            seen.outputs.broadcasts = broadcasts(self.learn.loss_func, logits, batch.yb)
            seen.looked_at.append("loss")
        self._look_at_bounds(seen.outputs, logits)
        if self.views:
            self._attempt("answer to words", self._answer_to_words)
            self._attempt("answer to padding", self._answer_to_padding)

    def _look_at_bounds(self, out: Outputs, logits: Tensor) -> None:
        """Whether the outputs stay between 0 and 1 whatever the weights: tried at ten times and minus ten times."""
        if not out.finite or out.spread == 0 or out.lowest < -1e-4 or out.highest > 1 + 1e-4:
            return
        sums = True
        for factor in (10.0, -100.0):
            with torch.no_grad(), _scaled(self.learn.model, factor):
                changed = self._logits(self.train[0]).float()
            if not bool(torch.isfinite(changed).all()) or float(changed.min()) < -1e-4 or float(changed.max()) > 1.0001:
                return
            sums &= bool(((changed.sum(-1) - 1).abs() < 1e-2).all())
        out.bounded, out.rows_sum_to_one = True, sums and logits.shape[-1] > 1

    def _answer_to_words(self) -> None:
        draw = torch.Generator().manual_seed(0)
        changes = []
        for batch, view, logits in list(zip(self.train, self.views, self.eval_outputs))[:2]:
            other = self._logits(_Batch(other_words(batch.xb, view, draw), batch.yb))
            if other.shape != logits.shape:
                return
            changes.append(_relative_change(logits, other, self.seen.outputs))
        if not self.seen.inputs.batch_has_other_ids and self.seen.inputs.distinct_words > 2:
            self.seen.outputs.answers_to_tokens = max(changes)

    def _answer_to_padding(self) -> None:
        changes = []
        for batch, view, logits in list(zip(self.train, self.views, self.eval_outputs))[:2]:
            if view.pad_id is None or logits.dim() == 0 or logits.shape[0] != view.ids.shape[0]:
                continue
            padded = sorted(range(len(view.ids)), key=lambda i: -int(view.is_pad[i].sum()))
            for row in [i for i in padded if bool(view.is_pad[i].any())][:2]:
                alone = self._logits(_Batch(unpadded_row(batch.xb, view, row), first_rows(batch.yb, 1)))
                before = logits[row:row + 1]
                if before.dim() == 3 and before.shape[1] == view.ids.shape[1]:
                    before = before[:, ~view.is_pad[row]]
                if alone.shape == before.shape:
                    changes.append(_relative_change(before, alone, self.seen.outputs))
        if changes:
            self.seen.outputs.changes_with_padding = max(changes)

    # -- targets and metrics ----------------------------------------------------------------------------------

    def _look_at_targets(self, whole: List[_Batch]) -> None:
        learn, place = self.learn, self._place_of_ids()
        if _rows_of(whole[0].xb) != _rows_of(whole[0].yb):
            return  # a target per token, flattened: neighbours are alike
        train = _sampled(learn.data.train_dl, place, self._pads())
        valid = None if learn.data.empty_val else _sampled(learn.data.valid_dl, place, self._pads())
        if train is None:
            return
        ordered = [b.yb.detach().cpu() for b in whole if isinstance(b.yb, Tensor)]
        self.seen.labels = look_at_labels(train, valid, ordered, self._pads())
        self.seen.looked_at.append("targets")

    def _place_of_ids(self) -> Optional[int]:
        if not self.views:
            return None
        ids = self.views[0].ids
        return next((i for i, t in enumerate(tensors_in(self.train[0].xb)) if t.shape == ids.shape
                     and bool((t.to(ids) == ids).all())), None)

    def _pads(self) -> List[int]:
        return sorted({v.pad_id for v in self.views if v.pad_id is not None})

    def _look_at_metrics(self) -> None:
        learn = self.learn
        if not learn.metrics or learn.data.empty_val:
            return
        batches = _batches_of(learn.data.valid_dl, self.wanted)
        outputs = [self._logits(b) for b in batches]
        targets = [b.yb for b in batches]
        if all(isinstance(t, Tensor) for t in outputs + targets):
            with rng_preserved():
                self.seen.metrics = look_at_metrics(learn.metrics, outputs, targets, learn.loss_func)
            self.seen.looked_at.append("metrics")

    # -- steps ------------------------------------------------------------------------------------------------

    def _watch_steps(self) -> None:
        learn, seen = self.learn, self.seen
        if not getattr(learn, "opt", False):
            learn.create_opt(PROBING_LR, learn.wd)
        rate = PROBING_LR if seen.hyper.lr is None else seen.hyper.lr
        _put_in_force(learn.opt, rate)
        before, watch = LossBefore(), StepWatch(learn)
        spied = _Spy(self.fitting)
        handler = CallbackHandler([before, *self.fitting, _Relay(watch)])
        learn.model.train()
        try:
            handler.on_train_begin(1, pbar=NoBar(range(1)), metrics=[])
            handler.on_epoch_begin()
            for batch in self.train:
                xb, yb = handler.on_batch_begin(batch.xb, batch.yb)
                loss = basic_train.loss_batch(learn.model, xb, yb, learn.loss_func, learn.opt, handler)
                handler.on_batch_end(loss)
        except Exception as error:
            if watch.graph is None or (watch.graph.trainable and watch.graph.loss_has_graph):
                seen.wiring.train_error, seen.wiring.train_said = explained(error).cause, _said(error)
        seen.graph, seen.precision = watch.graph, watch.precision
        if watch.stepping.steps:
            seen.stepping = watch.finish()
            seen.stepping.loss_factor = before.factor_of(watch.losses)
            self._attempt("rates set by callbacks", lambda: self._judge_rates_of_callbacks(rate))
            seen.stepping.who = sorted(spied.who)
            if seen.stepping.skipped_steps >= seen.stepping.steps:
                seen.stepping.steps_simulated = self._attempt(
                    "an epoch of skipped steps", lambda: _simulated_steps(learn, spied.guilty, self.train[0]))
            seen.looked_at += ["gradients", "optimizer"]
        if seen.weights is not None and masters_of(learn):
            seen.weights.has_master_copies = True
        watch.see_executed(getattr(self, "ran", []))

    def _judge_rates_of_callbacks(self, put: float) -> None:
        """Where a callback sets the rate: the highest that it would set in an epoch, and the update that makes."""
        step, hyper = self.seen.stepping, self.seen.hyper
        if step.lr_in_force is None or abs(step.lr_in_force - put) <= 1e-6 * put:
            return
        peak = max(_peak_rate(self.learn, self.fitting, self.train[0]), step.lr_in_force)
        if step.update is not None and step.lr_in_force > 0:
            step.update *= peak / step.lr_in_force
        step.lr_in_force, hyper.lr, hyper.source = peak, peak, "set by a callback"

    def _fit_one_batch(self) -> None:
        learn, seen = self.learn, self.seen
        parameters = [p for p in learn.model.parameters() if p.requires_grad]
        if seen.loss is None or seen.loss.first is None or not parameters:
            return
        if seen.weights.half or seen.weights.non_finite:
            return
        optimizer = torch.optim.Adam(parameters, lr=_rate_for(parameters))
        values, until = [], time.perf_counter() + FIT_SECONDS
        for _ in range(FIT_STEPS + 1):
            output, target = self._training_output(self.train[0])
            loss = learn.loss_func(output, *target)
            values.append(float(loss.detach().float()))
            if not loss.requires_grad or time.perf_counter() > until:
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if len(values) > 1:
            seen.loss.before_fitting = values[0]
            seen.loss.fitted = max(values[1:], key=lambda value: abs(value - values[0]))
            seen.loss.fitted_steps = len(values) - 1
            seen.looked_at.append("fitting one batch")

    def _training_output(self, batch: _Batch) -> Any:
        """Output and targets as they reach the loss, with the graph, dropout switched off."""
        self.learn.model.eval()
        caught: List[Any] = []

        def catch(output: Any, *target: Any) -> Tensor:
            caught.append((output, target))
            return torch.zeros(())

        handler = CallbackHandler(list(self.fitting))
        xb, yb = handler.on_batch_begin(batch.xb, batch.yb)
        basic_train.loss_batch(self.learn.model, xb, yb, catch, cb_handler=handler)
        return caught[0]

    def _attempt(self, what: str, look: Callable[[], Any]) -> Any:
        """One part of the examination; where it cannot be made the others still are."""
        try:
            return look()
        except Exception as error:
            self.seen.not_looked_at.append(f"{what} ({_said(error)[:160]})")
            return None


def _rate_for(parameters: List[Tensor]) -> float:
    """A rate for Adam at which a step moves the median matrix by a twentieth."""
    sizes = sorted(float(p.detach().float().pow(2).mean().sqrt()) for p in parameters if p.dim() > 1)
    return min(max(0.05 * (sizes[len(sizes) // 2] if sizes else 0.02), 1e-4), 1e-2)


# -- callbacks --------------------------------------------------------------------------------------------------


def _takes_part(callback: Any) -> bool:
    """Whether a callback changes or watches batches; the others write files and tables at the ends of epochs."""
    if isinstance(callback, Recorder) or getattr(type(callback), "_watches_only", False):
        return False
    return any(getattr(type(callback), event, None) is not getattr(Callback, event) for event in BATCH_EVENTS)


def _quietly_copied(callback: Any, learn: Learner) -> Any:
    if not isinstance(callback, Callback):
        return callback
    made = callback_copy(callback, learn)
    if isinstance(made, HFCallback):
        made.check = False  # what it would raise is what is to be looked at
    if isinstance(made, LearnerCallback) and "_learn" in vars(made):
        vars(learn)[made.cb_name] = made
    return made


class _Spy:
    """Notes which callback asks to skip something: on the copies, by an attribute of the instance."""

    def __init__(self, callbacks: List[Callback]):
        self.who, self.guilty = set(), []
        for callback in callbacks:
            for event in ("on_batch_begin", "on_backward_begin", "on_backward_end", "on_step_end"):
                setattr(callback, event, self._watched(callback, getattr(callback, event)))

    def _watched(self, callback: Callback, event: Callable) -> Callable:
        def watched(**kwargs: Any) -> Any:
            returned = event(**kwargs)
            if isinstance(returned, dict) and any(returned.get(key) for key in SKIPS):
                self.who.add(type(callback).__name__)
                if callback not in self.guilty:
                    self.guilty.append(callback)
            return returned
        return watched


class _Relay(Callback):
    """The last callback of all: hands what it sees to a ``StepWatch``."""

    _order = 3000

    def __init__(self, watch: StepWatch):
        self.watch = watch

    def on_batch_begin(self, last_target: Any, train: bool, **kwargs: Any) -> None:
        self.watch.batch_begins(last_target)

    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> None:
        self.watch.loss_begins(last_output)

    def on_backward_begin(self, last_loss: Tensor, **kwargs: Any) -> None:
        self.watch.backward_begins(last_loss)

    def on_backward_end(self, skip_step: bool, skip_bwd: bool, **kwargs: Any) -> None:
        self.watch.backward_ended(skip_step, skip_bwd)

    def on_step_end(self, skip_zero: bool, **kwargs: Any) -> None:
        self.watch.step_ended(skip_zero)

    def on_batch_end(self, **kwargs: Any) -> None:
        self.watch.batch_ended()


def _simulated_steps(learn: Learner, guilty: List[Callback], batch: _Batch) -> int:
    """Steps in an epoch of the loader's length, asking only the callbacks that skip; no model runs."""
    made: List[int] = []
    learn.opt.step = lambda: made.append(1)  # what a callback does itself at the end of an epoch counts too
    try:
        for stepped in _epoch_of_events(learn, guilty, batch):
            made += [1] * stepped
    finally:
        del learn.opt.step
    return len(made)


def _peak_rate(learn: Learner, callbacks: List[Callback], batch: _Batch) -> float:
    """The highest learning rate in an epoch, asking the callbacks only."""
    highest = 0.0
    for _ in _epoch_of_events(learn, [cb for cb in callbacks if "loss_scale" not in vars(cb)], batch):
        highest = max(highest, *(float(group["lr"]) for group in learn.opt.param_groups))
    return highest


def _epoch_of_events(learn: Learner, callbacks: List[Callback], batch: _Batch) -> Iterator[bool]:
    """The events of an epoch without a model: after each batch, whether a step was made."""
    handler = CallbackHandler(list(callbacks))
    handler.on_train_begin(1, pbar=NoBar(range(1)), metrics=[])
    handler.on_epoch_begin()
    loss = torch.zeros((), requires_grad=True)
    for _ in range(min(len(learn.data.train_dl), 5000)):
        handler.on_batch_begin(batch.xb, batch.yb)
        handler.state_dict["last_output"] = loss
        _, skipped = handler.on_backward_begin(loss)
        stepped = not handler.on_backward_end() and not skipped
        handler.on_step_end()
        handler.on_batch_end(loss.detach())
        yield stepped
    handler.on_epoch_end(None)


# -- batches ------------------------------------------------------------------------------------------------------


def _batches_of(loader: Any, n: int) -> List[_Batch]:
    found = []
    for xb, yb in loader:
        found.append(_Batch(xb, yb))
        if len(found) >= n:
            break
    return found


def _shrunk(batch: _Batch, n: int = ROWS) -> _Batch:
    """The first rows, where every tensor has as many rows as the others; else the whole batch."""
    rows = {t.shape[0] for t in tensors_in((batch.xb, batch.yb)) if t.dim()}
    if len(rows) != 1:
        return batch
    return _Batch(first_rows(batch.xb, n), first_rows(batch.yb, n))


def _rows_of(part: Any) -> int:
    return next((t.shape[0] for t in tensors_in(part) if t.dim()), 0)


def _sampled(loader: Any, place: Optional[int], pads: List[int]) -> Optional[Sampled]:
    """Rows drawn evenly over a loader's data set, collated by its own function."""
    data = loader.dl.dataset
    n = len(data)
    picks = np.unique(np.linspace(0, n - 1, min(n, LABEL_ROWS)).astype(int))
    ids: List[np.ndarray] = []
    targets: List[Tensor] = []
    until = time.perf_counter() + LABEL_SECONDS
    for start in range(0, len(picks), 32):
        batch = loader.proc_batch(loader.dl.collate_fn([data[int(i)] for i in picks[start:start + 32]]))
        target = batch[1]
        if not isinstance(target, Tensor) or target.dim() == 0 or target.dim() > 2:
            return None
        targets.append(target.detach().cpu())
        if place is not None:
            table = list(tensors_in(batch[0]))[place].cpu().numpy()
            ids += [row[~np.isin(row, pads)] for row in table]
        if time.perf_counter() > until:
            break
    joined = torch.cat(targets)
    values = joined.double().numpy() if joined.is_floating_point() or joined.dim() == 2 else joined.long().numpy()
    return Sampled(ids if place is not None and len(ids) == len(values) else None, values)


def _fastai_tokens(learn: Learner, views: List[TokenView]) -> List[str]:
    """fastai's own special tokens in the texts, where the data brings a vocabulary."""
    words = getattr(getattr(learn.data, "vocab", None), "itos", None)
    if not words:
        return []
    used = {int(t) for v in views for t in v.ids.unique().tolist()}
    return sorted({words[i] for i in used if i < len(words) and str(words[i]).startswith("xx")
                   and str(words[i]) not in ("xxpad", "xxunk")})


def _relative_change(one: Tensor, other: Tensor, out: Outputs) -> float:
    scale = max(out.spread, 0.01 * out.size, 1e-12)
    return float((one.float() - other.float()).abs().max()) / scale


class _scaled:
    """Every weight multiplied, and put back."""

    def __init__(self, model: nn.Module, factor: float):
        self.parameters, self.factor = list(model.parameters()), factor

    def __enter__(self) -> None:
        self.kept = [p.data for p in self.parameters]
        for p in self.parameters:
            p.data = p.data * self.factor

    def __exit__(self, *exception: Any) -> None:
        for p, data in zip(self.parameters, self.kept):
            p.data = data


# -- what earlier fits left ---------------------------------------------------------------------------------------


def _history(learn: Learner) -> Optional[History]:
    recorder = vars(learn).get("recorder")
    losses = [float(v) for v in getattr(recorder, "losses", [])] if recorder is not None else []
    if not losses:
        return None
    names = list(getattr(recorder, "metrics_names", []))
    rows = [[float(v) for v in row] for row in getattr(recorder, "metrics", [])]
    metrics: Dict[str, List[float]] = {n: [row[i] for row in rows if i < len(row)] for i, n in enumerate(names)}
    quarter = max(1, len(losses) // 4)
    falling = len(losses) >= 4 and np.mean(losses[-quarter:]) < np.mean(losses[:quarter])
    return History(losses, metrics, bool(falling))


def _hyper(learn: Learner) -> Hyper:
    recorder, optimizer = vars(learn).get("recorder"), vars(learn).get("opt")
    wd = float(optimizer.wd) if optimizer else float(learn.wd)
    steps = len(learn.data.train_dl)
    kind = type(getattr(optimizer, "opt", None)).__name__ if optimizer else ""
    rates = [float(v) for v in getattr(recorder, "lrs", [])] if recorder is not None else []
    if not rates or _is_range_test(rates):
        return Hyper(None, None, wd, None, steps, "no fit yet" if not rates else "only a range test so far", kind)
    highest = max(rates)
    wd = max(wd, 0.0)
    return Hyper(highest, min(rates), wd, highest * wd, steps, "the highest of the last fit", kind)


def _is_range_test(rates: List[float]) -> bool:
    """Rates that rise by one factor over decades: ``lr_find``."""
    if len(rates) < 5 or min(rates) <= 0 or rates[-1] < rates[0]:
        return False
    ratios = np.diff(np.log(rates))
    return bool((ratios > 0).all()) and float(ratios.std()) < 0.05 * float(ratios.mean())


def _put_in_force(optimizer: Any, lr: float) -> None:
    """The highest rate again, the groups in the proportions they have now."""
    # create_opt may have been called with fastai's default, a slice, which only fit turns into numbers.
    rates = [float(r) if isinstance(r, (int, float)) else 0.0 for r in optimizer._lr]
    top = rates[-1] if rates and rates[-1] > 0 else None
    optimizer.lr = [lr * r / top if top else lr for r in rates]


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
