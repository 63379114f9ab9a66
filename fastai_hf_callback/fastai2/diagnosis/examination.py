"""One examination of a live fastai 2 learner; lives inside ``everything_put_back``. See ``probe``.

What is common to both fastais stands in the core's ``examination.py``.
"""
from contextlib import suppress
from typing import Any, Callable, List, Optional, Tuple

import torch
from fastai.callback.core import Callback
from torch import Tensor

from fastai_hf_callback.results.evidence import Graph, History, Hyper, MetricSeen, Wiring
from fastai_hf_callback.diagnosis.examination import AnyExamination, NothingReachedTheLoss, reported
from fastai_hf_callback.diagnosis.failures import explained
from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.diagnosis.probes.inputs import TokenView
from fastai_hf_callback.diagnosis.probes.labels import Sampled
from fastai_hf_callback.diagnosis.probes.steps import look_at_graph
from fastai_hf_callback.data.encoding.encoder import TextEncoder
from .batches import as_fastai_has_it, batches_of, rows_drawn
from fastai_hf_callback.fastai2.callback import HFCallback
from fastai_hf_callback.fastai2.data.dataset import TextDataset
from fastai_hf_callback.fastai2.comparison.patched_loop import active_patch
from .metric_probe import look_at_metrics
from .step_monitor import LossBefore, StepWatch
from .history import history_of, hyper_of, put_in_force
from fastai_hf_callback.fastai2.comparison.recorder import has_validation
from .callback_replay import (
    CANCELS,
    ENDS,
    Relay,
    Spy,
    on_stage,
    peak_rate,
    quietly_copied,
    rehearsal,
    simulated_steps,
    takes_part,
)

__all__ = ["Examination"]

PROBING_LR = 1e-4        # where no fit has named a rate, one is needed for the steps and is not judged


