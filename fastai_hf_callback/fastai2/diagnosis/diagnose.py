"""``diagnose`` for fastai 2: a live learner -> ``Evidence`` -> ``Diagnosis``, and nothing changed afterwards."""

import time

from fastai.learner import Learner

from fastai_hf_callback.diagnosis.checks.failures import classify_exception
from fastai_hf_callback.diagnosis.diagnosis import Diagnosis, build_diagnosis
from fastai_hf_callback.diagnosis.examination import FirstBatchEvidence, LossNotReachedError, format_error
from fastai_hf_callback.diagnosis.probes.batches import Batch, truncate_batch
from fastai_hf_callback.errors import InvalidInputError
from fastai_hf_callback.fastai2.compat.learner_state import seed_loaders
from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.utils.distributed import unwrap_ddp
from fastai_hf_callback.utils.rng import seed_everything

from .examination import Examination
from .fixes import FASTAI2_PHRASES, find_fix
from .snapshot import preserve_everything

__all__ = ["diagnose", "examine", "probe_first_batch"]


def diagnose(learn: Learner, batches: int = 4) -> Diagnosis:
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
        in force, and only until ``validate`` or ``get_preds``, at which fastai's Recorder forgets it.

    Raises
    ------
    InvalidInputError
        Where `learn` is no Learner, or has no training batch.

    Notes
    -----
    Callbacks that take no part in a batch (``SaveModelCallback``, ``CSVLogger``) are not called: they write files. Nor
    are callbacks that were given to ``fit``: they have left the learner.
    """
    return build_diagnosis(examine(learn, batches), find_fix, FASTAI2_PHRASES)


def examine(learn: Learner, batches: int = 4) -> Evidence:
    """The evidence alone; parameters as in :func:`diagnose`."""
    if not isinstance(learn, Learner):
        raise InvalidInputError(f"{type(learn).__name__} was given; expected a fastai Learner: diagnose(learn).")
    if not getattr(learn.dls, "loaders", None) or not len(learn.dls.train.dataset):
        raise InvalidInputError(
            "The learner has no training rows, as one of load_learner; expected data to look at: give "
            "the learner its data, learn.dls = text_data(...)"
        )
    if batches < 1 or not len(learn.dls.train):
        raise InvalidInputError(
            f"batches={batches} and a training loader of {len(learn.dls.train)} batches were given; "
            f"expected at least one of each."
        )
    started = time.perf_counter()
    with preserve_everything(learn):
        seed_everything(0)
        seed_loaders(learn, 0)
        learn.model = unwrap_ddp(learn.model)  # sends nothing: other processes may not be asked
        evidence = Examination(learn, batches).run()
    evidence.seconds = time.perf_counter() - started
    return evidence


def probe_first_batch(learn: Learner, batch: Batch, rows: int = 4) -> FirstBatchEvidence:
    """Eval mode on a few rows of one batch: inputs, outputs and the loss, for ``Doctor``; nothing changed.

    Parameters
    ----------
    learn : Learner
        In the middle of a fit.
    batch : Batch
    rows : int
        How many rows are read.
    """
    with preserve_everything(learn):
        learn.model = unwrap_ddp(learn.model)
        look = Examination(learn, 1)
        evidence = look.evidence
        evidence.wiring = look.wiring()
        look.full_batches, look.train = [batch], [truncate_batch(batch, rows)]
        look.prepare_callbacks()
        try:
            look.validation_loss(look.train[0])
        except LossNotReachedError:
            pass
        except Exception as error:
            evidence.wiring.valid_error, evidence.wiring.valid_message = (
                classify_exception(error).cause,
                format_error(error),
            )
        if look.probe_in_eval_mode():
            look.attempt("outputs", look.probe_outputs_and_loss)
        look.replay_one_step()
        evidence.wiring.train_error = evidence.wiring.train_message = None  # the fit that is running will say so itself
    return FirstBatchEvidence(evidence, look.executed)
