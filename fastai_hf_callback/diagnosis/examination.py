"""One examination of a live learner of either fastai; lives inside ``everything_put_back``.

Order: eval mode on the weights as they are, the loss and the metrics on stand-ins, the targets, then real steps
through fastai's own loop on copies, then a fresh optimizer on one batch. ``fastai1/examination.py`` and
``fastai2/examination.py`` say how a learner is asked.
"""
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from fastai_hf_callback.model.broadcast import broadcasts
from fastai_hf_callback.results.evidence import Evidence, History, Hyper, MetricSeen, Wiring
from .failures import explained
from fastai_hf_callback.diagnosis.probes.sensitivity import (
    answer_to_batch_mates,
    answer_to_padding,
    answer_to_weights,
    answer_to_words,
    answer_with_other_weights,
)
from fastai_hf_callback.diagnosis.probes.batches import Batch, is_per_token, rows_of, shrunk
from fastai_hf_callback.diagnosis.probes.inputs import (
    TokenView,
    agreed_on_padding,
    arguments_watched,
    embeddings_watched,
    executed_watched,
    first_rows,
    look_at_inputs,
    takes_mask,
    view_tokens,
)
from fastai_hf_callback.diagnosis.probes.labels import Sampled, look_at_labels
from fastai_hf_callback.diagnosis.probes.loss import ask_about_all_targets, loss_shape
from fastai_hf_callback.diagnosis.probes.outputs import look_at_outputs
from fastai_hf_callback.diagnosis.probes.vocabulary import see_with_tokenizer
from fastai_hf_callback.diagnosis.probes.weights import look_at_weights
from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.utils.rng import rng_preserved
from fastai_hf_callback.data.encoding.encoder import TextEncoder

__all__ = ["AnyExamination", "FirstLook", "NothingReachedTheLoss", "reported"]

FIT_STEPS, FIT_SECONDS = 12, 8.0


class NothingReachedTheLoss(Exception):
    """A callback took the batch away before the loss was asked for."""


class FirstLook(NamedTuple):
    """What a doctor learns from the first batch, and the modules that ran on it."""

    seen: Evidence
    ran: List[Any]


class Looked(NamedTuple):
    """A batch, what reached the loss of it in eval mode, and what was seen on the way."""

    batch: Batch
    output: Any
    view: Optional[TokenView]
    arguments: List[Dict[str, Any]]
    ran: List[Any]


