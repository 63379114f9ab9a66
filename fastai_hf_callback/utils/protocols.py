"""What the core asks of the objects that a fastai or a Hugging Face library made. Imports torch."""

from pathlib import Path
from typing import Any, Callable, Mapping, Protocol, Sequence, Union

from torch import nn

__all__ = ["LearnerLike", "TokenizerLike"]


class LearnerLike(Protocol):
    """A fastai ``Learner``, in what both fastais call by the same name."""

    model: nn.Module
    loss_func: Callable[..., Any]
    metrics: Sequence[Any]
    path: Path
    model_dir: Union[str, Path]

    def fit_one_cycle(self, cyc_len: int, /) -> object: ...


class TokenizerLike(Protocol):
    """A tokenizer of either Hugging Face library, in what both call by the same name."""

    @property
    def special_tokens_map(self) -> Mapping[str, object]: ...

    def convert_tokens_to_ids(self, tokens: str, /) -> Any: ...
