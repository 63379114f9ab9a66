"""``compare``: a factory and a fit -> a ``Trace`` per arm -> ``Comparison``; the same for every fastai.

``fastai1/comparison/compare.py`` and ``fastai2/comparison/compare.py`` each define a ``ComparisonAdapter``.
"""

import os
import tempfile
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from fastai_hf_callback.errors import ComparisonError
from fastai_hf_callback.model.output import Element, tensors_in
from fastai_hf_callback.model.weights.activation_casts import to_float32
from fastai_hf_callback.results.comparison import (
    Difference,
    check_same_weights,
    compare_traces,
    find_first_difference,
)
from fastai_hf_callback.results.trace import Trace, digest
from fastai_hf_callback.utils.distributed import require_single_process
from fastai_hf_callback.utils.logging import silence_logs
from fastai_hf_callback.utils.progress import Progress, show_arm_progress
from fastai_hf_callback.utils.protocols import LearnerLike
from fastai_hf_callback.utils.rng import preserve_rng_state, seed_everything

from .adapter import ComparisonAdapter
from .baseline import Evaluation, compute_base_rates, compute_constant_prediction_scores
from .comparison import Comparison, build_comparison
from .trace_writer import TraceWriter

__all__ = ["ARMS", "compare", "build_learner", "build_score_function", "detach_output"]

ARMS: Tuple[str, ...] = ("callback", "patched", "broken")
RunArm = Callable[[str, Optional[Progress], List[Trace]], Trace]


def compare(
    make_learner: Callable[[], Any],
    fit: Optional[Callable[[Any], Any]] = None,
    seed: int = 42,
    arms: Sequence[str] = ARMS,
    progress: Union[bool, Progress] = True,
    *,
    adapter: ComparisonAdapter,
) -> Comparison:
    # The docstring is that of both fastais' `compare`, which have no `adapter`.
    """Run the same training through the callback, the patched loop and a broken arm, and compare.

    Parameters
    ----------
    make_learner : callable
        Makes a new ``Learner`` each time, with a new model; on fastai 2 the data may be shared. It may have an
        ``HFCallback`` already, whose `element` is then used in every arm.
    fit : callable, optional
        Called with the learner; by default two epochs of ``fit_one_cycle``. What it returns, such as
        ``learn.get_preds()``, is compared too.
    seed : int
        Python's, numpy's and torch's random states are reset to it before each arm and restored at the end; so are
        those of fastai 2's loaders.
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
        When `make_learner` or `arms` cannot be used, or the arms do not start from the same state.
    PatchError
        When fastai's loop is patched already: the callback arm would not be fastai's own.

    Notes
    -----
    The learners' ``path`` and ``model_dir`` are a temporary folder while the arms run, so that no arm
    overwrites a file of yours. On fastai 2 a learner's attributes are restored afterwards; its model stays trained.
    On a GPU deterministic algorithms are switched on, and the setting is restored afterwards.

    Examples
    --------
    >>> comparison = compare(make_learner, fit=lambda learn: learn.fit(1, 1e-3), progress=False).check()
    >>> comparison.identical, comparison.broken_arm_differs
    (True, True)
    """
    require_single_process("compare")
    arms = validate_arms(arms)
    adapter.raise_if_patched()
    return run_arms(partial(_run_arm, adapter, make_learner, fit or _fit_two_epochs, seed), arms, progress)


def _fit_two_epochs(learn: LearnerLike) -> None:
    learn.fit_one_cycle(2)


def run_arms(run_arm: RunArm, arms: Sequence[str], progress: Union[bool, Progress]) -> Comparison:
    """Run `arms`, each by ``run_arm(arm, progress, traces so far)``, and compare their traces.

    Random states are restored at the end, and so is the setting of deterministic algorithms, which a GPU needs.
    """
    traces: List[Trace] = []
    with preserve_rng_state(), _use_deterministic_algorithms(), ExitStack() as stack:
        on_progress = stack.enter_context(show_arm_progress(arms)) if progress is True else progress or None
        for arm in arms:
            traces.append(run_arm(arm, on_progress, traces))
            compare_traces(traces)  # arms with different starts stop here, before the next one is run
        noise = _find_noise(traces, run_arm, on_progress)
    return build_comparison(traces, noise)


