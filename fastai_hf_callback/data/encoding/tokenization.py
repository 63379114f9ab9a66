"""How encoder.py gets its tokens: from a fast tokenizer's own call, or from a slow one, text by text, in processes.

Imports numpy; takes a tokenizer by its interface.
"""

import copy
import pickle
from contextlib import contextmanager
from itertools import chain
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from fastai_hf_callback.errors import InvalidInputError

from .multiprocess import Span, can_fork, count_available_cores, run_in_processes, run_in_this_process

__all__ = ["EncodedText", "count_special_tokens", "create_tokenization_job", "padding_side", "encode_in_chunks"]

CHUNK_ROWS_FAST, CHUNK_ROWS_SLOW = 10_000, 500  # rows per chunk: memory stays linear, and progress shows
# Characters; below, starting processes takes longer than they save. Where words are remembered, each has to learn them.
MIN_CHARS_FOR_PROCESSES, MIN_CHARS_FOR_PROCESSES_CACHED = 500_000, 2_000_000
SAMPLED_ROWS = 16  # on which two ways of one tokenizer are compared
MIN_TEXTS_FOR_CHUNKS = 32  # texts; below, looking whether words can be cut apart takes longer than it saves
MAX_CACHED_WORDS = 1_000_000  # words remembered while a call lasts
# What differs where a word's pieces depend on its neighbours: leading spaces, sentence ends, contractions, digits.
PROBE_TEXTS = (
    "cat. dog",
    "a  b",
    " a b ",
    "Mr. Smith can not , don 't ; 3 000 .",
    "a\nb \t c",
    "x\u00a0y \x1c z",
    "\u4e2d \u6587",
)


class EncodedText(NamedTuple):
    """One row, special tokens included.

    Attributes
    ----------
    input_ids : ndarray, int32, (length,)
    token_type_ids : ndarray, int32, (length,), or None
        None where the tokenizer has none and where all are 0.
    word_ids : ndarray, int32, (length,), or None
        Which word of the text each token belongs to, -1 for special tokens; None unless words were given.
    """

    input_ids: np.ndarray
    token_type_ids: Optional[np.ndarray]
    word_ids: Optional[np.ndarray]


def create_tokenization_job(
    tokenizer: Any, max_length: int, firsts: List[Any], seconds: Optional[List[str]], is_split_into_words: bool
) -> Any:
    """What encodes a span of these rows when it is called with one."""
    return (_SlowTokenizerJob if _is_slow(tokenizer) else _FastTokenizerJob)(
        tokenizer, max_length, firsts, seconds, is_split_into_words
    )


def encode_in_chunks(job: Any, tokenizer_workers: Optional[int]) -> Tuple[Iterator[List[EncodedText]], int]:
    """The encoded rows, part by part, and how many parts there are."""
    total = len(job.firsts)
    spans = [(start, min(start + job.rows, total)) for start in range(0, total, job.rows)]
    tokenizer_workers = min(tokenizer_workers or count_available_cores(), len(spans))
    several = tokenizer_workers > 1 and job.can_use_processes()
    return run_in_processes(job, spans, tokenizer_workers) if several else run_in_this_process(job, spans), len(spans)


# -- what is asked of the tokenizer --------------------------------------------------------------------------------


def _is_slow(tokenizer: Any) -> bool:
    if getattr(tokenizer, "is_fast", False):
        return False
    return hasattr(tokenizer, "add_special_tokens_single_sentence") or hasattr(
        tokenizer, "build_inputs_with_special_tokens"
    )


def padding_side(tokenizer: Any) -> str:
    side = getattr(tokenizer, "padding_side", None)
    if side is None:
        frame = _SpecialTokenTemplate(tokenizer)
        side = "left" if not frame.before and frame.cls is not None and frame.after[-1:] == [frame.cls] else "right"
    return side


def _special_id(tokenizer: Any, name: str) -> Optional[int]:
    token = getattr(tokenizer, f"_{name}_token", None)
    return None if token is None else tokenizer.convert_tokens_to_ids(token)


