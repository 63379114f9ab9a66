"""One examination of a live fastai 1 learner; lives inside ``everything_put_back``. See ``probe``.

Order: eval mode on the weights as they are, the loss and the metrics on stand-ins, the targets, then real steps
through fastai's own loop on copies, then a fresh optimizer on one batch.
"""
import time
from typing import Any, Callable, List, Optional

import torch
from fastai import basic_train
from fastai.basic_train import Learner, Recorder
from fastai.callback import Callback, CallbackHandler
from torch import Tensor

from ..broadcast import broadcasts
from ..errors import BridgeError
from ..evidence import Evidence, Wiring
from ..failures import explained
from ..instruments.answers import (
    answer_to_batch_mates,
    answer_to_padding,
    answer_to_weights,
    answer_to_words,
    answer_with_other_weights,
)
from ..instruments.inputs import (
    TokenView,
    arguments_watched,
    embeddings_watched,
    executed_watched,
    first_rows,
    look_at_inputs,
    view_tokens,
)
from ..instruments.labels import look_at_labels
from ..instruments.loss import loss_shape
from ..instruments.outputs import look_at_outputs
from ..instruments.weights import look_at_weights
from ..output import tensors_in
from ..rng import rng_preserved
from .batches import Batch, batches_of, rows_of, sampled, shrunk
from .callback import HFCallback
from .loop import active_patch
from .metric_probe import look_at_metrics
from .observer import LossBefore, StepWatch, masters_of
from .past import history_of, hyper_of, put_in_force
from .quiet import NoBar
from .rehearsal import Relay, Spy, peak_rate, quietly_copied, simulated_steps, takes_part

__all__ = ["Examination", "reported"]

FIT_STEPS, FIT_SECONDS = 12, 8.0
PROBING_LR = 1e-4        # where no fit has named a rate, one is needed for the steps and is not judged


