"""One examination of a live learner of either fastai; lives inside ``preserve_everything``.

Order: eval mode on the weights as they are, the loss and the metrics on stand-ins, the targets, then real steps
through fastai's own loop on copies, then a fresh optimizer on one batch. ``fastai1/examination.py`` and
``fastai2/examination.py`` say how a learner is asked.
"""

import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.diagnosis.probes.batches import Batch, count_rows, is_per_token, truncate_batch
from fastai_hf_callback.diagnosis.probes.inputs import (
    TokenView,
    build_token_view,
    probe_inputs,
    record_arguments,
    record_embedding_calls,
    record_executed_modules,
    take_rows,
    takes_mask,
    unify_padding,
)
from fastai_hf_callback.diagnosis.probes.labels import SampledRows, probe_labels
from fastai_hf_callback.diagnosis.probes.loss import probe_all_targets, probe_loss
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
from fastai_hf_callback.results.evidence import Evidence, History, HyperParams, MetricEvidence, Wiring
from fastai_hf_callback.utils.rng import preserve_rng_state

from .checks.failures import classify_exception

__all__ = ["AnyExamination", "FirstBatchEvidence", "LossNotReachedError", "format_error"]

FIT_STEPS, FIT_SECONDS = 12, 8.0


class LossNotReachedError(Exception):
    """A callback took the batch away before the loss was asked for."""


class FirstBatchEvidence(NamedTuple):
    """What a doctor learns from the first batch, and the modules that ran on it."""

    evidence: Evidence
    executed: List[Any]


class ProbedBatch(NamedTuple):
    """A batch, what reached the loss of it in eval mode, and what was seen on the way."""

    batch: Batch
    output: Any
    view: Optional[TokenView]
    arguments: List[Dict[str, Any]]
    executed: List[Any]


