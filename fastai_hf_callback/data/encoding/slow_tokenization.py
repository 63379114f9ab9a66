"""Tokenization with a slow tokenizer, text by text; the pieces of each word are cached. Imports numpy."""

import copy
import pickle
from itertools import chain
from typing import Callable, Dict, List, Tuple

from fastai_hf_callback.errors import InvalidInputError

from .multiprocess import Span, can_fork
from .protocols import SlowTokenizer
from .special_tokens import make_special_tokens
from .tokenization import EncodedText, Texts, TokenizationJob, add_leading_space, build_row, find_leading_space

__all__ = ["SlowTokenizerJob"]

CHUNK_ROWS_SLOW = 500  # rows per chunk: memory stays linear, and progress shows
# Characters; below, starting processes takes longer than they save. Where words are remembered, each has to learn them.
MIN_CHARS_FOR_PROCESSES, MIN_CHARS_FOR_PROCESSES_CACHED = 500_000, 2_000_000
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


class SlowTokenizerJob(TokenizationJob[SlowTokenizer]):
    """Tokenization of one text after the other; the pieces of each word are cached while the call lasts."""

    rows = CHUNK_ROWS_SLOW

    def __init__(self, tokenizer: SlowTokenizer, max_length: int, texts: Texts):
        super().__init__(_copy_with_own_caches(tokenizer), max_length, texts)
        self.specials = make_special_tokens(self.tokenizer, self.seconds is not None)
        self.room = max_length - self.specials.count
        self.from_left = getattr(tokenizer, "truncation_side", "right") == "left"
        self.special_tokens = {*getattr(tokenizer, "added_tokens_encoder", ()), *tokenizer.all_special_tokens}
        self.cache: Dict[str, List[int]] = {}
        self.space = find_leading_space(self._encode_whole) if self.is_split_into_words else ""
        self.by_chunk = (
            not self.is_split_into_words and len(self.firsts) >= MIN_TEXTS_FOR_CHUNKS and self._chunks_are_independent()
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
        return build_row(ids, types, words)

    def _truncate(self, values: List[int], keep: int) -> List[int]:
        return values[max(len(values) - keep, 0) :] if self.from_left else values[:keep]

    def _encode_text(self, text: str) -> List[int]:
        return self._encode_chunks(text) if self.by_chunk and text.strip() else self._encode_whole(text)

    def _encode_words(self, words: List[str]) -> Tuple[List[int], List[int]]:
        pieces = [
            self._get_or_encode(add_leading_space(word, i, self.space), self._encode_whole)
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
        """Return whether words between spaces can be tokenised separately: wordpieces after a split on whitespace.

        A trial alone would not show it: sentencepiece differs by a rounding, Moses at the rare word.
        """
        if not (hasattr(self.tokenizer, "wordpiece_tokenizer") and hasattr(self.tokenizer, "_tokenize")):
            return False
        if any(" " in token for token in self.special_tokens):
            return False
        step = max(len(self.firsts) // 8, 1)
        sample = [text[:2000] for text in chain(PROBE_TEXTS, self.firsts[::step], (self.seconds or ())[::step])]
        return all(sum(map(self._tokenize_chunk, text.split(" ")), []) == self._tokenize_text(text) for text in sample)


def _copy_with_own_caches(tokenizer: SlowTokenizer) -> SlowTokenizer:
    """Return the tokenizer; or a shallow copy, where it would cache every word it has seen in itself."""
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


def _truncated_lengths(room: int, first: int, second: int) -> Tuple[int, int]:
    """Return how many tokens are kept of each text, "longest first": the odd one is the first text's."""
    keep_second = min(second, max(room // 2, room - first))
    return min(first, room - keep_second), keep_second


def _is_picklable(tokenizer: SlowTokenizer) -> bool:
    try:  # one that cannot holds what a second process may not share
        pickle.dumps(tokenizer)
    except Exception:
        return False
    return True