class AnyExamination:
    """One examination; lives inside ``everything_put_back``. Each fastai's own says how its learner is asked.

    Parameters
    ----------
    learn : Learner of either fastai
    batches : int
        How many are stepped on, and how many validation batches are read.
    """

    def __init__(self, learn: Any, batches: int):
        self.learn, self.wanted = learn, batches
        self.loss_func: Callable[..., Any] = learn.loss_func
        self.seen = Evidence()
        self.train: List[Batch] = []
        self.whole: List[Batch] = []
        self.looked: List[Looked] = []
        self.ran: List[Any] = []

    def run(self) -> Evidence:
        """Look at everything; what cannot be looked at is named, and the rest still is."""
        seen = self.seen
        seen.wiring = self.wiring()
        whole = self.attempt("training batches", self.training_batches)
        if not whole:
            return seen
        seen.history, seen.hyper = self.past()
        seen.weights = look_at_weights(self.learn.model, self.has_master_copies())
        self.whole, self.train = whole, [shrunk(b) for b in whole]
        if not self.prepare_callbacks():
            return seen
        self._watch_validation()
        if self.look_in_eval_mode():
            self.attempt("outputs", self.look_closer)
        self.attempt("targets", lambda: self._look_at_targets(whole))
        self.attempt("metrics", self._look_at_metrics)
        # Weights that hold no number make every step vain, and say so themselves.
        self.watch_steps()
        if seen.wiring.train_error is None:
            self.attempt("fitting one batch", self._fit_one_batch)
        return seen

    def _watch_validation(self) -> None:
        if not self.has_validation():
            return
        try:
            self.validation_loss(shrunk(self.validation_batches(1)[0]))
        except NothingReachedTheLoss:
            pass
        except Exception as error:
            self.seen.wiring.valid_error = explained(error).cause
            self.seen.wiring.valid_said = f"{type(error).__name__}: {error}"

    # -- outputs and inputs -----------------------------------------------------------------------------------

    def look_in_eval_mode(self) -> bool:
        seen = self.seen
        try:
            self.looked = [self._look(batch) for batch in self.train]
        except NothingReachedTheLoss as error:
            seen.not_looked_at.append(f"outputs ({error})")
            return False
        except Exception as error:
            if seen.wiring.train_error is None:
                seen.wiring.train_error, seen.wiring.train_said = explained(error).cause, reported(error)
            return False
        self.ran = self.looked[-1].ran
        if self.ids_seen():
            self.attempt("padding of validation batches", self._look_for_padding_in_validation)
            self._look_at_inputs()
        return isinstance(self.looked[0].output, Tensor)

    def _look(self, batch: Batch) -> Looked:
        model = self.learn.model
        with embeddings_watched(model) as calls, executed_watched(model) as ran, arguments_watched(model) as given:
            output = self.logits(batch)
        return Looked(batch, output, view_tokens(calls, batch.xb), given, ran)

    def ids_seen(self) -> bool:
        """Whether ids were seen on their way into a word embedding, in every batch."""
        return bool(self.looked) and all(one.view is not None for one in self.looked)

    @property
    def views(self) -> List[TokenView]:
        """The ids of the batches looked at, training batches first, where they were seen."""
        return [one.view for one in self.looked if one.view is not None]

    def _look_for_padding_in_validation(self) -> None:
        """Training batches sorted by length hold next to no padding; those of the validation set may."""
        if any(view.pad_id is not None for view in self.views) or not self.has_validation():
            return
        more = [self._look(shrunk(batch)) for batch in self.validation_batches(self.wanted)]
        self.looked += [one for one in more if one.view is not None and one.view.pad_id is not None]

    def _look_at_inputs(self) -> None:
        seen, model = self.seen, self.learn.model
        agreed = agreed_on_padding(self.views)
        self.looked = [one._replace(view=view) for one, view in zip(self.looked, agreed)]
        config = next((m.config for m in model.modules() if getattr(m, "config", None) is not None), None)
        seen.inputs = look_at_inputs(agreed, [one.batch.xb for one in self.looked],
                                     [one.arguments for one in self.looked], config)
        seen.inputs.takes_mask = takes_mask(model)
        seen.place_of_ids = self._place_of_ids()
        seen.inputs.foreign_tokens = self.foreign_tokens(agreed)
        encoder = self.encoder()
        if encoder is not None:
            see_with_tokenizer(seen.inputs, agreed, encoder.tokenizer, encoder.max_len)
        seen.looked_at.append("inputs")

    def look_closer(self) -> None:
        seen, batch, logits = self.seen, self.train[0], self.looked[0].output
        training = self.looked[:len(self.train)]
        outputs, inputs = [one.output for one in training], [one.batch.xb for one in training]
        seen.outputs = out = look_at_outputs(outputs, [b.yb for b in self.train], self.learn.model)
        seen.looked_at.append("outputs")
        if isinstance(batch.yb, Tensor):
            seen.loss = loss_shape(self.loss_func, logits, batch.yb)
            out.broadcasts = broadcasts(self.loss_func, logits, batch.yb)
            self.attempt("what each target costs", lambda: self._ask_about_all_targets(logits))
            seen.looked_at.append("loss")
        out.changes_with_batch_mates = self.attempt(
            "answer to batch mates", lambda: answer_to_batch_mates(self._logits_of(batch), inputs, outputs, out))
        out.bounded, out.rows_sum_to_one = answer_to_weights(self._logits_of(batch), inputs[0], out, self.learn.model)
        if self.ids_seen():
            self._ask_about_words(training)
            out.changes_with_padding = self.attempt("answer to padding", self._ask_about_padding)

    def _ask_about_all_targets(self, logits: Tensor) -> None:
        targets = [b.yb for b in self.whole if isinstance(b.yb, Tensor) and b.yb.dim()]
        alike = len({t.shape[1:] for t in targets}) == 1
        if alike and logits.dim() and len(logits) == len(self.train[0].yb):
            ask_about_all_targets(self.seen.loss, self.loss_func, logits, torch.cat(targets))

    def _ask_about_words(self, training: List[Looked]) -> None:
        seen, out, first = self.seen, self.seen.outputs, training[0]
        if seen.inputs.batch_has_other_ids or seen.inputs.distinct_words <= 2:
            return
        logits_of = self._logits_of(first.batch)
        asked = ([one.batch.xb for one in training], [one.view for one in training], [one.output for one in training])
        out.answers_to_tokens = self.attempt("answer to words", lambda: answer_to_words(logits_of, *asked, out))
        if out.answers_to_tokens == 0:
            out.answers_to_tokens = self.attempt("answer of other weights", lambda: answer_with_other_weights(
                logits_of, first.batch.xb, first.view, self.learn.model, out))

    def _ask_about_padding(self) -> Optional[float]:
        padded = [one for one in self.looked if one.view.pad_id is not None]
        return answer_to_padding(self._logits_of(self.train[0]), [one.batch.xb for one in padded],
                                 [one.view for one in padded], [one.output for one in padded], self.seen.outputs)

    def _logits_of(self, batch: Batch) -> Callable[[Any], Tensor]:
        """From inputs to logits; the loop is given as many of `batch`'s targets as there are rows."""
        return lambda xb: self.logits(Batch(xb, first_rows(batch.yb, rows_of(xb))))

    # -- targets and metrics ----------------------------------------------------------------------------------

    def _look_at_targets(self, whole: List[Batch]) -> None:
        place = self._place_of_ids()
        if rows_of(whole[0].xb) != rows_of(whole[0].yb) or place is not None and \
                is_per_token(whole[0].yb, list(tensors_in(whole[0].xb))[place]):
            return  # a target per token, flattened or not: neighbours are alike
        train = self.rows_drawn(True, place, self._pads())
        valid = self.rows_drawn(False, place, self._pads()) if self.has_validation() else None
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
        if not self.learn.metrics or not self.has_validation():
            return
        batches = self.validation_batches(self.wanted)
        outputs, targets = [self.logits(b) for b in batches], [b.yb for b in batches]
        if all(isinstance(t, Tensor) for t in outputs + targets):
            with rng_preserved():
                self.seen.metrics = self.metrics_seen(outputs, targets)
            self.seen.looked_at.append("metrics")

    # -- steps ------------------------------------------------------------------------------------------------

    def _fit_one_batch(self) -> None:
        seen = self.seen
        parameters = [p for p in self.learn.model.parameters() if p.requires_grad]
        if seen.loss is None or seen.loss.first is None or not parameters:
            return
        if seen.weights.half or seen.weights.non_finite:
            return
        optimizer = torch.optim.Adam(parameters, lr=_rate_for(parameters))
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
            seen.loss.before_fitting = values[0]
            seen.loss.fitted = max(values[1:], key=lambda value: abs(value - values[0]))
            seen.loss.fitted_steps = len(values) - 1
            seen.looked_at.append("fitting one batch")

    def attempt(self, what: str, look: Callable[[], Any]) -> Any:
        """One part of the examination; where it cannot be made the others still are."""
        try:
            return look()
        except Exception as error:
            self.seen.not_looked_at.append(f"{what} ({reported(error)[:160]})")
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

    def rows_drawn(self, train: bool, place: Optional[int], pads: List[int]) -> Optional[Sampled]:
        """Rows drawn evenly over a set."""
        raise NotImplementedError

    def past(self) -> Tuple[Optional[History], Hyper]:
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

    def metrics_seen(self, outputs: List[Tensor], targets: List[Tensor]) -> List[MetricSeen]:
        """The learner's metrics on real outputs and stand-ins."""
        raise NotImplementedError

    def watch_steps(self) -> None:
        """Real steps through fastai's own loop, on copies."""
        raise NotImplementedError


def _rate_for(parameters: List[Tensor]) -> float:
    """A rate for Adam at which a step moves the median matrix by a twentieth."""
    sizes = sorted(float(p.detach().float().pow(2).mean().sqrt()) for p in parameters if p.dim() > 1)
    return min(max(0.05 * (sizes[len(sizes) // 2] if sizes else 0.02), 1e-4), 1e-2)


def reported(error: BaseException) -> str:
    """The exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
