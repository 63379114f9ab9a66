"""What a comparison needs of the installed fastai; ``fastai1/`` and ``fastai2/`` have one such adapter each."""

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
        """The fastai's ``Learner``."""

    @property
    def callback_classes(self) -> Tuple[type, type]:
        """``HFCallback``, and its subclass for the broken arm."""

    @property
    def corrections_class(self) -> type:
        """The callback that does to the weights what ``HFCallback`` does, and does not unwrap: the patched arm's."""

    def raise_if_patched(self) -> None:
        """Raise ``PatchError`` where fastai's loop has been replaced."""

    def patched_loop(self, element: Union[int, str, Callable[[Any], Any]], /) -> ContextManager[None]:
        """Patch the loop as the article does."""

    def preserve_learner(self, learn: LearnerLike, /) -> ContextManager[object]:
        """Restore the learner's folder and callbacks on leaving, and everything else that a run changes on it."""

    def no_progress(self, learn: LearnerLike, /) -> ContextManager[None]:
        """Keep fastai from drawing bars and tables inside."""

    def get_callbacks(self, learn: LearnerLike, /) -> Sequence[Any]:
        """Return the learner's callbacks."""

    def replace_callbacks(self, learn: LearnerLike, old: Sequence[Any], new: Sequence[Any], /) -> None:
        """Remove the callbacks `old` from the learner and add `new`."""

    def seed_loaders(self, learn: LearnerLike, seed: int, /) -> None:
        """Seed the loaders' own generators, where they do not use the global ones."""

    def record(self, learn: LearnerLike, writer: TraceWriter, /) -> ContextManager[object]:
        """Tell `writer` of each step and epoch inside."""

    def evaluate(self, learn: LearnerLike, /) -> Optional[Evaluation]:
        """Run the validation set through the learner without changing it; None where there is no such set."""

    def metric_names(self, metrics: Sequence[Any], /) -> List[str]:
        """Return unique names, as fastai shows them."""

    def score_constant(
        self, row: Tensor, outputs: List[Any], targets: List[Any], metrics: Sequence[Any], /
    ) -> List[float]:
        """Compute what the metrics would score if every output were `row`."""
