"""What a comparison asks of the fastai that is installed; ``fastai1/`` and ``fastai2/`` have one such adapter each."""

from typing import Any, Callable, ContextManager, List, Optional, Protocol, Sequence, Tuple, Union

from torch import Tensor

from fastai_hf_callback.utils.protocols import LearnerLike

from .baseline import Evaluation
from .trace_writer import TraceWriter

__all__ = ["ComparisonAdapter"]


class ComparisonAdapter(Protocol):
    """One fastai, as ``comparison/runner.py`` sees it."""

    @property
    def learner_class(self) -> type:
        """``Learner``."""

    @property
    def callback_classes(self) -> Tuple[type, type]:
        """``HFCallback``, and its heir for the broken arm."""

    def raise_if_patched(self) -> None:
        """Raise ``PatchError`` where fastai's loop is not its own."""

    def patched_loop(self, element: Union[int, str, Callable[[Any], Any]], /) -> ContextManager[None]:
        """The article's patch of the loop."""

    def preserve_learner(self, learn: LearnerLike, /) -> ContextManager[object]:
        """Put back the learner's folder and callbacks on leaving, and whatever else a run leaves on it."""

    def no_progress(self, learn: LearnerLike, /) -> ContextManager[None]:
        """Let fastai draw no bars and no tables inside."""

    def get_callbacks(self, learn: LearnerLike, /) -> Sequence[Any]:
        """The learner's callbacks."""

    def replace_callbacks(self, learn: LearnerLike, old: Sequence[Any], new: Sequence[Any], /) -> None:
        """Take `old` off the learner and put `new` on it."""

    def seed_loaders(self, learn: LearnerLike, seed: int, /) -> None:
        """Seed what the loaders draw from, where that is no global generator."""

    def record(self, learn: LearnerLike, writer: TraceWriter, /) -> ContextManager[object]:
        """Let `writer` hear of each step and epoch inside."""

    def evaluate(self, learn: LearnerLike, /) -> Optional[Evaluation]:
        """Run the validation set through the learner and leave no mark; None where there is no such set."""

    def metric_names(self, metrics: Sequence[Any], /) -> List[str]:
        """Unique names, as fastai shows them."""

    def score_constant(
        self, row: Tensor, outputs: List[Any], targets: List[Any], metrics: Sequence[Any], /
    ) -> List[float]:
        """What the metrics would say were each output `row`."""
