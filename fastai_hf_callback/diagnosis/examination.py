"""One examination of a live learner of either fastai; the caller restores what it changes.

Order: eval mode on the weights as they are, the loss and the metrics on synthetic outputs, the targets, then real
steps through fastai's own loop on copies, then a new optimizer on one batch. It reaches the learner through a
``LearnerAdapter``.
"""

from functools import partial
from itertools import islice
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor

from fastai_hf_callback.diagnosis.probes.batches import (
    Batch,
    count_rows,
    is_per_token,
    pick_evenly,
    sample_rows,
    take_rows,
    truncate_batch,
)
from fastai_hf_callback.diagnosis.probes.forward_calls import (
    record_arguments,
    record_embedding_calls,
    record_executed_modules,
    takes_mask,
)
from fastai_hf_callback.diagnosis.probes.inputs import TokenView, build_token_view, probe_inputs, unify_padding
from fastai_hf_callback.diagnosis.probes.labels import SampledRows, probe_labels
from fastai_hf_callback.diagnosis.probes.loss import probe_all_targets, probe_loss
from fastai_hf_callback.diagnosis.probes.metrics import probe_metric
from fastai_hf_callback.diagnosis.probes.outputs import probe_outputs
from fastai_hf_callback.diagnosis.probes.sensitivity import (
    measure_batch_sensitivity,
    measure_padding_sensitivity,
    measure_word_sensitivity,
    measure_word_sensitivity_with_noise,
    probe_output_bounds,
)
from fastai_hf_callback.diagnosis.probes.vocabulary import add_tokenizer_evidence
from fastai_hf_callback.diagnosis.probes.weights import probe_weights
from fastai_hf_callback.model.broadcast import does_loss_broadcast
from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.results.evidence import Evidence, History, Inputs, LossBehavior, MetricEvidence, Outputs, Wiring
from fastai_hf_callback.utils.rng import preserve_rng_state

from .checks.failures import classify_exception
from .learner_adapter import CallbackLog, LearnerAdapter, LossNotReachedError
from .learning_rates import summarize_hyperparameters
from .training_steps import TrainingSteps, attempt, capture_output, format_error, record_vain_assignments

__all__ = ["Examination", "probe_metrics"]

COMMON_TOKENS = {"xxpad", "xxunk"}  # any tokenizer has these two, under another name


class ProbedBatch(NamedTuple):
    """A batch, its outputs as they reached the loss in eval mode, and what was recorded on the way."""

    batch: Batch
    output: Any
    view: Optional[TokenView]
    arguments: List[Dict[str, Any]]
    executed: List[Any]