class _SpecialTokenTemplate:
    """Where pytorch-transformers puts special tokens: asked once, with a mark for each text."""

    def __init__(self, tokenizer: Any, pair: bool = False):
        self.cls, self.sep = _special_id(tokenizer, "cls"), _special_id(tokenizer, "sep")
        whole = self._encode_whole(tokenizer, pair)
        first, last = whole.index(-1), whole.index(-2 if pair else -1)
        self.before, self.between, self.after = whole[:first], whole[first + 1 : last], whole[last + 1 :]
        self.count = len(whole) - (2 if pair else 1)

    @staticmethod
    def _encode_whole(tokenizer: Any, pair: bool) -> List[int]:
        join = tokenizer.add_special_tokens_sentences_pair if pair else tokenizer.add_special_tokens_single_sentence
        if getattr(join, "__qualname__", "").startswith("PreTrainedTokenizer."):
            return [-1, -2] if pair else [-1]  # the base class's adds nothing, and logs a warning at each call
        return join([-1], [-2]) if pair else join([-1])

    def has_segments(self) -> bool:
        """For a pair's frame: one separator after each text and a cls token of its own, as BERT and XLNet have.

        RoBERTa, whose model has one segment, sets two separators between; XLM has no cls token of its own.
        """
        if self.cls is None or self.sep is None or self.cls == self.sep or self.between != [self.sep]:
            return False
        return sorted(self.before + self.after) == sorted([self.cls, self.sep])

    def join(self, first: List[int], second: Optional[List[int]]) -> List[int]:
        return [*self.before, *first, *self.between, *(second or ()), *self.after]

    def types(self, first: List[int], second: Optional[List[int]]) -> List[int]:
        last = 0 if second is None else 1
        after = [2 if token == self.cls else last for token in self.after]  # a cls token at the end: XLNet's own
        return [0] * (len(self.before) + len(first) + len(self.between)) + [last] * len(second or ()) + after


class _LegacySpecialTokens:
    """Special tokens and types as pytorch-transformers 1.2 and its models have them."""

    def __init__(self, tokenizer: Any, pair: bool):
        self.frame = _SpecialTokenTemplate(tokenizer, pair)
        # DistilBERT's tokenizer is BERT's in all but its class, and its model takes no types: only the name tells.
        named = any("DistilBert" in kind.__name__ for kind in type(tokenizer).__mro__)
        self.typed = not named and (self.frame if pair else _SpecialTokenTemplate(tokenizer, True)).has_segments()
        self.before, self.count = len(self.frame.before), self.frame.count

    def join(self, first: List[int], second: Optional[List[int]]) -> Tuple[List[int], Optional[List[int]]]:
        return self.frame.join(first, second), self.frame.types(first, second) if self.typed else None


class _NewSpecials:
    """Special tokens and types as a slow tokenizer of transformers makes them, row by row."""

    def __init__(self, tokenizer: Any, pair: bool):
        self.tokenizer = tokenizer
        whole = tokenizer.build_inputs_with_special_tokens([-1], [-2] if pair else None)
        self.before, self.count = whole.index(-1), len(whole) - (2 if pair else 1)
        self.typed = "token_type_ids" in getattr(tokenizer, "model_input_names", ("token_type_ids",))

    def join(self, first: List[int], second: Optional[List[int]]) -> Tuple[List[int], Optional[List[int]]]:
        types = self.tokenizer.create_token_type_ids_from_sequences(first, second) if self.typed else None
        return self.tokenizer.build_inputs_with_special_tokens(first, second), types


def _specials(tokenizer: Any, pair: bool) -> Any:
    old = hasattr(tokenizer, "add_special_tokens_single_sentence")
    return (_LegacySpecialTokens if old else _NewSpecials)(tokenizer, pair)


def count_special_tokens(tokenizer: Any, pair: bool) -> int:
    return _specials(tokenizer, pair).count if _is_slow(tokenizer) else tokenizer.num_special_tokens_to_add(pair)


# -- the two kinds of tokenizer ------------------------------------------------------------------------------------


class _TokenizationJob:
    """What `TextEncoder.encode` was given; called with a span of rows."""

    def __init__(
        self,
        tokenizer: Any,
        max_length: int,
        firsts: List[Any],
        seconds: Optional[List[str]],
        is_split_into_words: bool,
    ):
        self.tokenizer, self.max_length, self.firsts, self.seconds, self.is_split_into_words = (
            tokenizer,
            max_length,
            firsts,
            seconds,
            is_split_into_words,
        )

    def can_use_processes(self) -> bool:
        return False

    def preserve_tokenizer_settings(self) -> Any:
        return _preserve_backend_settings(self.tokenizer)


