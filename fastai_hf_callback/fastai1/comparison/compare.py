"""``compare`` on fastai 1: a factory and a fit -> a ``Trace`` per arm -> ``Comparison``."""

import tempfile
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Union

import fastai.train  # noqa: F401  fit_one_cycle and lr_find live on Learner only once this is imported
from fastai.basic_train import Learner

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
from fastai_hf_callback.fastai1.callback import HFCallback
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from fastai_hf_callback.fastai1.compat.training_loop import raise_if_patched
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
        Makes a new ``Learner`` each time, model and data included. It may hold ``HFCallback`` already,
        whose `element` then holds for every arm.
    fit : callable, optional
        Called with the learner; by default two epochs of ``fit_one_cycle``. What it returns, such as
        ``learn.get_preds()``, is compared too.
    seed : int
        Python's, numpy's and torch's random states are reset to it before each arm and put back at the end.
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
    a file of yours. On a GPU deterministic algorithms are switched on, and back afterwards.

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
    recorder = TraceRecorder(learn, trace, on_step)
    with ExitStack() as stack:
        stack.enter_context(_use_temporary_folder(learn))
        stack.enter_context(no_progress(learn))
        stack.enter_context(_install_arm(arm, learn))
        before = evaluate(learn)
        trace.before = before and before.epoch
        with _add_recorder(learn, recorder):
            seed_everything(seed)
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
    """Give the learner this arm's way of unwrapping."""
    own = [cb for cb in learn.callbacks if isinstance(cb, HFCallback)]
    others = [cb for cb in learn.callbacks if not isinstance(cb, HFCallback)]
    element = own[0].element if own else None
    with ExitStack() as stack:
        if arm == "callback":
            learn.callbacks = others + (own or [HFCallback()])
        elif arm == "patched":
            learn.callbacks = others
            stack.enter_context(patched_loop(get_patched_loop_element(element)))
        else:
            learn.callbacks = others + [_DetachedOutputCallback(element)]
        yield


class _DetachedOutputCallback(HFCallback):
    """The broken arm: an output cut from the model, yet requiring grad, so that nothing complains."""

    def __init__(self, element: Any = None):
        super().__init__(element, check=False)

    def on_loss_begin(self, **kwargs: Any) -> Dict[str, Any]:
        return {"last_output": detach_output(super().on_loss_begin(**kwargs)["last_output"])}


# -- what is put back --------------------------------------------------------------------------------------


@contextmanager
def _use_temporary_folder(learn: Learner) -> Iterator[None]:
    """Let the learner and its callbacks write to a temporary folder; attributes come back on leaving."""
    kept = {name: getattr(learn, name) for name in ("path", "model_dir", "callbacks")}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for callback in learn.callbacks:
            stack.enter_context(redirect_paths(vars(callback), Path(learn.path), Path(folder)))
        learn.path, learn.model_dir = Path(folder), "models"
        try:
            yield
        finally:
            for name, value in kept.items():
                setattr(learn, name, value)


@contextmanager
def _add_recorder(learn: Learner, recorder: TraceRecorder) -> Iterator[None]:
    learn.callbacks = [*learn.callbacks, recorder]
    try:
        yield
    finally:
        learn.callbacks = [cb for cb in learn.callbacks if cb is not recorder]