class Examination:
    """One examination, inside ``adapter.preserve()``.

    Parameters
    ----------
    adapter : LearnerAdapter
    batches : int
        How many training batches to take steps on, and how many validation batches to read.
    """

    def __init__(self, adapter: LearnerAdapter, batches: int):
        self.adapter, self.n_batches = adapter, batches
        self.learn, self.optimizer = adapter.learn, adapter.optimizer
        self.loss_func = self.learn.loss_func
        self.evidence, self.wiring = Evidence(), Wiring()
        self.train: List[Batch] = []
        self.full_batches: List[Batch] = []
        self.probed: List[ProbedBatch] = []
        self.executed: List[Any] = []

    def run(self) -> Evidence:
        """Examine everything; a part that cannot be examined is named, and the others still are."""
        evidence, adapter = self.evidence, self.adapter
        self.wiring = evidence.wiring = adapter.read_wiring()
        full_batches = self.attempt("training batches", lambda: self._read_batches(train=True))
        if not full_batches:
            return evidence
        self._read_past()
        evidence.weights = probe_weights(self.learn.model, bool(self.optimizer.read_master_weights()))
        self.full_batches, self.train = full_batches, [truncate_batch(b) for b in full_batches]
        if not adapter.prepare_callbacks(self.wiring):
            return evidence
        if adapter.has_rows(train=False):
            self._check_validation_path(lambda: truncate_batch(self._read_batches(train=False, n=1)[0]))
        if self.probe_in_eval_mode():
            self.attempt("outputs", self.probe_outputs_and_loss)
        self.attempt("targets", lambda: self._probe_targets(full_batches))
        self.attempt("metrics", self._probe_metrics)
        # Weights with NaN make every step useless, and have a finding of their own.
        steps = TrainingSteps(adapter, evidence, self.train)
        steps.run(self.executed)
        if self.wiring.train_error is None:
            self.attempt("fitting one batch", steps.fit_one_batch)
        return evidence

    def run_on(self, batch: Batch, rows: int) -> Evidence:
        """Examine inputs, outputs and the loss on a few rows of one batch during a fit."""
        evidence, adapter, log = self.evidence, self.adapter, CallbackLog()
        self.wiring = evidence.wiring = adapter.read_wiring()
        self.full_batches, self.train = [batch], [truncate_batch(batch, rows)]
        adapter.copy_running_callbacks()
        if not self._check_validation_path(lambda: self.train[0]):
            self.wiring.only_in_callback_fns = adapter.list_unvalidated_callbacks()
        if self.probe_in_eval_mode():
            self.attempt("outputs", self.probe_outputs_and_loss)
        adapter.replay_step(self.train[0], log)
        record_vain_assignments(self.wiring, log)
        self.wiring.train_error = self.wiring.train_message = None  # the running fit will raise it itself
        return evidence

    def _read_batches(self, train: bool, n: Optional[int] = None) -> List[Batch]:
        return list(islice(self.adapter.iterate_batches(train), n or self.n_batches))

    def _read_past(self) -> None:
        """Read what earlier fits left in the Recorder."""
        recorder = vars(self.learn).get("recorder")
        losses, rates = ([float(v) for v in getattr(recorder, name, [])] for name in ("losses", "lrs"))
        if losses:
            self.evidence.history = History(losses, self.adapter.read_metric_values(), smoothed=True)
        self.evidence.hyper = summarize_hyperparameters(rates, self.optimizer, "the last fit")

    def _check_validation_path(self, get_batch: Callable[[], Batch]) -> bool:
        try:
            float(self.adapter.run_batch(get_batch(), self.loss_func, with_graph=False, validates=True))
        except LossNotReachedError:
            pass
        except Exception as error:
            self.wiring.valid_error, self.wiring.valid_message = (
                classify_exception(error, self.adapter.fixes).cause,
                format_error(error),
            )
            return False
        return True

    # -- outputs and inputs -----------------------------------------------------------------------------------

    def probe_in_eval_mode(self) -> bool:
        evidence = self.evidence
        try:
            self.probed = [self._probe_batch(batch) for batch in self.train]
        except LossNotReachedError as error:
            evidence.skipped.append(f"outputs ({error})")
            return False
        except Exception as error:
            if self.wiring.train_error is None:
                self.wiring.train_error, self.wiring.train_message = (
                    classify_exception(error, self.adapter.fixes).cause,
                    format_error(error),
                )
            return False
        self.executed = self.probed[-1].executed
        if self.has_ids():
            self.attempt("padding of validation batches", self._find_validation_padding)
            self._probe_inputs()
        return isinstance(self.probed[0].output, Tensor)

    def _probe_batch(self, batch: Batch) -> ProbedBatch:
        model = self.learn.model
        with record_embedding_calls(model) as calls, record_executed_modules(model) as executed, record_arguments(
            model
        ) as given:
            output = self._compute_logits(batch)
        return ProbedBatch(batch, output, build_token_view(calls, batch.xb), given, executed)

    def has_ids(self) -> bool:
        """Return whether ids were seen on their way into a word embedding, in every batch."""
        return bool(self.probed) and all(one.view is not None for one in self.probed)

    @property
    def views(self) -> List[TokenView]:
        """The recorded ids of the examined batches, training batches first."""
        return [one.view for one in self.probed if one.view is not None]

    def _find_validation_padding(self) -> None:
        """Find the padding in validation batches: training batches sorted by length hold next to none."""
        if any(view.pad_token_id is not None for view in self.views) or not self.adapter.has_rows(train=False):
            return
        more = [self._probe_batch(truncate_batch(batch)) for batch in self._read_batches(train=False)]
        self.probed += [one for one in more if one.view is not None and one.view.pad_token_id is not None]

    def _probe_inputs(self) -> None:
        evidence, model = self.evidence, self.learn.model
        unified = unify_padding(self.views)
        self.probed = [one._replace(view=view) for one, view in zip(self.probed, unified)]
        config = next((m.config for m in model.modules() if getattr(m, "config", None) is not None), None)
        evidence.inputs = probe_inputs(
            unified, [one.batch.xb for one in self.probed], [one.arguments for one in self.probed], config
        )
        evidence.inputs.takes_mask = takes_mask(model)
        evidence.ids_index = self._find_ids_index()
        evidence.inputs.foreign_tokens = _find_fastai_tokens(self.adapter.find_vocabulary(), unified)
        encoder = self.adapter.find_encoder()
        if encoder is not None:
            add_tokenizer_evidence(evidence.inputs, unified, encoder.tokenizer, encoder.max_length)
        evidence.examined.append("inputs")

    def probe_outputs_and_loss(self) -> None:
        evidence, batch, logits = self.evidence, self.train[0], self.probed[0].output
        training = self.probed[: len(self.train)]
        outputs, inputs = [one.output for one in training], [one.batch.xb for one in training]
        evidence.outputs = out = probe_outputs(outputs, [b.yb for b in self.train], self.learn.model)
        evidence.examined.append("outputs")
        if isinstance(batch.yb, Tensor):
            evidence.loss = behavior = probe_loss(self.loss_func, logits, batch.yb)
            out.broadcasts = does_loss_broadcast(self.loss_func, logits, batch.yb)
            self.attempt("what each target costs", lambda: self._probe_all_targets(logits, behavior))
            evidence.examined.append("loss")
        out.changes_with_batch_mates = self.attempt(
            "answer to batch mates",
            lambda: measure_batch_sensitivity(self._make_logits_func(batch), inputs, outputs, out),
        )
        out.bounded, out.rows_sum_to_one = probe_output_bounds(
            self._make_logits_func(batch), inputs[0], out, self.learn.model
        )
        if evidence.inputs is not None:
            self._probe_words(training, evidence.inputs, out)
            out.changes_with_padding = self.attempt("answer to padding", lambda: self._probe_padding(out))

    def _probe_all_targets(self, logits: Tensor, behavior: LossBehavior) -> None:
        targets = [b.yb for b in self.full_batches if isinstance(b.yb, Tensor) and b.yb.dim()]
        alike = len({t.shape[1:] for t in targets}) == 1
        if alike and logits.dim() and len(logits) == len(self.train[0].yb):
            probe_all_targets(behavior, self.loss_func, logits, torch.cat(targets))

    def _probe_words(self, training: List[ProbedBatch], inputs: Inputs, out: Outputs) -> None:
        if inputs.batch_has_other_ids or inputs.distinct_words <= 2:
            return
        logits_func, (xb, outputs, views) = self._make_logits_func(training[0].batch), _unzip(training)
        out.changes_with_tokens = self.attempt(
            "answer to words", lambda: measure_word_sensitivity(logits_func, xb, views, outputs, out)
        )
        if out.changes_with_tokens == 0:
            out.changes_with_tokens = self.attempt(
                "answer of other weights",
                lambda: measure_word_sensitivity_with_noise(logits_func, xb[0], views[0], self.learn.model, out),
            )

    def _probe_padding(self, out: Outputs) -> Optional[float]:
        padded = [one for one in self.probed if one.view is not None and one.view.pad_token_id is not None]
        xb, outputs, views = _unzip(padded)
        return measure_padding_sensitivity(self._make_logits_func(self.train[0]), xb, views, outputs, out)

    def _make_logits_func(self, batch: Batch) -> Callable[[Any], Tensor]:
        """Make a function from inputs to logits; the loop gets as many of `batch`'s targets as there are rows."""
        return lambda xb: self._compute_logits(Batch(xb, take_rows(batch.yb, count_rows(xb))))

    # -- targets and metrics ----------------------------------------------------------------------------------

    def _probe_targets(self, full_batches: List[Batch]) -> None:
        ids_index = self._find_ids_index()
        if (
            count_rows(full_batches[0].xb) != count_rows(full_batches[0].yb)
            or ids_index is not None
            and is_per_token(full_batches[0].yb, list(tensors_in(full_batches[0].xb))[ids_index])
        ):
            return  # a target per token, flattened or not: neighbours are alike
        train = self._sample_rows(True, ids_index)
        valid = self._sample_rows(False, ids_index) if self.adapter.has_rows(train=False) else None
        if train is None:
            return
        ordered = [b.yb.detach().cpu() for b in full_batches if isinstance(b.yb, Tensor)]
        self.evidence.labels = probe_labels(train, valid, ordered, self._pad_ids())
        self.evidence.examined.append("targets")

    def _sample_rows(self, train: bool, ids_index: Optional[int]) -> Optional[SampledRows]:
        """Sample rows evenly over a set."""
        collate = partial(self.adapter.collate, train)
        return sample_rows(pick_evenly(self.adapter.count_rows(train)), collate, ids_index, self._pad_ids())

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
        if not self.learn.metrics or not self.adapter.has_rows(train=False):
            return
        batches = self._read_batches(train=False)
        outputs, targets = [self._compute_logits(b) for b in batches], [b.yb for b in batches]
        if all(isinstance(t, Tensor) for t in outputs + targets):
            with preserve_rng_state():
                self.evidence.metrics = probe_metrics(self.adapter, self.learn.metrics, outputs, targets)
            self.evidence.examined.append("metrics")

    def attempt(self, what: str, action: Callable[[], Any]) -> Any:
        return attempt(self.evidence, what, action)

    def _compute_logits(self, batch: Batch) -> Any:
        return capture_output(self.adapter, batch, with_graph=False)[0]


def _unzip(probed: List[ProbedBatch]) -> Tuple[List[Any], List[Any], List[TokenView]]:
    """Split into inputs, outputs and the ids that were recorded."""
    views = [one.view for one in probed if one.view is not None]
    return [one.batch.xb for one in probed], [one.output for one in probed], views


def probe_metrics(
    adapter: LearnerAdapter, metrics: Sequence[Any], outputs: List[Tensor], targets: List[Tensor]
) -> List[MetricEvidence]:
    """Compute each metric on real outputs and on synthetic ones."""
    loss_func, named = adapter.learn.loss_func, adapter.list_metric_functions(metrics)
    return [probe_metric(name, compute, outputs, targets, loss_func) for name, compute in named]


def _find_fastai_tokens(words: Sequence[Any], views: List[TokenView]) -> List[str]:
    """Find fastai's own special tokens in the texts."""
    used = {int(token) for view in views for token in view.ids.unique().tolist()}
    return sorted({str(words[i]) for i in used if i < len(words) and str(words[i]).startswith("xx")} - COMMON_TOKENS)
