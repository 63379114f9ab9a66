"""Protocols of the objects that fastai and Hugging Face libraries make, as both fastais share them. Imports torch."""

from pathlib import Path
from typing import Any, Callable, Mapping, Protocol, Sequence, Union

from torch import nn

__all__ = ["LearnerLike", "TokenizerLike"]


class LearnerLike(Protocol):
    """The attributes of a ``Learner`` that have the same name in both fastais."""

    model: nn.Module
    loss_func: Callable[..., Any]
    metrics: Sequence[Any]
    path: Path
    model_dir: Union[str, Path]

    def fit_one_cycle(self, cyc_len: int, /) -> object: ...


class TokenizerLike(Protocol):
    """The attributes of a tokenizer that have the same name in both Hugging Face libraries."""

    @property
    def special_tokens_map(self) -> Mapping[str, object]: ...

    def convert_tokens_to_ids(self, tokens: str, /) -> Any: ...
