"""A live learner -> ``Evidence`` -> ``Diagnosis``, and nothing changed afterwards; on either fastai."""

import time
from typing import Any, List, NamedTuple, Type

from torch import nn

from fastai_hf_callback.errors import InvalidInputError
from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.utils.distributed import unwrap_ddp

from .diagnosis import Diagnosis, build_diagnosis
from .examination import Examination
from .learner_adapter import LearnerAdapter
from .probes.batches import Batch

__all__ = ["FirstBatchEvidence", "diagnose", "judge", "probe_first_batch", "require_learner"]


class FirstBatchEvidence(NamedTuple):
    """What a doctor learns from the first batch, and the modules that ran on it."""

    evidence: Evidence
    executed: List[nn.Module]


def diagnose(adapter: LearnerAdapter, batches: int = 4) -> Diagnosis:
    """Examine a learner, in half a minute or less, and say why its metrics do not move, or would not.

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
        in force; fastai 2 forgets it at ``validate`` and ``get_preds``.

    Raises
    ------
    InvalidInputError
        Where `learn` is no Learner, or has no training batch.

    Notes
    -----
    Callbacks that take no part in a batch (``SaveModelCallback``, ``CSVLogger``) are not called: they write files. Nor
    are, on fastai 2, callbacks that were given to ``fit``: they have left the learner.

    Examples
    --------
    >>> _ = learn.model.requires_grad_(False)
    >>> diagnosis = diagnose(learn)
    >>> diagnosis.healthy, diagnosis.causes
    (False, ['everything-frozen'])
    """
    return judge(adapter, _examine(adapter, batches))


def judge(adapter: LearnerAdapter, evidence: Evidence) -> Diagnosis:
    """What was seen, with the fixes of the learner's fastai."""
    return build_diagnosis(evidence, adapter.fixes)


def require_learner(learn: Any, learner_class: Type[Any]) -> None:
    """Refuse what is no Learner."""
    if not isinstance(learn, learner_class):
        raise InvalidInputError(f"{type(learn).__name__} was given; expected a fastai Learner: diagnose(learn).")


def probe_first_batch(adapter: LearnerAdapter, batch: Batch, rows: int = 4) -> FirstBatchEvidence:
    """Look at inputs, outputs and the loss on a few rows of one batch in the middle of a fit; nothing is changed."""
    with adapter.preserve():
        adapter.learn.model = unwrap_ddp(adapter.learn.model)
        examination = Examination(adapter, 1)
        evidence = examination.run_on(batch, rows)
    return FirstBatchEvidence(evidence, examination.executed)


def _examine(adapter: LearnerAdapter, batches: int) -> Evidence:
    if not adapter.has_rows(train=True):
        raise InvalidInputError(
            "The learner has no training rows, as one of load_learner; expected data to look at: "
            "Learner(text_data(...), model, ...)"
        )
    if batches < 1 or not adapter.optimizer.count_batches():
        raise InvalidInputError(
            f"batches={batches} and a training loader of {adapter.optimizer.count_batches()} batches were given; "
            f"expected at least one of each."
        )
    started = time.perf_counter()
    with adapter.preserve():
        adapter.seed(0)
        adapter.learn.model = unwrap_ddp(adapter.learn.model)  # sends nothing: other processes may not be asked
        evidence = Examination(adapter, batches).run()
    evidence.seconds = time.perf_counter() - started
    return evidence