class AnyExamination:
    """One examination; lives inside ``preserve_everything``. Each fastai's own says how its learner is asked.

    Parameters
    ----------
    learn : Learner of either fastai
    batches : int
        How many are stepped on, and how many validation batches are read.
    """

    def __init__(self, learn: Any, batches: int):
        self.learn, self.n_batches = learn, batches
        self.loss_func: Callable[..., Any] = learn.loss_func
        self.evidence = Evidence()
        self.train: List[Batch] = []
        self.full_batches: List[Batch] = []
        self.probed: List[ProbedBatch] = []
        self.executed: List[Any] = []

    def run(self) -> Evidence:
        """Look at everything; what cannot be looked at is named, and the rest still is."""
        evidence = self.evidence
        evidence.wiring = self.wiring()
        full_batches = self.attempt("training batches", self.training_batches)
        if not full_batches:
            return evidence
        evidence.history, evidence.hyper = self.past()
        evidence.weights = probe_weights(self.learn.model, self.has_master_copies())
        self.full_batches, self.train = full_batches, [truncate_batch(b) for b in full_batches]
        if not self.prepare_callbacks():
            return evidence
        self._check_validation_path()
        if self.probe_in_eval_mode():
            self.attempt("outputs", self.probe_outputs_and_loss)
        self.attempt("targets", lambda: self._probe_targets(full_batches))
        self.attempt("metrics", self._probe_metrics)
        # Weights that hold no number make every step vain, and say so themselves.
        self.run_training_steps()
        if evidence.wiring.train_error is None:
            self.attempt("fitting one batch", self._fit_one_batch)
        return evidence

    def _check_validation_path(self) -> None:
        if not self.has_validation():
            return
        try:
            self.validation_loss(truncate_batch(self.validation_batches(1)[0]))
        except LossNotReachedError:
            pass
        except Exception as error:
            self.evidence.wiring.valid_error = classify_exception(error).cause
            self.evidence.wiring.valid_message = f"{type(error).__name__}: {error}"

    # -- outputs and inputs -----------------------------------------------------------------------------------

    def probe_in_eval_mode(self) -> bool:
        evidence = self.evidence
        try:
            self.probed = [self._probe_batch(batch) for batch in self.train]
        except LossNotReachedError as error:
            evidence.skipped.append(f"outputs ({error})")
            return False
        except Exception as error:
            if evidence.wiring.train_error is None:
                evidence.wiring.train_error, evidence.wiring.train_message = (
                    classify_exception(error).cause,
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
            output = self.logits(batch)
        return ProbedBatch(batch, output, build_token_view(calls, batch.xb), given, executed)

    def has_ids(self) -> bool:
        """Whether ids were seen on their way into a word embedding, in every batch."""
        return bool(self.probed) and all(one.view is not None for one in self.probed)

    @property
    def views(self) -> List[TokenView]:
        """The ids of the batches looked at, training batches first, where they were seen."""
        return [one.view for one in self.probed if one.view is not None]

    def _find_validation_padding(self) -> None:
        """Training batches sorted by length hold next to no padding; those of the validation set may."""
        if any(view.pad_token_id is not None for view in self.views) or not self.has_validation():
            return
        more = [self._probe_batch(truncate_batch(batch)) for batch in self.validation_batches(self.n_batches)]
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
        evidence.inputs.foreign_tokens = self.foreign_tokens(unified)
        encoder = self.encoder()
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
            evidence.loss = probe_loss(self.loss_func, logits, batch.yb)
            out.broadcasts = does_loss_broadcast(self.loss_func, logits, batch.yb)
            self.attempt("what each target costs", lambda: self._probe_all_targets(logits))
            evidence.examined.append("loss")
        out.changes_with_batch_mates = self.attempt(
            "answer to batch mates",
            lambda: measure_batch_sensitivity(self._make_logits_func(batch), inputs, outputs, out),
        )
        out.bounded, out.rows_sum_to_one = probe_output_bounds(
            self._make_logits_func(batch), inputs[0], out, self.learn.model
        )
        if self.has_ids():
            self._probe_words(training)
            out.changes_with_padding = self.attempt("answer to padding", self._probe_padding)

    def _probe_all_targets(self, logits: Tensor) -> None:
        targets = [b.yb for b in self.full_batches if isinstance(b.yb, Tensor) and b.yb.dim()]
        alike = len({t.shape[1:] for t in targets}) == 1
        if alike and logits.dim() and len(logits) == len(self.train[0].yb):
            probe_all_targets(self.evidence.loss, self.loss_func, logits, torch.cat(targets))

    def _probe_words(self, training: List[ProbedBatch]) -> None:
        evidence, out, first = self.evidence, self.evidence.outputs, training[0]
        if evidence.inputs.batch_has_other_ids or evidence.inputs.distinct_words <= 2:
            return
        logits_func = self._make_logits_func(first.batch)
        asked = ([one.batch.xb for one in training], [one.view for one in training], [one.output for one in training])
        out.changes_with_tokens = self.attempt(
            "answer to words", lambda: measure_word_sensitivity(logits_func, *asked, out)
        )
        if out.changes_with_tokens == 0:
            out.changes_with_tokens = self.attempt(
                "answer of other weights",
                lambda: measure_word_sensitivity_with_noise(
                    logits_func, first.batch.xb, first.view, self.learn.model, out
                ),
            )

    def _probe_padding(self) -> Optional[float]:
        padded = [one for one in self.probed if one.view.pad_token_id is not None]
        return measure_padding_sensitivity(
            self._make_logits_func(self.train[0]),
            [one.batch.xb for one in padded],
            [one.view for one in padded],
            [one.output for one in padded],
            self.evidence.outputs,
        )

    def _make_logits_func(self, batch: Batch) -> Callable[[Any], Tensor]:
        """From inputs to logits; the loop is given as many of `batch`'s targets as there are rows."""
        return lambda xb: self.logits(Batch(xb, take_rows(batch.yb, count_rows(xb))))

    # -- targets and metrics ----------------------------------------------------------------------------------

    def _probe_targets(self, full_batches: List[Batch]) -> None:
        ids_index = self._find_ids_index()
        if (
            count_rows(full_batches[0].xb) != count_rows(full_batches[0].yb)
            or ids_index is not None
            and is_per_token(full_batches[0].yb, list(tensors_in(full_batches[0].xb))[ids_index])
        ):
            return  # a target per token, flattened or not: neighbours are alike
        train = self.draw_rows(True, ids_index, self._pad_ids())
        valid = self.draw_rows(False, ids_index, self._pad_ids()) if self.has_validation() else None
        if train is None:
            return
        ordered = [b.yb.detach().cpu() for b in full_batches if isinstance(b.yb, Tensor)]
        self.evidence.labels = probe_labels(train, valid, ordered, self._pad_ids())
        self.evidence.examined.append("targets")

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
        if not self.learn.metrics or not self.has_validation():
            return
        batches = self.validation_batches(self.n_batches)
        outputs, targets = [self.logits(b) for b in batches], [b.yb for b in batches]
        if all(isinstance(t, Tensor) for t in outputs + targets):
            with preserve_rng_state():
                self.evidence.metrics = self.collect_metric_evidence(outputs, targets)
            self.evidence.examined.append("metrics")

    # -- steps ------------------------------------------------------------------------------------------------

    def _fit_one_batch(self) -> None:
        evidence = self.evidence
        parameters = [p for p in self.learn.model.parameters() if p.requires_grad]
        if evidence.loss is None or evidence.loss.first is None or not parameters:
            return
        if evidence.weights.half or evidence.weights.non_finite:
            return
        optimizer = torch.optim.Adam(parameters, lr=_choose_lr(parameters))
        values, until = [], time.perf_counter() + FIT_SECONDS
        for _ in range(FIT_STEPS + 1):
            output, target = self.training_output(self.train[0])
            loss = self.loss_func(output, *target)
            values.append(float(loss.detach().float()))
            if not loss.requires_grad or time.perf_counter() > until:
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if len(values) > 1:
            evidence.loss.before_fitting = values[0]
            evidence.loss.after_fitting = max(values[1:], key=lambda value: abs(value - values[0]))
            evidence.loss.fitting_steps = len(values) - 1
            evidence.examined.append("fitting one batch")

    def attempt(self, what: str, action: Callable[[], Any]) -> Any:
        """One part of the examination; where it cannot be made the others still are."""
        try:
            return action()
        except Exception as error:
            self.evidence.skipped.append(f"{what} ({format_error(error)[:160]})")
            return None

    # -- what each fastai answers in its own way --------------------------------------------------------------

    def wiring(self) -> Wiring:
        """How the loop and the callbacks are set up."""
        raise NotImplementedError

    def has_validation(self) -> bool:
        """Whether there are rows to validate on."""
        raise NotImplementedError

    def training_batches(self) -> List[Batch]:
        """As many whole batches as are wanted, from the training loader."""
        raise NotImplementedError

    def validation_batches(self, n: int) -> List[Batch]:
        """The first `n` whole batches of the validation set."""
        raise NotImplementedError

    def draw_rows(self, train: bool, ids_index: Optional[int], pad_ids: List[int]) -> Optional[SampledRows]:
        """Rows drawn evenly over a set."""
        raise NotImplementedError

    def past(self) -> Tuple[Optional[History], HyperParams]:
        """What earlier fits left."""
        raise NotImplementedError

    def has_master_copies(self) -> bool:
        """Whether half weights have full-precision copies that are stepped."""
        return False

    def prepare_callbacks(self) -> bool:
        """Copy the callbacks that take part; False where they cannot be used, with the reason in ``wiring``."""
        raise NotImplementedError

    def validation_loss(self, batch: Batch) -> float:
        """Of one batch, as ``validate`` computes it."""
        raise NotImplementedError

    def logits(self, batch: Batch) -> Any:
        """What reaches the loss in eval mode, through whatever stands in the loop's place."""
        raise NotImplementedError

    def training_output(self, batch: Batch) -> Tuple[Any, Tuple[Any, ...]]:
        """Output and targets as they reach the loss, with the graph, dropout switched off."""
        raise NotImplementedError

    def foreign_tokens(self, views: List[TokenView]) -> List[str]:
        """fastai's own special tokens in the texts, where the data brings a vocabulary."""
        return []

    def encoder(self) -> Optional[TextEncoder]:
        """What encoded the texts, where the data of ``text_data`` tell."""
        return None

    def collect_metric_evidence(self, outputs: List[Tensor], targets: List[Tensor]) -> List[MetricEvidence]:
        """The learner's metrics on real outputs and stand-ins."""
        raise NotImplementedError

    def run_training_steps(self) -> None:
        """Real steps through fastai's own loop, on copies."""
        raise NotImplementedError


def _choose_lr(parameters: List[Tensor]) -> float:
    """A rate for Adam at which a step moves the median matrix by a twentieth."""
    sizes = sorted(float(p.detach().float().pow(2).mean().sqrt()) for p in parameters if p.dim() > 1)
    return min(max(0.05 * (sizes[len(sizes) // 2] if sizes else 0.02), 1e-4), 1e-2)


def format_error(error: BaseException) -> str:
    """The exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
