"""``diagnose`` for fastai 1: a live learner -> ``Evidence`` -> ``Diagnosis``, and nothing changed afterwards."""

import time
from typing import Any, List

from fastai.basic_train import Learner
from fastai.callback import Callback

from fastai_hf_callback.diagnosis.checks.failures import classify_exception
from fastai_hf_callback.diagnosis.diagnosis import Diagnosis, build_diagnosis
from fastai_hf_callback.diagnosis.examination import FirstBatchEvidence, format_error
from fastai_hf_callback.diagnosis.probes.batches import Batch, truncate_batch
from fastai_hf_callback.errors import InvalidInputError
from fastai_hf_callback.fastai1.callback import HFCallback
from fastai_hf_callback.fastai1.compat.training_loop import find_active_patch
from fastai_hf_callback.results.evidence import Evidence, Wiring
from fastai_hf_callback.utils.distributed import unwrap_ddp
from fastai_hf_callback.utils.rng import seed_everything

from .callback_replay import copy_without_checks, is_batch_callback
from .examination import Examination
from .fixes import find_fix
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
        in force.

    Raises
    ------
    InvalidInputError
        Where `learn` is no Learner, or has no training batch.

    Notes
    -----
    Callbacks that take no part in a batch (``SaveModelCallback``, ``CSVLogger``) are not called: they write files.
    """
    return build_diagnosis(examine(learn, batches), find_fix)


def examine(learn: Learner, batches: int = 4) -> Evidence:
    """The evidence alone; parameters as in :func:`diagnose`."""
    if not isinstance(learn, Learner):
        raise InvalidInputError(f"{type(learn).__name__} was given; expected a fastai Learner: diagnose(learn).")
    if batches < 1 or not len(learn.data.train_dl):
        raise InvalidInputError(
            f"batches={batches} and a training loader of {len(learn.data.train_dl)} batches were "
            f"given; expected at least one of each."
        )
    if not len(getattr(learn.data.train_ds, "items", [0])):
        raise InvalidInputError(
            "The learner has no training rows, as one of load_learner; expected data to look at: give "
            "the learner its data, learn.data = text_data(...)"
        )
    started = time.perf_counter()
    with preserve_everything(learn):
        seed_everything(0)
        learn.model = unwrap_ddp(learn.model)  # sends nothing: other processes may not be asked
        evidence = Examination(learn, batches).run()
    evidence.seconds = time.perf_counter() - started
    return evidence


def probe_first_batch(learn: Learner, xb: Any, yb: Any, others: List[Callback], rows: int = 4) -> FirstBatchEvidence:
    """Eval mode on a few rows of one batch: inputs, outputs and the loss, for ``Doctor``; nothing changed.

    Parameters
    ----------
    learn : Learner
    xb, yb : any
        The batch, as the loader gave it.
    others : list of Callback
        Those of this fit that are not among ``learn.callbacks``.
    rows : int
        How many rows are read.
    """
    with preserve_everything(learn):
        learn.model = unwrap_ddp(learn.model)
        look = Examination(learn, 1)
        evidence = look.evidence
        evidence.wiring = Wiring(
            patch=find_active_patch(), hf_callback=any(isinstance(cb, HFCallback) for cb in learn.callbacks)
        )
        look.full_batches, look.train = [Batch(xb, yb)], [truncate_batch(Batch(xb, yb), rows)]
        look.learner_callbacks = [copy_without_checks(cb, learn) for cb in learn.callbacks if is_batch_callback(cb)]
        look.fit_callbacks = look.learner_callbacks + [
            copy_without_checks(cb, learn) for cb in others if is_batch_callback(cb)
        ]
        try:
            float(look.loss_batch(look.train[0], learn.loss_func, look.learner_callbacks))
        except Exception as error:
            evidence.wiring.valid_error, evidence.wiring.valid_message = (
                classify_exception(error).cause,
                format_error(error),
            )
            evidence.wiring.only_in_callback_fns = [
                type(cb).__name__ for cb in others if type(cb).on_loss_begin is not Callback.on_loss_begin
            ] or ["A callback given to fit"]
        if look.probe_in_eval_mode():
            look.attempt("outputs", look.probe_outputs_and_loss)
        evidence.wiring.train_error = evidence.wiring.train_message = None  # the fit that is running will say so itself
    return FirstBatchEvidence(evidence, look.executed)
