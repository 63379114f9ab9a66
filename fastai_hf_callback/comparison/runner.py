"""The arms of a comparison, run one after the other and compared; what is the same under every fastai.

``fastai1/comparison/compare.py`` and ``fastai2/comparison/compare.py`` bring the arms.
"""

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from fastai_hf_callback.errors import ComparisonError
from fastai_hf_callback.model.output import Element
from fastai_hf_callback.results.comparison import Difference, compare_traces, find_first_difference
from fastai_hf_callback.results.trace import Trace, digest
from fastai_hf_callback.utils.logging import silence_logs
from fastai_hf_callback.utils.progress import Progress, show_arm_progress
from fastai_hf_callback.utils.rng import preserve_rng_state

from .comparison import Comparison, build_comparison

__all__ = [
    "ARMS",
    "RunArm",
    "run_arms",
    "validate_arms",
    "build_learner",
    "detach_output",
    "get_patched_loop_element",
    "redirect_paths",
    "compute_weight_digests",
]

ARMS = ("callback", "patched", "broken")
RunArm = Callable[[str, Optional[Progress], List[Trace]], Trace]


def run_arms(run_arm: RunArm, arms: Sequence[str], progress: Union[bool, Progress]) -> Comparison:
    """Run `arms`, each by ``run_arm(arm, progress, traces so far)``, and compare their traces.

    Random states are put back at the end, and so are deterministic algorithms, which a GPU needs.
    """
    traces: List[Trace] = []
    with preserve_rng_state(), _use_deterministic_algorithms(), ExitStack() as stack:
        on_progress = stack.enter_context(show_arm_progress(arms)) if progress is True else progress or None
        for arm in arms:
            traces.append(run_arm(arm, on_progress, traces))
            compare_traces(traces)  # arms that did not begin alike stop here, before the next one is run
        noise = _find_noise(traces, run_arm, on_progress)
    return build_comparison(traces, noise)


def _find_noise(traces: List[Trace], run_arm: RunArm, progress: Optional[Progress]) -> Optional[Difference]:
    """Where two patched runs part; looked for only when the callback arm differs from the patched one."""
    by_arm = {trace.arm: trace for trace in traces}
    if "patched" not in by_arm or find_first_difference(by_arm["callback"], by_arm["patched"]) is None:
        return None
    return find_first_difference(by_arm["patched"], run_arm("patched", progress, traces))


@contextmanager
def _use_deterministic_algorithms() -> Iterator[None]:
    """Deterministic algorithms where there is a GPU; on a CPU there is nothing to switch."""
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


# -- what was given ------------------------------------------------------------------------------------------


def validate_arms(arms: Sequence[str]) -> List[str]:
    """The arms that were asked for, in their order, and always the callback's."""
    given = [arms] if isinstance(arms, str) else list(arms)
    unknown = [arm for arm in given if arm not in ARMS]
    if unknown or not given or len(set(given)) < len(given):
        raise ComparisonError(f"arms={tuple(given)} was given; expected different ones of {ARMS}.", "bad-arms")
    return [arm for arm in ARMS if arm in given or arm == "callback"]


def build_learner(make_learner: Callable[[], Any], learner_class: type, arm: str = ARMS[0]) -> Any:
    """What `make_learner` makes, a `learner_class`; what the libraries log meanwhile, the first arm has shown."""
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
    """The broken arm's output: cut from the model, yet requiring grad, so that nothing complains."""
    if isinstance(output, tuple):
        return tuple(part.detach().requires_grad_() for part in output)
    return output.detach().requires_grad_()


def get_patched_loop_element(element: Element) -> Any:
    """What the patched loop takes from the output where the callback would take `element`."""
    if element is None:
        return 0
    if isinstance(element, (list, tuple)):
        return lambda output: tuple(output[part] for part in element)
    return element


@contextmanager
def redirect_paths(attributes: Dict[str, Any], old: Path, new: Path) -> Iterator[None]:
    """Let every path in a callback's `attributes` that lies under `old` lie under `new`; they come back on leaving."""
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
    """Digest of each tensor of the model's ``state_dict``."""
    return {name: digest(value) for name, value in model.state_dict().items() if isinstance(value, Tensor)}
