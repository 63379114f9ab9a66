"""What the core asks of the objects that a fastai or a Hugging Face library made. Imports torch."""

from pathlib import Path
from typing import Any, Callable, Protocol, Sequence, Union

from torch import nn

__all__ = ["LearnerLike"]


class LearnerLike(Protocol):
    """A fastai ``Learner``, in what both fastais call by the same name."""

    model: nn.Module
    loss_func: Callable[..., Any]
    metrics: Sequence[Any]
    path: Path
    model_dir: Union[str, Path]

    def fit_one_cycle(self, cyc_len: int, /) -> object: ...