class _FastTokenizerJob(_TokenizationJob):
    """The tokenizer's own call for many texts; Rust threads inside it."""

    rows = CHUNK_ROWS_FAST

    def __call__(self, span: Span) -> List[EncodedText]:
        firsts = self.firsts[slice(*span)]
        seconds = None if self.seconds is None else self.seconds[slice(*span)]
        if not self.is_split_into_words and self._can_skip_offsets(firsts, seconds):
            return self._encode_without_offsets(firsts, seconds)
        return self._call_tokenizer(firsts, seconds)

    def _call_tokenizer(self, firsts: List[Any], seconds: Optional[List[str]]) -> List[EncodedText]:
        made = self.tokenizer(
            self._add_leading_space(firsts) if self.is_split_into_words else firsts,
            seconds,
            truncation=True,
            max_length=self.max_length,
            is_split_into_words=self.is_split_into_words,
            padding=False,
            return_attention_mask=False,
        )
        types = made.get("token_type_ids") or [None] * len(firsts)
        words = (made.word_ids(i) if self.is_split_into_words else None for i in range(len(firsts)))
        return [_build_row(*parts) for parts in zip(made["input_ids"], types, words)]

    def _can_skip_offsets(self, firsts: List[Any], seconds: Optional[List[str]]) -> bool:
        """Whether the backend's call that leaves out where tokens stood (a third faster), gives the same."""
        if not hasattr(getattr(self.tokenizer, "backend_tokenizer", None), "encode_batch_fast"):
            return False
        rows = slice(0, None, max(1, len(firsts) // SAMPLED_ROWS))
        sample = firsts[rows], None if seconds is None else seconds[rows]
        return all(map(_is_same_row, self._call_tokenizer(*sample), self._encode_without_offsets(*sample)))

    def _encode_without_offsets(self, firsts: List[Any], seconds: Optional[List[str]]) -> List[EncodedText]:
        backend, typed = self.tokenizer.backend_tokenizer, "token_type_ids" in self.tokenizer.model_input_names
        backend.enable_truncation(self.max_length, direction=self.tokenizer.truncation_side)
        backend.no_padding()
        made = backend.encode_batch_fast(firsts if seconds is None else list(zip(firsts, seconds)))
        return [_build_row(one.ids, one.type_ids if typed else None, None) for one in made]

    def _add_leading_space(self, texts: List[List[str]]) -> List[List[str]]:
        space = _find_leading_space(lambda text: self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return [[_add_leading_space(word, i, space) for i, word in enumerate(text)] for text in texts]


class _SlowTokenizerJob(_TokenizationJob):
    """Tokens of one text after the other; what is known of a word is remembered as long as the call lasts."""

    rows = CHUNK_ROWS_SLOW

    def __init__(
        self,
        tokenizer: Any,
        max_length: int,
        firsts: List[Any],
        seconds: Optional[List[str]],
        is_split_into_words: bool,
    ):
        super().__init__(_copy_with_own_caches(tokenizer), max_length, firsts, seconds, is_split_into_words)
        self.specials = _specials(self.tokenizer, seconds is not None)
        self.room = max_length - self.specials.count
        self.from_left = getattr(tokenizer, "truncation_side", "right") == "left"
        self.special_tokens = {*getattr(tokenizer, "added_tokens_encoder", ()), *tokenizer.all_special_tokens}
        self.cache: Dict[str, List[int]] = {}
        self.space = _find_leading_space(self._encode_whole) if is_split_into_words else ""
        self.by_chunk = (
            not is_split_into_words and len(firsts) >= MIN_TEXTS_FOR_CHUNKS and self._chunks_are_independent()
        )

    def can_use_processes(self) -> bool:
        texts = chain(self.firsts, self.seconds or ())
        size = sum(sum(map(len, text)) if self.is_split_into_words else len(text) for text in texts)
        if size < (MIN_CHARS_FOR_PROCESSES_CACHED if self.by_chunk else MIN_CHARS_FOR_PROCESSES) or not can_fork():
            return False
        return _is_picklable(self.tokenizer)

    def __call__(self, span: Span) -> List[EncodedText]:
        return [self._encode_row(i) for i in range(*span)]

    def _encode_row(self, i: int) -> EncodedText:
        words = None
        if self.is_split_into_words:
            first, words = self._encode_words(self.firsts[i])
        else:
            first = self._encode_text(self.firsts[i])
        second = None if self.seconds is None else self._encode_text(self.seconds[i])
        keep, keep_second = _truncated_lengths(self.room, len(first), len(second or ()))
        second = None if second is None else self._truncate(second, keep_second)
        ids, types = self.specials.join(self._truncate(first, keep), second)
        if words is not None:
            words = [-1] * self.specials.before + self._truncate(words, keep)
            words += [-1] * (len(ids) - len(words))
        return _build_row(ids, types, words)

    def _truncate(self, values: List[int], keep: int) -> List[int]:
        return values[max(len(values) - keep, 0) :] if self.from_left else values[:keep]

    def _encode_text(self, text: str) -> List[int]:
        return self._encode_chunks(text) if self.by_chunk and text.strip() else self._encode_whole(text)

    def _encode_words(self, words: List[str]) -> Tuple[List[int], List[int]]:
        pieces = [
            self._get_or_encode(_add_leading_space(word, i, self.space), self._encode_whole)
            for i, word in enumerate(words)
        ]
        return list(chain.from_iterable(pieces)), [i for i, piece in enumerate(pieces) for _ in piece]

    def _encode_chunks(self, text: str) -> List[int]:
        ids: List[int] = []
        for chunk in text.split(" "):
            ids += self._get_or_encode(chunk, self._encode_chunk)
            if len(ids) >= self.room and not self.from_left:
                break  # each chunk's tokens are appended, so those still to come would be cut off
        return ids

    def _get_or_encode(self, text: str, make: Callable[[str], List[int]]) -> List[int]:
        ids = self.cache.get(text)
        if ids is None:
            if len(self.cache) >= MAX_CACHED_WORDS:
                self.cache.clear()
            ids = self.cache[text] = make(text)
        return ids

    def _encode_chunk(self, chunk: str) -> List[int]:
        return self._convert_to_ids(self._tokenize_chunk(chunk))

    def _tokenize_chunk(self, chunk: str) -> List[str]:
        if any(token in chunk for token in self.special_tokens):
            return self._tokenize_text(chunk)
        return self.tokenizer._tokenize(chunk)  # `tokenize` looks for special tokens first, for long

    def _encode_whole(self, text: str) -> List[int]:
        return self._convert_to_ids(self._tokenize_text(text))

    def _tokenize_text(self, text: str) -> List[str]:
        tokens = self.tokenizer.tokenize(text) if text else []
        # Of a blank text pytorch-transformers makes a special token, whichever comes first out of a set.
        return [] if not text.strip() and self.special_tokens.issuperset(tokens) else tokens

    def _convert_to_ids(self, tokens: List[str]) -> List[int]:
        # One by one: given a list, the tokenizer warns at each one longer than its limit, also where it is cut.
        ids = [self.tokenizer.convert_tokens_to_ids(token) for token in tokens]
        if None in ids:
            raise InvalidInputError(
                f"the tokenizer has no id for {tokens[ids.index(None)]!r}; expected a vocabulary with "
                f"its unknown token, {self.tokenizer.unk_token!r}, in it"
            )
        return ids

    def _chunks_are_independent(self) -> bool:
        """Whether the words between spaces can be tokenised apart: where wordpieces follow a split on whitespace.

        Trying alone would not tell: sentencepiece differs by a rounding, Moses at the rare word.
        """
        if not (hasattr(self.tokenizer, "wordpiece_tokenizer") and hasattr(self.tokenizer, "_tokenize")):
            return False
        if any(" " in token for token in self.special_tokens):
            return False
        step = max(len(self.firsts) // 8, 1)
        sample = [text[:2000] for text in chain(PROBE_TEXTS, self.firsts[::step], (self.seconds or ())[::step])]
        return all(sum(map(self._tokenize_chunk, text.split(" ")), []) == self._tokenize_text(text) for text in sample)


def _copy_with_own_caches(tokenizer: Any) -> Any:
    """The tokenizer; or a shallow copy where it would remember, in itself, every word it has seen."""
    caches = {
        name: dict(value)
        for name, value in vars(tokenizer).items()
        if name.startswith("cache") and isinstance(value, dict)
    }
    if not caches:
        return tokenizer
    twin = copy.copy(tokenizer)
    vars(twin).update(caches)
    return twin


def _find_leading_space(tokens_of: Callable[[str], List[int]]) -> str:
    """What a word needs before it to get the pieces that it has within a text; byte-level ones carry the space."""
    first, both = list(tokens_of("a")), list(tokens_of("a a"))
    return " " if first + first != both and first + list(tokens_of(" a")) == both else ""


def _add_leading_space(word: str, i: int, space: str) -> str:
    return (space if i else "") + word if word.strip() else ""


def _truncated_lengths(room: int, first: int, second: int) -> Tuple[int, int]:
    """Tokens kept of each text, "longest first": the odd one is the first text's."""
    keep_second = min(second, max(room // 2, room - first))
    return min(first, room - keep_second), keep_second


def _build_row(ids: List[int], types: Optional[List[int]], words: Optional[List[Optional[int]]]) -> EncodedText:
    return EncodedText(
        np.array(ids, dtype=np.int32),
        np.array(types, dtype=np.int32) if types is not None and any(types) else None,
        None if words is None else np.array([-1 if w is None else w for w in words], dtype=np.int32),
    )


def _is_same_row(one: EncodedText, other: EncodedText) -> bool:
    return (
        np.array_equal(one.input_ids, other.input_ids)
        and (one.token_type_ids is None) == (other.token_type_ids is None)
        and (one.token_type_ids is None or np.array_equal(one.token_type_ids, other.token_type_ids))
    )


@contextmanager
def _preserve_backend_settings(tokenizer: Any) -> Iterator[None]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        yield
        return
    truncation, padding = backend.truncation, backend.padding
    try:
        yield
    finally:
        backend.enable_truncation(**truncation) if truncation else backend.no_truncation()
        backend.enable_padding(**padding) if padding else backend.no_padding()


def _is_picklable(tokenizer: Any) -> bool:
    try:  # one that cannot holds what a second process may not share
        pickle.dumps(tokenizer)
    except Exception:
        return False
    return True