class Examination:
    """One examination; lives inside ``everything_put_back``."""

    def __init__(self, learn: Learner, batches: int):
        self.learn, self.wanted = learn, batches
        self.seen = Evidence()
        self.views: List[TokenView] = []

    def run(self) -> Evidence:
        seen, learn = self.seen, self.learn
        seen.wiring = Wiring(patch=active_patch(),
                             hf_callback=any(isinstance(cb, HFCallback) for cb in learn.callbacks))
        whole = self.attempt("training batches", lambda: batches_of(learn.data.train_dl, self.wanted))
        if not whole:
            return seen
        seen.history, seen.hyper = history_of(learn), hyper_of(learn)
        seen.weights = look_at_weights(learn.model, bool(masters_of(learn)))
        self.train = [shrunk(b) for b in whole]
        self._with_callbacks(whole)
        return seen

    def _with_callbacks(self, whole: List[Batch]) -> None:
        learn, seen = self.learn, self.seen
        copies = [quietly_copied(cb, learn) for cb in learn.callbacks]
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
        self.always = [cb for cb in copies if takes_part(cb)]
        self.fitting = self.always + [cb for cb in made if takes_part(cb)]
        self._watch_validation()
        if self.look_in_eval_mode():
            self.attempt("outputs", self.look_closer)
        self.attempt("targets", lambda: self._look_at_targets(whole))
        self.attempt("metrics", self._look_at_metrics)
        # Weights that hold no number make every step vain, and say so themselves.
        self._watch_steps()
        if seen.wiring.train_error is None:
            self.attempt("fitting one batch", self._fit_one_batch)

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
            batch = batches_of(learn.data.valid_dl, 1)[0]
            value = self.loss_batch(shrunk(batch), learn.loss_func, self.always)
            float(value)
        except Exception as error:
            self.seen.wiring.valid_error = explained(error).cause
            self.seen.wiring.valid_said = f"{type(error).__name__}: {error}"

    def loss_batch(self, batch: Batch, loss_func: Optional[Callable], callbacks: List[Callback]) -> Any:
        """One batch through fastai's loop in eval mode, as ``validate`` and ``pred_batch`` send it."""
        self.learn.model.eval()
        handler = CallbackHandler(list(callbacks))
        with torch.no_grad():
            xb, yb = handler.on_batch_begin(batch.xb, batch.yb, train=False)
            return basic_train.loss_batch(self.learn.model, xb, yb, loss_func, cb_handler=handler)

    def _logits(self, batch: Batch) -> Tensor:
        """What reaches the loss in eval mode, through whatever stands in the loop's place."""
        caught: List[Any] = []

        def catch(output: Any, *target: Any) -> Tensor:
            caught.append(output)
            return torch.zeros(())

        self.loss_batch(batch, catch, self.fitting)
        return caught[0]

    # -- outputs and inputs -----------------------------------------------------------------------------------

    def look_in_eval_mode(self) -> bool:
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
                seen.wiring.train_error, seen.wiring.train_said = explained(error).cause, reported(error)
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

    def look_closer(self) -> None:
        seen, batch, logits = self.seen, self.train[0], self.eval_outputs[0]
        seen.outputs = look_at_outputs(self.eval_outputs, [b.yb for b in self.train], self.learn.model)
        seen.looked_at.append("outputs")
        if isinstance(batch.yb, Tensor):
            seen.loss = loss_shape(self.learn.loss_func, logits, batch.yb)
            seen.outputs.broadcasts = broadcasts(self.learn.loss_func, logits, batch.yb)
            seen.looked_at.append("loss")
        out, inputs = seen.outputs, [b.xb for b in self.train]

        def logits_of(xb: Any) -> Tensor:
            return self._logits(Batch(xb, first_rows(batch.yb, rows_of(xb))))

        out.changes_with_batch_mates = self.attempt(
            "answer to batch mates", lambda: answer_to_batch_mates(logits_of, inputs, self.eval_outputs, out))
        out.bounded, out.rows_sum_to_one = answer_to_weights(logits_of, inputs[0], out, self.learn.model)
        if len(self.views) == len(inputs):
            asked = (logits_of, inputs, self.views, self.eval_outputs, out)
            if not seen.inputs.batch_has_other_ids and seen.inputs.distinct_words > 2:
                out.answers_to_tokens = self.attempt("answer to words", lambda: answer_to_words(*asked))
                if out.answers_to_tokens == 0:
                    out.answers_to_tokens = self.attempt("answer of other weights", lambda: answer_with_other_weights(
                        logits_of, inputs[0], self.views[0], self.learn.model, out))
            out.changes_with_padding = self.attempt("answer to padding", lambda: answer_to_padding(*asked))


    # -- targets and metrics ----------------------------------------------------------------------------------

    def _look_at_targets(self, whole: List[Batch]) -> None:
        learn, place = self.learn, self._place_of_ids()
        if rows_of(whole[0].xb) != rows_of(whole[0].yb):
            return  # a target per token, flattened: neighbours are alike
        train = sampled(learn.data.train_dl, place, self._pads())
        valid = None if learn.data.empty_val else sampled(learn.data.valid_dl, place, self._pads())
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
        batches = batches_of(learn.data.valid_dl, self.wanted)
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
        put_in_force(learn.opt, rate)
        before, watch = LossBefore(), StepWatch(learn)
        spied = Spy(self.fitting)
        handler = CallbackHandler([before, *self.fitting, Relay(watch)])
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
                seen.wiring.train_error, seen.wiring.train_said = explained(error).cause, reported(error)
        seen.graph, seen.precision = watch.graph, watch.precision
        if watch.stepping.steps:
            seen.stepping = watch.finish()
            seen.stepping.loss_factor = before.factor_of(watch.losses)
            self.attempt("rates set by callbacks", lambda: self._judge_rates_of_callbacks(rate))
            seen.stepping.who = sorted(spied.who)
            if seen.stepping.skipped_steps >= seen.stepping.steps:
                seen.stepping.steps_simulated = self.attempt(
                    "an epoch of skipped steps", lambda: simulated_steps(learn, spied.guilty, self.train[0]))
            seen.looked_at += ["gradients", "optimizer"]
        if seen.weights is not None and masters_of(learn):
            seen.weights.has_master_copies = True
        watch.see_executed(getattr(self, "ran", []))

    def _judge_rates_of_callbacks(self, put: float) -> None:
        """Where a callback sets the rate: the highest that it would set in an epoch, and the update that makes."""
        step, hyper = self.seen.stepping, self.seen.hyper
        if step.lr_in_force is None or abs(step.lr_in_force - put) <= 1e-6 * put:
            return
        peak = max(peak_rate(self.learn, self.fitting, self.train[0]), step.lr_in_force)
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

    def _training_output(self, batch: Batch) -> Any:
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

    def attempt(self, what: str, look: Callable[[], Any]) -> Any:
        """One part of the examination; where it cannot be made the others still are."""
        try:
            return look()
        except Exception as error:
            self.seen.not_looked_at.append(f"{what} ({reported(error)[:160]})")
            return None


def _rate_for(parameters: List[Tensor]) -> float:
    """A rate for Adam at which a step moves the median matrix by a twentieth."""
    sizes = sorted(float(p.detach().float().pow(2).mean().sqrt()) for p in parameters if p.dim() > 1)
    return min(max(0.05 * (sizes[len(sizes) // 2] if sizes else 0.02), 1e-4), 1e-2)


def _fastai_tokens(learn: Learner, views: List[TokenView]) -> List[str]:
    """fastai's own special tokens in the texts, where the data brings a vocabulary."""
    words = getattr(getattr(learn.data, "vocab", None), "itos", None)
    if not words:
        return []
    used = {int(t) for v in views for t in v.ids.unique().tolist()}
    return sorted({words[i] for i in used if i < len(words) and str(words[i]).startswith("xx")
                   and str(words[i]) not in ("xxpad", "xxunk")})


def reported(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
