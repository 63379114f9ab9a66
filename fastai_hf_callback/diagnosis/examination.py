"""One examination of a live learner of either fastai; the caller restores what it changes.

Order: eval mode on the weights as they are, the loss and the metrics on synthetic outputs, the targets, then real
steps through fastai's own loop on copies, then a new optimizer on one batch. It reaches the learner through a
``LearnerAdapter``.
"""

from functools import partial
from typing import Any, Callable, List, Optional, Set

import torch
from torch import Tensor

from fastai_hf_callback.diagnosis.probes.batches import (
    Batch,
    count_rows,
    name_type,
    read_batches,
    take_rows,
    truncate_batch,
    truncate_for_metrics,
    truncate_to_affordable,
)
from fastai_hf_callback.diagnosis.probes.forward_calls import (
    find_config,
    record_arguments,
    record_embedding_calls,
    record_executed_modules,
    takes_mask,
)
from fastai_hf_callback.diagnosis.probes.inputs import TokenView, build_token_view, probe_inputs, unify_padding
from fastai_hf_callback.diagnosis.probes.loss import probe_all_targets, probe_loss, require_tensor_loss
from fastai_hf_callback.diagnosis.probes.numeric.inputs import FirstCall, record_first_calls
from fastai_hf_callback.diagnosis.probes.outputs import probe_outputs
from fastai_hf_callback.diagnosis.probes.pairing.pairing_probe import ProbedBatch, probe_pairing, unzip_batches
from fastai_hf_callback.diagnosis.probes.sensitivity import (
    measure_batch_sensitivity,
    measure_padding_sensitivity,
    measure_spread_of_new_weights,
    measure_word_sensitivity,
    measure_word_sensitivity_with_noise,
    probe_output_bounds,
)
from fastai_hf_callback.diagnosis.probes.vocabulary import (
    add_tokenizer_evidence,
    find_fastai_tokens,
)
from fastai_hf_callback.diagnosis.probes.weights import probe_weights
from fastai_hf_callback.errors import OutputError
from fastai_hf_callback.model.loss.broadcast import does_loss_broadcast
from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.results.evidence import Evidence, LossBehavior, Outputs, Wiring
from fastai_hf_callback.results.fit_record import History
from fastai_hf_callback.results.probes import (
    DOES_NOT_APPLY,
    FAILED,
    NOT_MADE,
    ProbeOutcome,
    begin_probes,
    close_probes,
)
from fastai_hf_callback.utils.rng import preserve_rng_state

from .learner_adapter import CallbackLog, LastFit, LearnerAdapter, LossNotReachedError, find_watch
from .learning_rates import is_range_test, limit_reach, summarize_hyperparameters
from .metric_scores import probe_metrics, require_scores
from .numeric_inputs import NumericInputsProbe, skip_texts
from .probe_runner import (
    DoesNotApplyError,
    NotMadeError,
    attempt,
    format_error,
    record_failure,
    was_raised_here,
)
from .targets import RowLayout, probe_targets
from .training_steps import TrainingSteps, capture_output, record_vain_assignments
from .validation_path import ValidationPath

__all__ = ["Examination"]


