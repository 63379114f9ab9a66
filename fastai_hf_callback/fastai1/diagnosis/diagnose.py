"""``diagnose`` for fastai 1: a live learner -> ``Evidence`` -> ``Diagnosis``, and nothing changed afterwards."""
import time
from typing import Any, List

from fastai.basic_train import Learner
from fastai.callback import Callback

from fastai_hf_callback.diagnosis.diagnosis import Diagnosis, diagnosed
from fastai_hf_callback.errors import UnusableInput
from fastai_hf_callback.results.evidence import Evidence, Wiring
from fastai_hf_callback.diagnosis.examination import FirstLook, reported
from fastai_hf_callback.diagnosis.failures import explained
from fastai_hf_callback.diagnosis.probes.batches import Batch, shrunk
from fastai_hf_callback.utils.distributed import bare
from fastai_hf_callback.utils.rng import seed_everything
from fastai_hf_callback.fastai1.callback import HFCallback
from .fixes import cure_for
from .examination import Examination
from fastai_hf_callback.fastai1.comparison.patched_loop import active_patch
from .callback_replay import quietly_copied, takes_part
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
        in force.

    Raises
    ------
    UnusableInput
        Where `learn` is no Learner, or has no training batch.

    Notes
    -----
    Callbacks that take no part in a batch (``SaveModelCallback``, ``CSVLogger``) are not called: they write files.
    """
    return diagnosed(examine(learn, batches), cure_for)


def examine(learn: Learner, batches: int = 4) -> Evidence:
    """The evidence alone; parameters as in :func:`diagnose`."""
    if not isinstance(learn, Learner):
        raise UnusableInput(f"{type(learn).__name__} was given; expected a fastai Learner: diagnose(learn).")
    if batches < 1 or not len(learn.data.train_dl):
        raise UnusableInput(f"batches={batches} and a training loader of {len(learn.data.train_dl)} batches were "
                            f"given; expected at least one of each.")
    if not len(getattr(learn.data.train_ds, "items", [0])):
        raise UnusableInput("The learner has no training rows, as one of load_learner; expected data to look at: give "
                            "the learner its data, learn.data = text_data(...)")
    started = time.perf_counter()
    with everything_put_back(learn):
        seed_everything(0)
        learn.model = bare(learn.model)  # sends nothing: other processes may not be asked
        seen = Examination(learn, batches).run()
    seen.seconds = time.perf_counter() - started
    return seen


def first_look(learn: Learner, xb: Any, yb: Any, others: List[Callback], rows: int = 4) -> FirstLook:
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
    with everything_put_back(learn):
        learn.model = bare(learn.model)
        look = Examination(learn, 1)
        seen = look.seen
        seen.wiring = Wiring(patch=active_patch(),
                             hf_callback=any(isinstance(cb, HFCallback) for cb in learn.callbacks))
        look.whole, look.train = [Batch(xb, yb)], [shrunk(Batch(xb, yb), rows)]
        look.always = [quietly_copied(cb, learn) for cb in learn.callbacks if takes_part(cb)]
        look.fitting = look.always + [quietly_copied(cb, learn) for cb in others if takes_part(cb)]
        try:
            float(look.loss_batch(look.train[0], learn.loss_func, look.always))
        except Exception as error:
            seen.wiring.valid_error, seen.wiring.valid_said = explained(error).cause, reported(error)
            seen.wiring.only_in_callback_fns = [type(cb).__name__ for cb in others
                                                if type(cb).on_loss_begin is not Callback.on_loss_begin] \
                or ["A callback given to fit"]
        if look.look_in_eval_mode():
            look.attempt("outputs", look.look_closer)
        seen.wiring.train_error = seen.wiring.train_said = None  # the fit that is running will say so itself
    return FirstLook(seen, look.ran)