class Examination(AnyExamination):
    """One examination; lives inside ``everything_put_back``."""

    def wiring(self) -> Wiring:
        return Wiring(patch=active_patch(), hf_callback=any(isinstance(cb, HFCallback) for cb in self.learn.cbs),
                      only_in_training=[type(cb).__name__ for cb in self.learn.cbs
                                        if not cb.run_valid and hasattr(cb, "after_pred")])

    def has_validation(self) -> bool:
        return has_validation(self.learn)

    def training_batches(self) -> List[Batch]:
        return batches_of(self.learn, self.learn.dls.train, self.wanted)

    def validation_batches(self, n: int) -> List[Batch]:
        return batches_of(self.learn, self.learn.dls.valid, n)

    def rows_drawn(self, train: bool, place: Optional[int], pads: List[int]) -> Optional[Sampled]:
        return rows_drawn(self.learn, self.learn.dls[0 if train else 1], place, pads)

    def past(self) -> Tuple[Optional[History], Hyper]:
        return history_of(self.learn), hyper_of(self.learn)

    def metrics_seen(self, outputs: List[Tensor], targets: List[Tensor]) -> List[MetricSeen]:
        return look_at_metrics(self.learn.metrics, outputs, targets, self.loss_func)

    def encoder(self) -> Optional[TextEncoder]:
        rows = self.learn.dls.train.dataset
        return rows.feeding.encoder if isinstance(rows, TextDataset) else None

    def foreign_tokens(self, views: List[TokenView]) -> List[str]:
        vocabularies = getattr(self.learn.dls, "vocab", None)  # fastai's text data: words first, then classes
        words = vocabularies[0] if isinstance(vocabularies, (list, tuple)) and vocabularies else None
        if not isinstance(words, (list, tuple)) or "xxbos" not in words:
            return []
        used = {int(t) for v in views for t in v.ids.unique().tolist()}
        return sorted({words[i] for i in used if i < len(words) and words[i].startswith("xx")} - {"xxpad", "xxunk"})

    # -- the two paths to the loss ----------------------------------------------------------------------------

    def prepare_callbacks(self) -> bool:
        self.callbacks = [quietly_copied(cb, self.learn) for cb in self.learn.cbs if takes_part(cb)]
        return True

    def validation_loss(self, batch: Batch) -> float:
        self._through_the_loop(batch, self.loss_func)
        return float(self.learn.loss)

    def logits(self, batch: Batch) -> Any:
        return self._caught(batch, with_graph=False)[0]

    def training_output(self, batch: Batch) -> Tuple[Any, Tuple[Any, ...]]:
        return self._caught(batch, with_graph=True)

    def _caught(self, batch: Batch, with_graph: bool) -> Tuple[Any, Tuple[Any, ...]]:
        caught: List[Any] = []

        def catch(output: Any, *target: Any) -> Tensor:
            caught.append((output, target))
            return torch.zeros(())

        self._through_the_loop(batch, catch, with_graph)
        return caught[0]

    def _through_the_loop(self, batch: Batch, loss_func: Callable[..., Any], with_graph: bool = False) -> None:
        """One batch through fastai's loop in eval mode, as ``validate`` and ``get_preds`` send it."""
        learn, asked = self.learn, []

        def noted(*given: Any) -> Any:
            asked.append(True)
            return loss_func(*given)

        try:
            with on_stage(learn, self.callbacks, training=False), torch.set_grad_enabled(with_graph):
                learn.loss_func = noted
                learn.one_batch(0, as_fastai_has_it(batch))
        except CANCELS:
            pass
        finally:
            learn.loss_func = self.loss_func
        if not asked:
            raise NothingReachedTheLoss("a callback cancels the batch before the loss")

    # -- steps ------------------------------------------------------------------------------------------------

    def watch_steps(self) -> None:
        learn, seen = self.learn, self.seen
        before, watch, spied = LossBefore(), StepWatch(learn), Spy(self.callbacks)
        rate = PROBING_LR if seen.hyper.lr is None else seen.hyper.lr
        try:
            self._ready_to_step(rate)
            with on_stage(learn, [before, *self.callbacks, Relay(watch)], training=True):
                for i, batch in enumerate(self.train):
                    learn.one_batch(i, as_fastai_has_it(batch))
        except ENDS:
            if not watch.stepping.steps:
                seen.wiring.ends_training = sorted(spied.who)
        except Exception as error:
            if not any(p.requires_grad for p in learn.model.parameters()):
                watch.graph = watch.graph or self.attempt("the graph", self._graph_without_steps)
            if watch.graph is None or (watch.graph.trainable and watch.graph.loss_has_graph):
                seen.wiring.train_error, seen.wiring.train_said = explained(error).cause, reported(error)
        seen.graph, seen.precision = watch.graph, watch.precision
        self._note_what_is_in_vain(spied)
        if watch.stepping.steps:
            seen.stepping = watch.finish()
            seen.stepping.loss_factor = before.factor_of(watch.losses)
            self.attempt("rates set by callbacks", lambda: self._judge_rates_of_callbacks(rate))
            self._judge_cancelled(spied)
            seen.looked_at += ["gradients", "optimizer"]
        watch.see_executed(self.ran)

    def spy_on_a_step(self) -> None:
        """The events of one step on the first batch, for what the callbacks set in vain alone."""
        spied = Spy(self.callbacks)
        with suppress(Exception), rehearsal(self.learn, self.loss_func):  # the fit itself will say what it raises
            with on_stage(self.learn, self.callbacks, training=True):
                self.learn.one_batch(0, as_fastai_has_it(self.train[0]))
        self._note_what_is_in_vain(spied)

    def _note_what_is_in_vain(self, spied: Spy) -> None:
        self.seen.wiring.set_on_itself = dict(spied.kept_to_itself)
        self.seen.wiring.loss_only_shown = sorted(spied.shown_only)

    def _graph_without_steps(self) -> Graph:
        """Where no step can be made: fastai 2 makes no optimizer for a model whose every parameter is frozen."""
        output, target = self.training_output(self.train[0])
        return look_at_graph(self.learn.model, output, self.loss_func(output, *target))

    def _ready_to_step(self, rate: float) -> None:
        learn, hyper = self.learn, self.seen.hyper
        if learn.opt is None:
            learn.create_opt()
        put_in_force(learn.opt, rate)
        if hyper.lr is None and learn.wd is not None:  # what fit would put in force
            learn.opt.set_hypers(wd=learn.wd)
        hyper.wd = max((float(group.get("wd", 0.0) or 0.0) for group in learn.opt.hypers), default=0.0)

    def _judge_cancelled(self, spied: Spy) -> None:
        step = self.seen.stepping
        step.who = sorted(spied.who)
        if step.skipped_steps >= step.steps:
            step.steps_simulated = self.attempt(
                "an epoch of skipped steps", lambda: simulated_steps(self.learn, spied.guilty, self.train[0]))

    def _judge_rates_of_callbacks(self, put: float) -> None:
        """Where a callback sets the rate: the highest that it would set in an epoch, and the update that makes."""
        step, hyper = self.seen.stepping, self.seen.hyper
        if step.lr_in_force is None or abs(step.lr_in_force - put) <= 1e-6 * put:
            return
        setting: List[Callback] = [cb for cb in self.callbacks if "scaler" not in vars(cb)]
        peak = max(peak_rate(self.learn, setting, self.train[0]), step.lr_in_force)
        if step.update is not None and step.lr_in_force > 0:
            step.update *= peak / step.lr_in_force
        step.lr_in_force, hyper.lr, hyper.source = peak, peak, "set by a callback"