def _find_noise(traces: List[Trace], run_arm: RunArm, progress: Optional[Progress]) -> Optional[Difference]:
    """Find where two patched runs differ; searched only when the callback arm differs from the patched one."""
    by_arm = {trace.arm: trace for trace in traces}
    if "patched" not in by_arm or find_first_difference(by_arm["callback"], by_arm["patched"]) is None:
        return None
    return find_first_difference(by_arm["patched"], run_arm("patched", progress, traces))


@contextmanager
def _use_deterministic_algorithms() -> Iterator[None]:
    """Use deterministic algorithms where there is a GPU; on a CPU nothing has to be switched."""
    if not (torch.cuda.is_available() and hasattr(torch, "are_deterministic_algorithms_enabled")):
        yield
        return
    enabled, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
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


# -- one arm ---------------------------------------------------------------------------------------------------


def _run_arm(
    adapter: ComparisonAdapter,
    make_learner: Callable[[], Any],
    fit: Callable[[Any], Any],
    seed: int,
    arm: str,
    progress: Optional[Progress],
    earlier: List[Trace],
) -> Trace:
    seed_everything(seed)
    learn = build_learner(make_learner, adapter.learner_class, arm)
    trace = Trace(arm, initial_weights=compute_weight_digests(learn.model))
    if earlier:
        check_same_weights(earlier[0], trace)
    with ExitStack() as stack:
        stack.enter_context(_use_temporary_folder(adapter, learn))
        stack.enter_context(adapter.no_progress(learn))
        stack.enter_context(_install_arm(adapter, arm, learn))
        before = adapter.evaluate(learn)
        trace.before = before and before.epoch
        with adapter.record(learn, TraceWriter(trace, progress and partial(progress, arm))):
            seed_everything(seed)
            adapter.seed_loaders(learn, seed)
            trace.returned = digest(fit(learn))
        _record_final_state(adapter, learn, trace)
    return trace


def _record_final_state(adapter: ComparisonAdapter, learn: LearnerLike, trace: Trace) -> None:
    trace.final_weights = compute_weight_digests(learn.model)
    after = adapter.evaluate(learn)
    if after is None:
        return
    trace.predictions = digest(list(tensors_in(after.outputs)))
    trace.n_valid_targets = sum(t.numel() for t in tensors_in(after.targets))
    score = build_score_function(adapter, learn.metrics, after)
    with preserve_rng_state():
        trace.base_rates = compute_base_rates(after, learn.loss_func, score)
        trace.constant_prediction_scores = compute_constant_prediction_scores(after, score)


def build_score_function(
    adapter: ComparisonAdapter, metrics: Sequence[Any], evaluation: Evaluation
) -> Callable[[Tensor], Dict[str, float]]:
    """Return a function from a constant output to each metric's value, by name."""
    outputs, targets = evaluation.outputs, evaluation.targets
    return lambda row: dict(zip(adapter.metric_names(metrics), adapter.score_constant(row, outputs, targets, metrics)))


def _install_arm(adapter: ComparisonAdapter, arm: str, learn: LearnerLike) -> ContextManager[None]:
    """Give the learner this arm's way of unwrapping; ``_use_temporary_folder`` removes it."""
    callback_class, broken_class = adapter.callback_classes
    own: List[Any] = [cb for cb in adapter.get_callbacks(learn) if isinstance(cb, callback_class)]
    element, in_float32 = (own[0].element, own[0].train_in_float32) if own else (None, True)
    if arm == "callback" and not own:
        adapter.replace_callbacks(learn, [], [callback_class()])
    elif arm == "patched":
        adapter.replace_callbacks(learn, own, [adapter.corrections_class(in_float32)])
        return adapter.patched_loop(get_patched_loop_element(element))
    elif arm == "broken":
        adapter.replace_callbacks(learn, own, [broken_class(element, check=False, train_in_float32=in_float32)])
    return nullcontext()


