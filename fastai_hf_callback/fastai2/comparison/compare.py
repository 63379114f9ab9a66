"""``compare`` on fastai 2: a factory and a fit -> a ``Trace`` per arm -> ``Comparison``."""

import tempfile
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Sequence, Union

import fastai.callback.schedule  # noqa: F401  fit_one_cycle, lr_find and fine_tune are on Learner once this is imported
from fastai.learner import Learner

from fastai_hf_callback.comparison.comparison import Comparison
from fastai_hf_callback.comparison.runner import (
    ARMS,
    build_learner,
    compute_weight_digests,
    detach_output,
    get_patched_loop_element,
    redirect_paths,
    run_arms,
    validate_arms,
)
from fastai_hf_callback.fastai2.callback import HFCallback
from fastai_hf_callback.fastai2.compat.learner_state import preserve_learner, seed_loaders
from fastai_hf_callback.fastai2.compat.no_progress import no_progress
from fastai_hf_callback.fastai2.compat.training_loop import raise_if_patched
from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.results.comparison import check_same_weights
from fastai_hf_callback.results.trace import Trace, digest
from fastai_hf_callback.utils.distributed import require_single_process
from fastai_hf_callback.utils.progress import Progress
from fastai_hf_callback.utils.rng import preserve_rng_state, seed_everything

from .patched_loop import patched_loop
from .recorder import TraceRecorder, base_rates, constant_prediction_scores, evaluate

__all__ = ["compare", "ARMS"]


def compare(
    make_learner: Callable[[], Learner],
    fit: Optional[Callable[[Learner], Any]] = None,
    seed: int = 42,
    arms: Sequence[str] = ARMS,
    progress: Union[bool, Progress] = True,
) -> Comparison:
    """Run the same training through the callback, the patched loop and a broken arm, and compare.

    Parameters
    ----------
    make_learner : callable
        Makes a new ``Learner`` each time, with a new model; the data may be shared. It may hold ``HFCallback``
        already, whose `element` then holds for every arm.
    fit : callable, optional
        Called with the learner; by default two epochs of ``fit_one_cycle``. What it returns, such as
        ``learn.get_preds()``, is compared too.
    seed : int
        Python's, numpy's and torch's random states are reset to it before each arm and put back at the end; so are
        those of fastai's loaders.
    arms : sequence of str
        Of ``callback`` (always run), ``patched`` and ``broken``. The broken arm detaches the output and
        makes it require grad: it must differ, or the comparison proves nothing.
    progress : bool or callable
        By default a bar per arm in a terminal or notebook; a callable is called as
        ``progress(arm, steps_done, steps_expected)``.

    Returns
    -------
    Comparison
        ``.check()`` raises unless the arms are identical and moved.

    Raises
    ------
    ComparisonError
        When `make_learner` or `arms` cannot be used, or the arms do not begin alike.
    PatchError
        When fastai's loop is patched already: the callback arm would not be fastai's own.

    Notes
    -----
    The learners' ``path`` and ``model_dir`` are a temporary folder meanwhile, so that no arm overwrites
    a file of yours. Afterwards a learner has the attributes that it had, its model what it learned. On a GPU
    deterministic algorithms are switched on, and back afterwards.

    Examples
    --------
    >>> comparison = compare(make_learner, fit=lambda learn: learn.fit(1, 1e-3), progress=False).check()
    >>> comparison.identical, comparison.broken_arm_differs
    (True, True)
    """
    require_single_process("compare")
    arms = validate_arms(arms)
    raise_if_patched()
    return run_arms(partial(_run_arm, make_learner, fit or _fit_two_epochs, seed), arms, progress)


def _fit_two_epochs(learn: Learner) -> None:
    learn.fit_one_cycle(2)


def _run_arm(make_learner, fit, seed: int, arm: str, progress: Optional[Progress], earlier: List[Trace]) -> Trace:
    seed_everything(seed)
    learn = build_learner(make_learner, Learner, arm)
    trace = Trace(arm, initial_weights=compute_weight_digests(learn.model))
    if earlier:
        check_same_weights(earlier[0], trace)
    on_step = None if progress is None else lambda done, expected: progress(arm, done, expected)
    recorder = TraceRecorder(trace, on_step)
    with ExitStack() as stack:
        stack.enter_context(_use_temporary_folder(learn))
        stack.enter_context(no_progress(learn))
        stack.enter_context(_install_arm(arm, learn))
        before = evaluate(learn)
        trace.before = before and before.epoch
        with learn.added_cbs(recorder):
            seed_everything(seed)
            seed_loaders(learn, seed)
            trace.returned = digest(fit(learn))
        _record_final_state(learn, trace, recorder.n_train_targets)
    return trace


def _record_final_state(learn: Learner, trace: Trace, n_train_targets: int) -> None:
    trace.final_weights = compute_weight_digests(learn.model)
    trace.n_train_targets = n_train_targets
    after = evaluate(learn)
    if after is None:
        return
    trace.predictions = digest(list(tensors_in(after.outputs)))
    trace.n_valid_targets = sum(t.numel() for t in tensors_in(after.targets))
    with preserve_rng_state():
        trace.base_rates = base_rates(learn, after)
        trace.constant_prediction_scores = constant_prediction_scores(learn, after)


# -- the arms ------------------------------------------------------------------------------------------


@contextmanager
def _install_arm(arm: str, learn: Learner) -> Iterator[None]:
    """Give the learner this arm's way of unwrapping; ``_use_temporary_folder`` takes it back."""
    own = [cb for cb in learn.cbs if isinstance(cb, HFCallback)]
    element = own[0].element if own else None
    with ExitStack() as stack:
        if arm != "callback":
            learn.remove_cbs(own)
        if arm == "callback" and not own:
            learn.add_cb(HFCallback())
        elif arm == "patched":
            stack.enter_context(patched_loop(get_patched_loop_element(element)))
        elif arm == "broken":
            learn.add_cb(_DetachedOutputCallback(element))
        yield


class _DetachedOutputCallback(HFCallback):
    """The broken arm: an output cut from the model, yet requiring grad, so that nothing complains."""

    def __init__(self, element: Any = None):
        super().__init__(element, check=False)

    def after_pred(self) -> None:
        super().after_pred()
        self.learn.pred = detach_output(self.learn.pred)


# -- what is put back --------------------------------------------------------------------------------------


@contextmanager
def _use_temporary_folder(learn: Learner) -> Iterator[None]:
    """Let the learner and its callbacks write to a temporary folder; every attribute comes back on leaving."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for callback in learn.cbs:
            stack.enter_context(redirect_paths(vars(callback), Path(learn.path), Path(folder)))
        stack.enter_context(preserve_learner(learn))
        learn.path, learn.model_dir = Path(folder), "models"
        yield