class Examination:
    """One examination, inside ``adapter.preserve()``.

    Parameters
    ----------
    adapter : LearnerAdapter
    batches : int
        How many training batches to take steps on, and how many validation batches to read.
    in_fit : bool
        Whether it takes what a running fit allows, for ``Doctor``.
    """

    def __init__(self, adapter: LearnerAdapter, batches: int, in_fit: bool = False):
        self.adapter, self.n_batches = adapter, batches
        self.checks_loss, self.single_rows = False, 1 if in_fit else 2
        self.learn, self.optimizer = adapter.learn, adapter.optimizer
        self.loss_func = self.learn.loss_func
        self.evidence, self.wiring = Evidence(probes=begin_probes(in_fit)), Wiring()
        self.validation = ValidationPath(adapter, self.evidence)
        self.numeric_inputs = NumericInputsProbe(adapter, self.evidence)
        self.train: List[Batch] = []
        self.full_batches: List[Batch] = []
        self.probed: List[ProbedBatch] = []
        self.executed: List[Any] = []
        self.first_call: Optional[FirstCall] = None
        self.past = LastFit([], [], {})
        self.skipped: Set[str] = set()  # probes that are left out

    def run(self) -> Evidence:
        """Examine everything; a part that cannot be examined is named, and the others still are."""
        self._run_probes()
        close_probes(self.evidence.probes)
        return self.evidence

    def _run_probes(self) -> None:
        evidence, adapter = self.evidence, self.adapter
        self.wiring = evidence.wiring = adapter.read_wiring()
        full_batches = self.attempt("training batches", self._read_training_batches, as_in_fit=True)
        self.attempt("the last fit", self._read_past)
        self.attempt("weights", self._probe_weights)
        if not full_batches or not self.attempt("callbacks", self._prepare_callbacks):
            return
        self.full_batches, self.train = (
            full_batches,
            [truncate_to_affordable(b, self.learn.model) for b in full_batches],
        )
        self.attempt("validation batches", self._probe_validation_path)
        if self.probe_in_eval_mode():
            self.attempt("outputs", self.probe_outputs_and_loss)
        self.attempt("targets", lambda: self._probe_targets(full_batches))
        self.attempt("metrics", self._probe_metrics, as_in_fit=True)
        if evidence.weights is not None and evidence.hyper is not None:
            # Weights with NaN make every step useless, and have a finding of their own.
            steps = TrainingSteps(adapter, evidence, self.train)
            self.attempt("optimizer", lambda: steps.run(self.executed), as_in_fit=True)
            if self.wiring.train_error is None:
                self.attempt("fitting one batch", steps.fit_one_batch)
                self.attempt("callbacks", self._replay_events, as_in_fit=True)

    def run_on(self, batch: Batch, rows: int) -> Evidence:
        """Examine inputs, outputs and the loss on a few rows of one batch during a fit."""
        evidence, adapter, log = self.evidence, self.adapter, CallbackLog()
        self.wiring = evidence.wiring = adapter.read_wiring()
        self.full_batches, self.train = [batch], [truncate_batch(batch, rows)]
        adapter.copy_running_callbacks()
        self.checks_loss = adapter.validates_with_all_callbacks
        if not self.checks_loss:
            self.validation.check(self.train[0])
        if self.probe_in_eval_mode():
            self.attempt("outputs", self.probe_outputs_and_loss)
        if self.wiring.valid_error is not None:
            self.wiring.only_in_callback_fns = adapter.list_unvalidated_callbacks()
        adapter.replay_step(self.train[0], log)
        record_vain_assignments(self.wiring, log)
        self.wiring.train_error = self.wiring.train_message = None  # the running fit will raise it itself
        close_probes(evidence.probes)
        return evidence

    def _read_training_batches(self) -> List[Batch]:
        return read_batches(self.adapter.iterate_batches(train=True), self.n_batches, self.adapter.count_rows)

    def _read_past(self) -> None:
        """Read what the last fit recorded."""
        past = self.past = self.adapter.read_last_fit()
        watch = find_watch(self.learn)
        self.evidence.watched = None if watch is None else watch.causes
        self.evidence.hyper = summarize_hyperparameters(past.rates, self.optimizer, "the last fit")
        if is_range_test(past.rates):
            raise DoesNotApplyError("only a range test so far")
        if past.losses:
            self.evidence.history = History(past.losses, past.metrics, smoothed=True)
        elif past.was_erased and watch is not None and watch.history is not None:
            self.evidence.history, self.evidence.hyper = watch.history, watch.hyper
        elif past.was_erased:
            raise NotMadeError(
                "the optimizer has taken steps, and fastai has forgotten their losses, rates and metrics",
                "fit again and write diagnose(learn) before validate(), get_preds(); HFCallback and Doctor keep them",
            )
        else:
            raise DoesNotApplyError("no fit yet")

    def _probe_weights(self) -> None:
        has_masters, hyper = bool(self.optimizer.read_master_weights()), self.evidence.hyper
        weights = probe_weights(self.learn.model, has_masters, self.past.start, limit_reach(hyper))
        weights.non_finite_state = self.optimizer.count_non_finite_state()
        weights.frozen_in_vain = self.optimizer.count_frozen_in_vain()
        self.evidence.weights = weights

    def _prepare_callbacks(self) -> bool:
        ready = self.adapter.prepare_callbacks(self.wiring)
        if not ready:
            self.evidence.probes["callbacks"].settle(FAILED, self.wiring.train_message or "")
        self.wiring.idle_callbacks = self.adapter.list_idle_callbacks()
        return ready

    def _replay_events(self) -> None:
        """Call the events outside of a batch of the user's own callbacks, on copies."""
        if self.wiring.valid_error is not None or not self.adapter.has_own_events():
            return
        valid = [truncate_batch(batch) for batch in self.validation.read(1)]
        try:
            log = self.adapter.replay_events(self.train, valid)
        except Exception as error:  # a metric, or what a library wrote: an own callback's is in the log
            raise NotMadeError(f"a short epoch for their events ended early: {format_error(error)}") from error
        self.wiring.idle_callbacks = [name for name in self.wiring.idle_callbacks if name not in log.completed]
        if log.error is not None:
            raise log.error

    def _probe_validation_path(self) -> None:
        self.adapter.require_loaders()
        if not self.adapter.has_rows(train=False):
            raise DoesNotApplyError("no validation set")
        self.validation.check(truncate_to_affordable(self.validation.read(1)[0], self.learn.model))

    # -- outputs and inputs -----------------------------------------------------------------------------------

    def probe_in_eval_mode(self) -> bool:
        """Run the batches in eval mode and probe the texts; False where no tensor reaches the loss."""
        outcome = self.evidence.probes["outputs"]
        try:
            self.probed = [self._probe_batch(batch) for batch in self.train]
        except LossNotReachedError as error:
            outcome.settle(NOT_MADE, str(error))
            return False
        except Exception as error:
            if was_raised_here(error):
                outcome.settle(NOT_MADE, format_error(error))
            else:
                self._record_training_failure(outcome, error)
            return False
        self.executed = self.probed[-1].executed
        self.attempt("inputs", self._probe_inputs)
        self.attempt("pairs of outputs and targets", self._probe_pairing)
        if not isinstance(self.probed[0].output, Tensor):
            outcome.settle(DOES_NOT_APPLY, f"what reaches the loss is no tensor but {name_type(self.probed[0].output)}")
            return False
        return True

    def _record_training_failure(self, outcome: ProbeOutcome, error: Exception) -> None:
        record_failure(outcome, error, self.adapter.fixes)
        if self.wiring.train_error is None:
            self.wiring.train_error, self.wiring.train_message = outcome.cause, outcome.reason

    def _probe_batch(self, batch: Batch) -> ProbedBatch:
        model = self.learn.model
        with record_embedding_calls(model) as calls, record_executed_modules(model) as executed, record_arguments(
            model
        ) as given, record_first_calls(model) as first_calls:
            caught = self.validation.run(batch) if self.checks_loss else []
            output = caught[0] if caught else self._compute_logits(batch)  # which raises it again
        self.first_call = self.first_call or next(iter(first_calls), None)
        view = build_token_view(calls, batch.xb, [one.xb for one in self.full_batches], find_config(self.learn.model))
        return ProbedBatch(batch, output, view, calls, given, executed)

    def _probe_pairing(self) -> None:
        logits_func = self._make_logits_func(self.probed[0].batch)
        self.evidence.pairing = probe_pairing(self.loss_func, self.probed, logits_func, find_config(self.learn.model))

    def has_ids(self) -> bool:
        """Return whether ids were seen on their way into a word embedding, in every batch."""
        return bool(self.probed) and all(one.view is not None for one in self.probed)

    @property
    def views(self) -> List[TokenView]:
        """The recorded ids of the examined batches, training batches first."""
        return [one.view for one in self.probed if one.view is not None]

    def _find_validation_padding(self) -> None:
        """Find the padding in validation batches: training batches sorted by length hold next to none."""
        if any(view.pad_token_id is not None for view in self.views):
            raise DoesNotApplyError("training batches show the padding")
        if not self.adapter.has_rows(train=False):
            raise DoesNotApplyError("no validation set")
        more = [
            self._probe_batch(truncate_to_affordable(batch, self.learn.model))
            for batch in self.validation.read(self.n_batches)
        ]
        self.probed += [one for one in more if one.view is not None and one.view.pad_token_id is not None]

    def _probe_inputs(self) -> None:
        self.numeric_inputs.read([batch.xb for batch in self.full_batches], self.first_call, self.has_ids())
        if not self.has_ids():
            skip_texts(self.evidence)
            return
        if "padding of validation batches" in self.evidence.probes:
            self.attempt("padding of validation batches", self._find_validation_padding)
        evidence, model, config = self.evidence, self.learn.model, find_config(self.learn.model)
        unified = unify_padding(self.views)
        self.probed = [one._replace(view=view) for one, view in zip(self.probed, unified)]
        evidence.inputs = probe_inputs(
            unified, [one.batch.xb for one in self.probed], [one.arguments for one in self.probed], config
        )
        evidence.inputs.takes_mask = takes_mask(model)
        evidence.ids_index = self._find_ids_index()
        evidence.inputs.foreign_tokens = find_fastai_tokens(self.adapter.find_vocabulary(), unified)
        encoder = self.adapter.find_encoder()
        if encoder is not None:
            add_tokenizer_evidence(evidence.inputs, unified, encoder.tokenizer, encoder.max_length)

    def probe_outputs_and_loss(self) -> None:
        evidence, batch = self.evidence, self.train[0]
        training = self.probed[: len(self.train)]
        outputs, inputs = [one.output for one in training], [one.batch.xb for one in training]
        logits_func = self._make_logits_func(batch)
        evidence.outputs = out = probe_outputs(outputs, [b.yb for b in self.train], self.learn.model)
        self.attempt("loss", lambda: self._probe_loss(batch, self.probed[0].output, out))
        out.changes_with_batch_mates = self.attempt(
            "answer to batch mates",
            lambda: measure_batch_sensitivity(logits_func, inputs, outputs, out, self.single_rows),
        )
        self.attempt("bounds of the outputs", lambda: self._probe_bounds(batch, out))
        self.attempt("answer to words", lambda: self._probe_words(training, out))
        self.attempt("answer to numbers", partial(self.numeric_inputs.probe_answers, logits_func, batch.xb, outputs[0]))
        out.spread_of_new_weights = self.attempt(
            "answer of new weights",
            partial(measure_spread_of_new_weights, logits_func, batch.xb, self.learn.model, out),
        )
        out.changes_with_padding = self.attempt("answer to padding", lambda: self._probe_padding(out))

    def _probe_loss(self, batch: Batch, logits: Tensor, out: Outputs) -> None:
        if not isinstance(batch.yb, Tensor):
            raise DoesNotApplyError(f"the targets are no tensor but {name_type(batch.yb)}")
        try:
            require_tensor_loss(self.loss_func, logits, batch.yb)
        except OutputError as error:
            self.wiring.train_error, self.wiring.train_message = error.cause, error.message
            if self.wiring.valid_error is not None:
                self.wiring.valid_error, self.wiring.valid_message = error.cause, error.message
            raise
        pairing = self.evidence.pairing
        ahead = 0 if pairing is None else pairing.ahead or 0
        self.evidence.loss = behavior = probe_loss(self.loss_func, logits, batch.yb, ahead)
        out.broadcasts = does_loss_broadcast(self.loss_func, logits, batch.yb)
        self.attempt("what each target costs", lambda: self._probe_all_targets(logits, behavior))

    def _probe_bounds(self, batch: Batch, out: Outputs) -> None:
        out.bounded, out.rows_sum_to_one = probe_output_bounds(
            self._make_logits_func(batch), batch.xb, out, self.learn.model
        )

    def _probe_all_targets(self, logits: Tensor, behavior: LossBehavior) -> None:
        targets = [b.yb for b in self.full_batches if isinstance(b.yb, Tensor) and b.yb.dim()]
        alike = len({t.shape[1:] for t in targets}) == 1
        if not (alike and logits.dim() and len(logits) == len(self.train[0].yb)):
            raise DoesNotApplyError("there is not one output for each target")
        probe_all_targets(behavior, self.loss_func, logits, torch.cat(targets))

    def _probe_words(self, training: List[ProbedBatch], out: Outputs) -> None:
        inputs, other = self.evidence.inputs, self.evidence.probes["answer of other weights"]
        if inputs is None or inputs.batch_has_other_ids or inputs.distinct_words <= 2:
            other.settle(DOES_NOT_APPLY, _NO_WORDS)
            raise DoesNotApplyError(_NO_WORDS)
        logits_func, (xb, outputs, views) = self._make_logits_func(training[0].batch), unzip_batches(training)
        out.changes_with_tokens = measure_word_sensitivity(logits_func, xb, views, outputs, out)
        if out.changes_with_tokens != 0:
            other.settle(DOES_NOT_APPLY, "the outputs answer to words")
            return
        out.changes_with_tokens = self.attempt(
            "answer of other weights",
            lambda: measure_word_sensitivity_with_noise(logits_func, xb[0], views[0], self.learn.model, out),
        )

    def _probe_padding(self, out: Outputs) -> Optional[float]:
        padded = [one for one in self.probed if one.view is not None and one.view.pad_token_id is not None]
        if not padded:
            raise DoesNotApplyError("nothing is padded")
        xb, outputs, views = unzip_batches(padded)
        func = self._make_logits_func(self.train[0])
        return measure_padding_sensitivity(func, xb, views, outputs, out, self.single_rows)

    def _make_logits_func(self, batch: Batch) -> Callable[[Any], Tensor]:
        """Make a function from inputs to logits; the loop gets as many of `batch`'s targets as there are rows."""
        return lambda xb: self._compute_logits(Batch(xb, take_rows(batch.yb, count_rows(xb))))

    # -- targets and metrics ----------------------------------------------------------------------------------

    def _probe_targets(self, full_batches: List[Batch]) -> None:
        layout, features = RowLayout(self._find_ids_index(), self._pad_ids()), self.numeric_inputs.compute_features
        self.evidence.labels = probe_targets(self.adapter, full_batches, layout, features)

    def _find_ids_index(self) -> Optional[int]:
        if not self.views:
            return None
        ids = self.views[0].ids
        return next(
            (
                i
                for i, t in enumerate(tensors_in(self.train[0].xb))
                if t.shape == ids.shape and bool((t.to(ids) == ids).all())
            ),
            None,
        )

    def _pad_ids(self) -> List[int]:
        return sorted({v.pad_token_id for v in self.views if v.pad_token_id is not None})

    def _probe_metrics(self) -> None:
        if not self.learn.metrics:
            raise DoesNotApplyError("the learner has none")
        if not self.adapter.has_rows(train=False):
            raise DoesNotApplyError("no validation set")
        batches = [truncate_for_metrics(b, self.learn.model) for b in self.validation.read(self.n_batches)]
        outputs, targets = [self._compute_logits(b) for b in batches], [b.yb for b in batches]
        if not all(isinstance(t, Tensor) for t in outputs + targets):
            raise DoesNotApplyError("outputs and targets are not one tensor each")
        with preserve_rng_state():
            self.evidence.metrics = probe_metrics(self.adapter, self.learn.metrics, outputs, targets, self.evidence)
        require_scores(self.evidence.metrics)

    def attempt(self, name: str, action: Callable[[], Any], as_in_fit: bool = False) -> Any:
        if name in self.skipped:
            return None
        return attempt(self.evidence, name, action, as_in_fit, self.adapter.fixes)

    def _compute_logits(self, batch: Batch) -> Any:
        return capture_output(self.adapter, batch, with_graph=False)[0]


_NO_WORDS = "no texts of several words"
