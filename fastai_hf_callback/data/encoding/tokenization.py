"""Encoding of texts chunk by chunk, in this process or in several, and the rows that come out.

``fast_tokenization.py`` and ``slow_tokenization.py`` say how a chunk is encoded. Imports numpy.
"""

from contextlib import contextmanager
from typing import Any, Callable, Generator, Generic, Iterator, List, NamedTuple, Optional, Sequence, Tuple, TypeVar

import numpy as np

from .multiprocess import Span, count_available_cores, run_in_processes, run_in_this_process
from .protocols import Backend, Tokenizer

__all__ = [
    "Context",
    "EncodedText",
    "Texts",
    "TokenizationJob",
    "add_leading_space",
    "build_row",
    "encode_in_chunks",
    "find_leading_space",
    "preserve_backend_settings",
]


class Context(NamedTuple):
    """A text that contains an answer, and the offsets of its tokens.

    Attributes
    ----------
    text : str
    begins, ends : ndarray, int32, (length,)
        The characters of `text` that each token of the row stands for, the end excluded; -1 outside the context.
    left_padding : int
        In front of the row, in the batch that it was taken from.
    """

    text: str
    begins: np.ndarray
    ends: np.ndarray
    left_padding: int = 0


class EncodedText(NamedTuple):
    """One row, special tokens included.

    Attributes
    ----------
    input_ids : ndarray, int32, (length,)
    token_type_ids : ndarray, int32, (length,), or None
        None where the tokenizer has none and where all are 0.
    word_ids : ndarray, int32, (length,), or None
        Which word of the text each token belongs to, -1 for special tokens; None unless words were given.
    context : Context or None
        Of a question.
    """

    input_ids: np.ndarray
    token_type_ids: Optional[np.ndarray]
    word_ids: Optional[np.ndarray]
    context: Optional[Context] = None


class Texts(NamedTuple):
    """The input to encode: texts, or each text's words, and the second text of each where there is one."""

    firsts: List[Any]
    seconds: Optional[List[str]]
    is_split_into_words: bool


AnyTokenizer = TypeVar("AnyTokenizer", bound=Tokenizer)


class TokenizationJob(Generic[AnyTokenizer]):
    """The arguments of ``TextEncoder.encode``; called with a span of rows."""

    rows: int

    def __init__(self, tokenizer: AnyTokenizer, max_length: int, texts: Texts):
        self.tokenizer, self.max_length = tokenizer, max_length
        self.firsts, self.seconds, self.is_split_into_words = texts

    def __call__(self, span: Span) -> List[EncodedText]:
        raise NotImplementedError

    def can_use_processes(self) -> bool:
        return False


def encode_in_chunks(
    job: TokenizationJob[Any], tokenizer_workers: Optional[int]
) -> Tuple[Generator[List[EncodedText], None, None], int]:
    """Return the encoded rows, part by part, and how many parts there are."""
    total = len(job.firsts)
    spans = [(start, min(start + job.rows, total)) for start in range(0, total, job.rows)]
    tokenizer_workers = min(tokenizer_workers or count_available_cores(), len(spans))
    several = tokenizer_workers > 1 and job.can_use_processes()
    return run_in_processes(job, spans, tokenizer_workers) if several else run_in_this_process(job, spans), len(spans)


def build_row(
    ids: Sequence[int], types: Optional[Sequence[int]], words: Optional[Sequence[Optional[int]]]
) -> EncodedText:
    return EncodedText(
        np.array(ids, dtype=np.int32),
        np.array(types, dtype=np.int32) if types is not None and any(types) else None,
        None if words is None else np.array([-1 if w is None else w for w in words], dtype=np.int32),
    )


def find_leading_space(tokens_of: Callable[[str], List[int]]) -> str:
    """Return what to put before a word so that it gets its pieces within a text; byte-level pieces hold the space."""
    first, both = list(tokens_of("a")), list(tokens_of("a a"))
    return " " if first + first != both and first + list(tokens_of(" a")) == both else ""


def add_leading_space(word: str, i: int, space: str) -> str:
    return (space if i else "") + word if word.strip() else ""


@contextmanager
def preserve_backend_settings(tokenizer: Tokenizer) -> Iterator[None]:
    """Restore a fast tokenizer's truncation and padding on leaving; a slow one has none."""
    backend: Optional[Backend] = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        yield
        return
    truncation, padding = backend.truncation, backend.padding
    try:
        yield
    finally:
        backend.enable_truncation(**truncation) if truncation else backend.no_truncation()
        backend.enable_padding(**padding) if padding else backend.no_padding()
