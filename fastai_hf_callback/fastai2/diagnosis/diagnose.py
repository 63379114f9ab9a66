"""``diagnose`` for fastai 2: a live learner -> ``Evidence`` -> ``Diagnosis``, and nothing changed afterwards."""
import time

from fastai.learner import Learner

from fastai_hf_callback.diagnosis.diagnosis import Diagnosis, diagnosed
from fastai_hf_callback.errors import UnusableInput
from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.diagnosis.examination import FirstLook, NothingReachedTheLoss, reported
from fastai_hf_callback.diagnosis.failures import explained
from fastai_hf_callback.diagnosis.probes.batches import Batch, shrunk
from fastai_hf_callback.utils.distributed import bare
from fastai_hf_callback.utils.rng import seed_everything
from .fixes import PHRASES, cure_for
from .examination import Examination
from fastai_hf_callback.fastai2.compat.learner_state import seed_loaders
from .snapshot import everything_put_back

__all__ = ["diagnose", "examine", "first_look"]


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
    UnusableInput
        Where `learn` is no Learner, or has no training batch.

    Notes
    -----
    Callbacks that take no part in a batch (``SaveModelCallback``, ``CSVLogger``) are not called: they write files. Nor
    are callbacks that were given to ``fit``: they have left the learner.
    """
    return diagnosed(examine(learn, batches), cure_for, PHRASES)


def examine(learn: Learner, batches: int = 4) -> Evidence:
    """The evidence alone; parameters as in :func:`diagnose`."""
    if not isinstance(learn, Learner):
        raise UnusableInput(f"{type(learn).__name__} was given; expected a fastai Learner: diagnose(learn).")
    if not getattr(learn.dls, "loaders", None) or not len(learn.dls.train.dataset):
        raise UnusableInput("The learner has no training rows, as one of load_learner; expected data to look at: give "
                            "the learner its data, learn.dls = text_data(...)")
    if batches < 1 or not len(learn.dls.train):
        raise UnusableInput(f"batches={batches} and a training loader of {len(learn.dls.train)} batches were given; "
                            f"expected at least one of each.")
    started = time.perf_counter()
    with everything_put_back(learn):
        seed_everything(0)
        seed_loaders(learn, 0)
        learn.model = bare(learn.model)  # sends nothing: other processes may not be asked
        seen = Examination(learn, batches).run()
    seen.seconds = time.perf_counter() - started
    return seen


def first_look(learn: Learner, batch: Batch, rows: int = 4) -> FirstLook:
    """Eval mode on a few rows of one batch: inputs, outputs and the loss, for ``Doctor``; nothing changed.

    Parameters
    ----------
    learn : Learner
        In the middle of a fit.
    batch : Batch
    rows : int
        How many rows are read.
    """
    with everything_put_back(learn):
        learn.model = bare(learn.model)
        look = Examination(learn, 1)
        seen = look.seen
        seen.wiring = look.wiring()
        look.whole, look.train = [batch], [shrunk(batch, rows)]
        look.prepare_callbacks()
        try:
            look.validation_loss(look.train[0])
        except NothingReachedTheLoss:
            pass
        except Exception as error:
            seen.wiring.valid_error, seen.wiring.valid_said = explained(error).cause, reported(error)
        if look.look_in_eval_mode():
            look.attempt("outputs", look.look_closer)
        look.spy_on_a_step()
        seen.wiring.train_error = seen.wiring.train_said = None  # the fit that is running will say so itself
    return FirstLook(seen, look.ran)