@contextmanager
def _use_temporary_folder(adapter: ComparisonAdapter, learn: LearnerLike) -> Iterator[None]:
    """Let the learner and its callbacks write to a temporary folder; restore the learner on leaving."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for callback in adapter.get_callbacks(learn):
            stack.enter_context(redirect_paths(vars(callback), Path(learn.path), Path(folder)))
        stack.enter_context(adapter.preserve_learner(learn))
        learn.path, learn.model_dir = Path(folder), "models"
        yield


# -- what was given ------------------------------------------------------------------------------------------


def validate_arms(arms: Sequence[str]) -> List[str]:
    """Return the arms that were asked for, in their order, and always the callback's."""
    given = [arms] if isinstance(arms, str) else list(arms)
    unknown = [arm for arm in given if arm not in ARMS]
    if unknown or not given or len(set(given)) < len(given):
        raise ComparisonError(f"arms={tuple(given)} was given; expected different ones of {ARMS}.", "bad-arms")
    return [arm for arm in ARMS if arm in given or arm == "callback"]


def build_learner(make_learner: Callable[[], Any], learner_class: type, arm: str = ARMS[0]) -> Any:
    """Call `make_learner`, which must return a `learner_class`; libraries may log meanwhile for the first arm alone."""
    if not callable(make_learner) or isinstance(make_learner, learner_class):  # a fastai 2 Learner can be called
        raise ComparisonError(
            f"{type(make_learner).__name__} was given; expected a function that makes a new Learner "
            f"each time. Write compare(lambda: Learner(...)).",
            "not-a-factory",
        )
    with silence_logs(arm != ARMS[0]):
        learn = make_learner()
    if not isinstance(learn, learner_class):
        raise ComparisonError(
            f"make_learner returned {type(learn).__name__}; expected a fastai Learner. End it with return learn.",
            "not-a-factory",
        )
    return learn


# -- what the arms do ----------------------------------------------------------------------------------------


def detach_output(output: Union[Tensor, Tuple[Tensor, ...]]) -> Union[Tensor, Tuple[Tensor, ...]]:
    """Detach the output from the model but let it require grad, so that nothing raises: the broken arm's output."""
    if isinstance(output, tuple):
        return tuple(part.detach().requires_grad_() for part in output)
    return output.detach().requires_grad_()


def get_patched_loop_element(element: Element) -> Any:
    """Return what the patched loop takes from the output where the callback would take `element`."""
    if element is None:
        return _take_first
    if isinstance(element, (list, tuple)):
        return lambda output: tuple(output[part] for part in element)
    return element


def _take_first(output: Any) -> Any:
    """Take the first element, as the article does; a tensor is left as it is: without a patch it trains, too."""
    return output if isinstance(output, Tensor) else output[0]


@contextmanager
def redirect_paths(attributes: Dict[str, Any], old: Path, new: Path) -> Iterator[None]:
    """Move every path in a callback's `attributes` that lies under `old` to `new`; restore them on leaving."""
    inside = {
        name: value
        for name, value in attributes.items()
        if isinstance(value, Path) and (value == old or old in value.parents)
    }
    attributes.update({name: new / value.relative_to(old) for name, value in inside.items()})
    try:
        yield
    finally:
        attributes.update(inside)


def compute_weight_digests(model: nn.Module) -> Dict[str, str]:
    """Digest each tensor of the model's ``state_dict``; half-precision weights as float32, which do not move them."""
    return {name: digest(to_float32(value)) for name, value in model.state_dict().items() if isinstance(value, Tensor)}
