"""``compare`` on fastai 1: a factory and a fit -> a ``Trace`` per arm -> ``Comparison``."""
import os
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Union

import fastai.train  # noqa: F401  fit_one_cycle and lr_find live on Learner only once this is imported
import torch
from fastai.basic_train import Learner
from torch import Tensor

from ..comparison import Comparison, Difference, compare_traces, first_difference
from ..errors import ComparisonError
from ..output import tensors_in
from ..progress import Progress, arm_bars
from ..rng import rng_preserved, seed_everything
from ..trace import Trace, digest
from .callback import HFCallback
from .loop import patched_loop, refuse_if_patched
from .quiet import quiet
from .recording import TraceRecorder, base_rates, evaluate

__all__ = ["compare", "ARMS"]

ARMS = ("callback", "patched", "broken")

def compare(make_learner: Callable[[], Learner], fit: Optional[Callable[[Learner], Any]] = None, seed: int = 42,
            arms: Sequence[str] = ARMS, progress: Union[bool, Progress] = True) -> Comparison:
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
    """
    arms = _checked_arms(arms)
    refuse_if_patched()
    traces: List[Trace] = []
    with rng_preserved(), _deterministic(), ExitStack() as stack:
        tell = stack.enter_context(arm_bars(arms)) if progress is True else progress or None
        for arm in arms:
            traces.append(_run_arm(arm, make_learner, fit or _two_epochs, seed, tell))
            compare_traces(traces)  # arms that did not begin alike stop here, before the next one is run
        noise = _noise_floor(traces, make_learner, fit or _two_epochs, seed, tell)
    return compare_traces(traces, noise)


def _two_epochs(learn: Learner) -> None:
    learn.fit_one_cycle(2)


def _noise_floor(traces: List[Trace], make_learner, fit, seed, progress) -> Optional[Difference]:
    """Where two patched runs part; looked for only when the callback arm differs from the patched one."""
    by_arm = {trace.arm: trace for trace in traces}
    if "patched" not in by_arm or first_difference(by_arm["callback"], by_arm["patched"]) is None:
        return None
    return first_difference(by_arm["patched"], _run_arm("patched", make_learner, fit, seed, progress))


def _run_arm(arm: str, make_learner, fit, seed: int, progress: Optional[Progress]) -> Trace:
    seed_everything(seed)
    learn = _made(make_learner)
    trace = Trace(arm, initial_weights=_weight_digests(learn))
    on_step = None if progress is None else lambda done, expected: progress(arm, done, expected)
    recorder = TraceRecorder(learn, trace, on_step)
    with ExitStack() as stack:
        stack.enter_context(_out_of_the_way(learn))
        stack.enter_context(quiet(learn))
        stack.enter_context(_arm(arm, learn))
        before = evaluate(learn)
        trace.before = before and before.figures
        with _added(learn, recorder):
            seed_everything(seed)
            trace.returned = digest(fit(learn))
        _record_end(learn, trace, recorder.train_targets)
    return trace


def _record_end(learn: Learner, trace: Trace, train_targets: List[Tensor]) -> None:
    trace.final_weights = _weight_digests(learn)
    trace.n_train_targets = sum(t.numel() for t in train_targets)
    after = evaluate(learn)
    if after is None:
        return
    trace.predictions = digest(list(tensors_in(after.outputs)))
    trace.n_valid_targets = sum(t.numel() for t in tensors_in(after.targets))
    with rng_preserved():
        trace.base_rates = base_rates(learn, after, train_targets)


# -- the arms ------------------------------------------------------------------------------------------


@contextmanager
def _arm(arm: str, learn: Learner) -> Iterator[None]:
    """Give the learner this arm's way of unwrapping."""
    own = [cb for cb in learn.callbacks if isinstance(cb, HFCallback)]
    others = [cb for cb in learn.callbacks if not isinstance(cb, HFCallback)]
    element = own[0].element if own else None
    with ExitStack() as stack:
        if arm == "callback":
            learn.callbacks = others + (own or [HFCallback()])
        elif arm == "patched":
            learn.callbacks = others
            stack.enter_context(patched_loop(_as_the_article_would(element)))
        else:
            learn.callbacks = others + [_DetachedOutput(element)]
        yield


