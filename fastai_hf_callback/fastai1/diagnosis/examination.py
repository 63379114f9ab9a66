"""One examination of a live fastai 1 learner; lives inside ``everything_put_back``. See ``probe``.

What is common to both fastais stands in the core's ``examination.py``.
"""
from typing import Any, Callable, List, Optional, Tuple

import torch
from fastai import basic_train
from fastai.basic_train import Learner, Recorder
from fastai.callback import Callback, CallbackHandler
from torch import Tensor

from fastai_hf_callback.errors import BridgeError
from fastai_hf_callback.results.evidence import History, Hyper, MetricSeen, Wiring
from fastai_hf_callback.diagnosis.examination import AnyExamination, reported
from fastai_hf_callback.diagnosis.failures import explained
from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.diagnosis.probes.inputs import TokenView
from fastai_hf_callback.diagnosis.probes.labels import Sampled
from fastai_hf_callback.data.encoding.encoder import TextEncoder
from .batches import batches_of, rows_drawn
from fastai_hf_callback.fastai1.callback import HFCallback
from fastai_hf_callback.fastai1.data.dataset import TextList
from fastai_hf_callback.fastai1.comparison.patched_loop import active_patch
from .metric_probe import look_at_metrics
from .step_monitor import LossBefore, StepWatch, masters_of
from .history import history_of, hyper_of, put_in_force
from fastai_hf_callback.fastai1.compat.no_progress import NoBar
from .callback_replay import Relay, Spy, peak_rate, quietly_copied, simulated_steps, takes_part

__all__ = ["Examination"]

PROBING_LR = 1e-4        # where no fit has named a rate, one is needed for the steps and is not judged


class Examination(AnyExamination):
    """One examination; lives inside ``everything_put_back``."""

    def wiring(self) -> Wiring:
        return Wiring(patch=active_patch(), hf_callback=any(isinstance(cb, HFCallback) for cb in self.learn.callbacks))

    def has_validation(self) -> bool:
        return not self.learn.data.empty_val

    def training_batches(self) -> List[Batch]:
        return batches_of(self.learn.data.train_dl, self.wanted)

    def validation_batches(self, n: int) -> List[Batch]:
        return batches_of(self.learn.data.valid_dl, n)

    def rows_drawn(self, train: bool, place: Optional[int], pads: List[int]) -> Optional[Sampled]:
        data = self.learn.data
        return rows_drawn(data.train_dl if train else data.valid_dl, place, pads)

    def past(self) -> Tuple[Optional[History], Hyper]:
        return history_of(self.learn), hyper_of(self.learn)

    def has_master_copies(self) -> bool:
        return bool(masters_of(self.learn))

    def metrics_seen(self, outputs: List[Tensor], targets: List[Tensor]) -> List[MetricSeen]:
        return look_at_metrics(self.learn.metrics, outputs, targets, self.learn.loss_func)

    def encoder(self) -> Optional[TextEncoder]:
        texts = getattr(self.learn.data.train_ds, "x", None)
        return texts.encoder if isinstance(texts, TextList) else None

    def foreign_tokens(self, views: List[TokenView]) -> List[str]:
        return _fastai_tokens(self.learn, views)

    # -- the two paths to the loss ----------------------------------------------------------------------------

    def prepare_callbacks(self) -> bool:
        learn, seen = self.learn, self.seen
        copies = [quietly_copied(cb, learn) for cb in learn.callbacks]
        if any(not isinstance(cb, Callback) for cb in copies):
            wrong = next(cb for cb in copies if not isinstance(cb, Callback))
            seen.wiring.train_error = "callback-class-not-instance"
            seen.wiring.train_said = f"{wrong!r} is among learn.callbacks"
            return False
        made = self._made_from_fns()
        if made is None:
            return False
        seen.wiring.only_in_callback_fns = [type(cb).__name__ for cb in made
                                            if type(cb).on_loss_begin is not Callback.on_loss_begin]
        self.always = [cb for cb in copies if takes_part(cb)]
        self.fitting = self.always + [cb for cb in made if takes_part(cb)]
        return True

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

    def validation_loss(self, batch: Batch) -> float:
        return float(self.loss_batch(batch, self.learn.loss_func, self.always))

    def loss_batch(self, batch: Batch, loss_func: Optional[Callable], callbacks: List[Callback]) -> Any:
        """One batch through fastai's loop in eval mode, as ``validate`` and ``pred_batch`` send it."""
        self.learn.model.eval()
        handler = CallbackHandler(list(callbacks))
        with torch.no_grad():
            xb, yb = handler.on_batch_begin(batch.xb, batch.yb, train=False)
            return basic_train.loss_batch(self.learn.model, xb, yb, loss_func, cb_handler=handler)

    def logits(self, batch: Batch) -> Tensor:
        caught: List[Any] = []

        def catch(output: Any, *target: Any) -> Tensor:
            caught.append(output)
            return torch.zeros(())

        self.loss_batch(batch, catch, self.fitting)
        return caught[0]

    def training_output(self, batch: Batch) -> Tuple[Any, Tuple[Any, ...]]:
        self.learn.model.eval()
        caught: List[Any] = []

        def catch(output: Any, *target: Any) -> Tensor:
            caught.append((output, target))
            return torch.zeros(())

        handler = CallbackHandler(list(self.fitting))
        xb, yb = handler.on_batch_begin(batch.xb, batch.yb)
        basic_train.loss_batch(self.learn.model, xb, yb, catch, cb_handler=handler)
        return caught[0]

    # -- steps ------------------------------------------------------------------------------------------------

    def watch_steps(self) -> None:
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
        watch.see_executed(self.ran)

    def _judge_rates_of_callbacks(self, put: float) -> None:
        """Where a callback sets the rate: the highest that it would set in an epoch, and the update that makes."""
        step, hyper = self.seen.stepping, self.seen.hyper
        if step.lr_in_force is None or abs(step.lr_in_force - put) <= 1e-6 * put:
            return
        peak = max(peak_rate(self.learn, self.fitting, self.train[0]), step.lr_in_force)
        if step.update is not None and step.lr_in_force > 0:
            step.update *= peak / step.lr_in_force
        step.lr_in_force, hyper.lr, hyper.source = peak, peak, "set by a callback"


def _fastai_tokens(learn: Learner, views: List[TokenView]) -> List[str]:
    """fastai's own special tokens in the texts, where the data brings a vocabulary."""
    words = getattr(getattr(learn.data, "vocab", None), "itos", None)
    if not words:
        return []
    used = {int(t) for v in views for t in v.ids.unique().tolist()}
    return sorted({words[i] for i in used if i < len(words) and str(words[i]).startswith("xx")
                   and str(words[i]) not in ("xxpad", "xxunk")})
