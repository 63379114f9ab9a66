"""A live learner -> ``Evidence`` -> ``Diagnosis``, for both fastais; the learner stays unchanged."""

import time
from typing import Any, Callable, List, NamedTuple, Optional, Type

from torch import nn

from fastai_hf_callback.errors import InvalidInputError
from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.utils.distributed import unwrap_ddp

from .diagnosis import Diagnosis, build_diagnosis
from .examination import Examination
from .fix_trials import try_fixes
from .learner_adapter import LearnerAdapter, tell_doctor
from .probes.batches import Batch

__all__ = ["FirstBatchEvidence", "diagnose", "judge", "probe_first_batch", "require_learner"]


class FirstBatchEvidence(NamedTuple):
    """The evidence that ``Doctor`` takes from the first batch, and the modules that ran on it."""

    evidence: Evidence
    executed: List[nn.Module]


def diagnose(
    adapter: LearnerAdapter,
    batches: int = 4,
    add_more: Optional[Callable[[Evidence], None]] = None,
) -> Diagnosis:
    """Examine a learner, in half a minute or less, and say why its metrics do not move, or would not.

    Parameters
    ----------
    learn : Learner
        In any state: before a fit, after one, or after one that failed. Nothing of it is changed: weights, gradients,
        optimizer, random states, modes, callbacks and loaders stay what they were, so the next fit is bit for bit
        what it would have been.
    batches : int
        How many training batches (their first 16 rows, 8 of long texts through a large model) to take steps on,
        and how many validation batches to read.
    deep : bool
        Also find faults that nobody listed: plant a signal in copies of the learner's own batches and, if its own loop
        does not learn it, replace its parts until it does. The smallest set that had to be replaced is the finding.
    seconds : float
        How long that may take: two minutes at most by default.
    progress : callable, optional
        Called with what is being tried, the seconds used and those there are.

    Returns
    -------
    Diagnosis
        ``healthy`` where nothing worse than a note was found and every probe that applies to the learner was made. A
        learning rate is judged only after a fit has set one; fastai 2 forgets it at ``validate`` and ``get_preds``,
        ``HFCallback`` does not.

    Raises
    ------
    InvalidInputError
        Where `learn` is no Learner, or has no training batch.

    Notes
    -----
    A fix is offered to ``finding.apply(learn)`` only after a trial on copies: the fault is gone, a few steps and their
    validation run to the end, a loss or metric moves, and nothing that was frozen on purpose does. ``finding.tried``
    says what was seen. All trials together take half a minute at the most.

    Where ``Doctor`` watched the last fit, what it saw there and is not to be seen now is named, too, and puts the
    verdict in doubt; ``Doctor`` says of what was found here, in the next fit, that it is still so.

    Library callbacks that take no part in a batch (``SaveModelCallback``, ``CSVLogger``) are not called: they write
    files. The user's own are, on copies, and stopped where they would write. On fastai 2, callbacks that were
    passed to ``fit`` are not called either: the learner no longer has them.

    Examples
    --------
    >>> _ = learn.model.requires_grad_(False)
    >>> diagnosis = diagnose(learn)
    >>> diagnosis.healthy, diagnosis.causes
    (False, ['everything-frozen'])
    """
    evidence = _examine(adapter, batches)
    if add_more is not None:
        add_more(evidence)
    diagnosis = try_fixes(adapter, judge(adapter, evidence))
    tell_doctor(adapter.learn, diagnosis)
    return diagnosis


def judge(adapter: LearnerAdapter, evidence: Evidence) -> Diagnosis:
    """Build the diagnosis of `evidence`, with the fixes of the learner's fastai."""
    return build_diagnosis(evidence, adapter.fixes)


def require_learner(learn: Any, learner_class: Type[Any]) -> None:
    """Raise for anything but a Learner."""
    if not isinstance(learn, learner_class):
        raise InvalidInputError(f"{type(learn).__name__} was given; expected a fastai Learner: diagnose(learn).")


def probe_first_batch(adapter: LearnerAdapter, batch: Batch, rows: int = 4) -> FirstBatchEvidence:
    """Probe inputs, outputs and the loss on a few rows of one batch during a fit, without changing anything."""
    with adapter.preserve(copy_weights=adapter.has_own_callbacks()):
        adapter.learn.model = unwrap_ddp(adapter.learn.model)
        examination = Examination(adapter, 1, in_fit=True)
        evidence = examination.run_on(batch, rows)
    return FirstBatchEvidence(evidence, examination.executed)


def _examine(adapter: LearnerAdapter, batches: int) -> Evidence:
    if not adapter.has_rows(train=True):
        raise InvalidInputError(
            "The learner has no training rows, as one of load_learner; expected data to look at: "
            "Learner(text_data(...), model, ...)"
        )
    if batches < 1:
        raise InvalidInputError(f"batches={batches} was given; expected at least 1.")
    started = time.perf_counter()
    with adapter.preserve():
        adapter.seed(0)
        adapter.learn.model = unwrap_ddp(adapter.learn.model)  # sends nothing: the other processes do not take part
        evidence = Examination(adapter, batches).run()
    evidence.seconds = time.perf_counter() - started
    return evidence