class _DetachedOutput(HFCallback):
    """The broken arm: an output cut from the model, yet requiring grad, so that nothing complains."""

    def __init__(self, element: Any = None):
        super().__init__(element, check=False)

    def on_loss_begin(self, **kwargs: Any) -> Dict[str, Any]:
        output = super().on_loss_begin(**kwargs)["last_output"]
        cut = tuple(_cut(o) for o in output) if isinstance(output, tuple) else _cut(output)
        return {"last_output": cut}


def _cut(output: Tensor) -> Tensor:
    return output.detach().requires_grad_()


def _as_the_article_would(element: Any) -> Any:
    if element is None:
        return 0
    if isinstance(element, (list, tuple)):
        return lambda output: tuple(output[part] for part in element)
    return element


# -- what is put back --------------------------------------------------------------------------------------


@contextmanager
def _out_of_the_way(learn: Learner) -> Iterator[None]:
    """Let the learner and its callbacks write to a temporary folder; attributes come back on leaving."""
    kept = {name: getattr(learn, name) for name in ("path", "model_dir", "callbacks")}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for callback in learn.callbacks:
            stack.enter_context(_moved_paths(callback, Path(learn.path), Path(folder)))
        learn.path, learn.model_dir = Path(folder), "models"
        try:
            yield
        finally:
            for name, value in kept.items():
                setattr(learn, name, value)


@contextmanager
def _moved_paths(callback: Any, old: Path, new: Path) -> Iterator[None]:
    inside = {name: value for name, value in vars(callback).items()
              if isinstance(value, Path) and (value == old or old in value.parents)}
    for name, value in inside.items():
        setattr(callback, name, new / value.relative_to(old))
    try:
        yield
    finally:
        for name, value in inside.items():
            setattr(callback, name, value)


@contextmanager
def _added(learn: Learner, recorder: TraceRecorder) -> Iterator[None]:
    learn.callbacks = [*learn.callbacks, recorder]
    try:
        yield
    finally:
        learn.callbacks = [cb for cb in learn.callbacks if cb is not recorder]


@contextmanager
def _deterministic() -> Iterator[None]:
    """Deterministic algorithms where there is a GPU; on a CPU there is nothing to switch."""
    if not (torch.cuda.is_available() and hasattr(torch, "are_deterministic_algorithms_enabled")):
        yield
        return
    enabled, warn_only = torch.are_deterministic_algorithms_enabled(), \
        torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark, workspace = torch.backends.cudnn.benchmark, os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        if workspace is None:
            os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


# -- what was given ------------------------------------------------------------------------------------------


def _checked_arms(arms: Sequence[str]) -> List[str]:
    given = [arms] if isinstance(arms, str) else list(arms)
    unknown = [arm for arm in given if arm not in ARMS]
    if unknown or not given or len(set(given)) < len(given):
        raise ComparisonError(f"arms={tuple(given)} was given; expected different ones of {ARMS}.", "bad-arms")
    return [arm for arm in ARMS if arm in given or arm == "callback"]


def _made(make_learner: Callable[[], Learner]) -> Learner:
    if not callable(make_learner):
        raise ComparisonError(f"{type(make_learner).__name__} was given; expected a function that makes a new Learner "
                              f"each time. Write compare(lambda: Learner(...)).", "not-a-factory")
    learn = make_learner()
    if not isinstance(learn, Learner):
        raise ComparisonError(f"make_learner returned {type(learn).__name__}; expected a fastai Learner. End it with "
                              f"return learn.", "not-a-factory")
    return learn


def _weight_digests(learn: Learner) -> Dict[str, str]:
    return {name: digest(value) for name, value in learn.model.state_dict().items() if isinstance(value, Tensor)}
