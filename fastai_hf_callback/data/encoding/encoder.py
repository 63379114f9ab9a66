"""The encoder: texts -> token ids once, in bulk, for any Hugging Face tokenizer.

Imports numpy; takes a tokenizer by its interface.
"""

from contextlib import closing
from inspect import isclass
from itertools import chain
from textwrap import shorten
from typing import Any, Callable, Iterable, List, Optional, Sequence, cast

import numpy as np

from fastai_hf_callback.data.tables.columns import is_unicode
from fastai_hf_callback.errors import InvalidInputError

from .fast_tokenization import FastTokenizerJob
from .protocols import FastTokenizer, LegacyTokenizer, SlowTokenizer, Tokenizer
from .slow_tokenization import SlowTokenizerJob
from .special_tokens import count_special_tokens, find_padding_side, find_special_token, is_legacy, is_slow
from .tokenization import EncodedText, Texts, TokenizationJob, encode_in_chunks, preserve_backend_settings

__all__ = ["TextEncoder"]

NO_LIMIT = 1e6  # tokenizers write 1e12 or 1e30 for "none"

Progress = Callable[[Iterable[Any], int], Iterable[Any]]


class TextEncoder:
    """Texts -> token ids, as the tokenizer itself makes them, all at once.

    Fast tokenizers are called in chunks. Slow ones work in several processes where that pays, and where words are
    tokenised independently of each other each distinct word is tokenised once. The tokenizer stays as it is.

    Parameters
    ----------
    tokenizer : a pytorch-transformers or transformers tokenizer
    max_length : int
        Tokens per row at most, special tokens included. A text's end is cut; of a pair, the longer one's.
    tokenizer_workers : int, optional
        Processes for a slow tokenizer; by default one per core that this process may use, 1 for none.

    Attributes
    ----------
    pad_token_id : int or None
        What ids are to be padded with; None for a tokenizer without a padding token (``check_padding_token``).
    pad_token_type_id : int
        What types are to be padded with.
    padding_side : str
        ``"right"`` or ``"left"``.
    vocab_size : int
        One above the highest id that the tokenizer can give.

    Raises
    ------
    InvalidInputError
        When `tokenizer` is none, or `max_length` fits neither its special tokens nor its limit.
    """

    def __init__(self, tokenizer: Any, max_length: int = 128, tokenizer_workers: Optional[int] = None):
        _check_tokenizer(tokenizer)
        _check_integer("max_length", max_length)
        _check_integer("tokenizer_workers", 1 if tokenizer_workers is None else tokenizer_workers)
        self.tokenizer, self.max_length, self.tokenizer_workers = tokenizer, max_length, tokenizer_workers
        _check_special_tokens_fit(tokenizer, max_length, pair=False)
        _check_model_max_length(tokenizer, max_length)
        self.pad_token_id = _find_pad_token_id(tokenizer)
        self.pad_token_type_id = int(getattr(tokenizer, "pad_token_type_id", 0) or 0)
        self.padding_side = find_padding_side(tokenizer)

    @property
    def vocab_size(self) -> int:
        highest = max(self.tokenizer.get_vocab().values()) if hasattr(self.tokenizer, "get_vocab") else -1
        return max(len(self.tokenizer), highest + 1)

    def check_padding_token(self) -> int:
        """Return ``pad_token_id``; refuse a tokenizer without one.

        The mask hides padding from a model's layers, but not from a head that looks for a text's last token: padded
        with the id of a word, it would stop before that word. So no id is made up.

        Raises
        ------
        InvalidInputError
        """
        if self.pad_token_id is not None:
            return self.pad_token_id
        pad, end = (find_special_token(self.tokenizer, name) for name in ("pad", "eos"))
        lacks = "no padding token" if pad is None else f"no id for its padding token {pad!r}"
        use_end = "" if end is None or pad is not None else "tokenizer.pad_token = tokenizer.eos_token, or "
        raise InvalidInputError(
            f"{type(self.tokenizer).__name__} has {lacks}; expected one, which batches are padded with; write "
            f"{use_end}tokenizer.add_special_tokens({{'pad_token': {pad or '[PAD]'!r}}}) and "
            f"model.resize_token_embeddings(len(tokenizer))"
        )

    def encode(
        self, texts: Sequence[Any], pairs: Optional[Sequence[str]] = None, progress: Optional[Progress] = None
    ) -> List[EncodedText]:
        """Return the token ids of every text, in their order.

        Parameters
        ----------
        texts : sequence of str, or of lists of str
            Whole texts; or each text's words, for a label per token.
        pairs : sequence of str, optional
            The second text of each row.
        progress : callable, optional
            ``progress(iterable, total)`` returns an iterable of the same; it wraps the chunks.

        Returns
        -------
        list of EncodedText
            A blank text has no tokens but the special ones. (`tokenize` of pytorch-transformers makes of it a
            special token that differs from one Python process to the next.)

        Raises
        ------
        InvalidInputError
            When a text is not str, or `pairs` does not fit.
        """
        valid_texts = _validate_texts(texts, pairs)
        if valid_texts.seconds is not None:
            _check_special_tokens_fit(self.tokenizer, self.max_length, pair=True)
        job: TokenizationJob[Any] = (
            SlowTokenizerJob(cast(SlowTokenizer, self.tokenizer), self.max_length, valid_texts)
            if is_slow(self.tokenizer)
            else FastTokenizerJob(cast(FastTokenizer, self.tokenizer), self.max_length, valid_texts)
        )
        parts, total = encode_in_chunks(job, self.tokenizer_workers)
        with preserve_backend_settings(self.tokenizer), closing(parts):
            return list(chain.from_iterable(progress(parts, total) if progress else parts))

    def decode(self, ids: Iterable[int]) -> str:
        """Decode to readable text; special tokens stay visible, and so does padding."""
        ids = [int(i) for i in ids]
        if is_legacy(self.tokenizer):
            return _decode_pytorch_transformers(cast(LegacyTokenizer, self.tokenizer), ids)
        return self.tokenizer.decode(ids, skip_special_tokens=False)


# -- what pytorch-transformers' tokenizers lack --------------------------------------------------------------------


def _find_pad_token_id(tokenizer: Tokenizer) -> Optional[int]:
    """Return the id of the padding token; None where there is no such token, or it is not in the vocabulary."""
    pad, unknown = find_special_token(tokenizer, "pad"), find_special_token(tokenizer, "unk")
    number = None if pad is None else tokenizer.convert_tokens_to_ids(pad)
    of_unknown = None if unknown is None or unknown == pad else tokenizer.convert_tokens_to_ids(unknown)
    return None if number is None or number == of_unknown else int(number)


def _decode_pytorch_transformers(tokenizer: LegacyTokenizer, ids: List[int]) -> str:
    # Its own decode cuts the text at each [SEP]. Added tokens are kept apart from byte-level pieces, as there.
    parts: List[str] = []
    run: List[str] = []
    for token in tokenizer.convert_ids_to_tokens(ids):
        if token in tokenizer.added_tokens_encoder or token in tokenizer.all_special_tokens:
            parts += [tokenizer.convert_tokens_to_string(run).strip(), token]
            run = []
        else:
            run.append(token)
    return " ".join(filter(None, [*parts, tokenizer.convert_tokens_to_string(run).strip()]))


# -- what cannot be used -------------------------------------------------------------------------------------------


def _check_tokenizer(tokenizer: Any) -> None:
    if isclass(tokenizer) or not all(
        callable(getattr(tokenizer, name, None))
        for name in ("tokenize", "convert_tokens_to_ids", "convert_ids_to_tokens")
    ):
        given = (
            f"the class {tokenizer.__name__}"
            if isclass(tokenizer)
            else f"{_shorten_repr(tokenizer)} ({type(tokenizer).__name__})"
        )
        raise InvalidInputError(
            f"{given} was given as tokenizer; expected a tokenizer of pytorch-transformers or "
            f"transformers; write AutoTokenizer.from_pretrained(name)"
        )


def _check_integer(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidInputError(f"{name}={value!r} was given; expected a whole number")
    if name == "tokenizer_workers" and value < 1:
        raise InvalidInputError(
            f"tokenizer_workers={value} was given; expected at least 1; write tokenizer_workers=1 for no processes"
        )


def _check_special_tokens_fit(tokenizer: Tokenizer, max_length: int, pair: bool) -> None:
    count = count_special_tokens(tokenizer, pair)
    if max_length < count or max_length < 1:
        raise InvalidInputError(
            f"max_length={max_length} was given; expected at least 1 and the tokenizer's {count} special "
            f"tokens{' of a pair' * pair}; write max_length={count + 1} or more"
        )


def _check_model_max_length(tokenizer: Tokenizer, max_length: int) -> None:
    limit = getattr(tokenizer, "model_max_length", None) or getattr(tokenizer, "max_len", None)
    if isinstance(limit, (int, float)) and max_length > limit and limit < NO_LIMIT:
        raise InvalidInputError(
            f"max_length={max_length} was given, and the tokenizer's own limit is {int(limit)} tokens; "
            f"write max_length={int(limit)} or less"
        )


def _validate_texts(texts: Any, pairs: Any) -> Texts:
    """Return texts and pairs as lists, and whether the texts are lists of words."""
    firsts = _as_list("texts", texts)
    is_split_into_words = bool(firsts) and isinstance(firsts[0], (list, tuple))
    if is_split_into_words:
        _raise_for_bad_texts(
            firsts,
            [i for i, text in enumerate(firsts) if not _is_word_list(text)],
            "texts",
            "list of str",
            "as the first one is, a list of words, for each",
        )
        firsts = [list(text) for text in firsts]
    else:
        _check_strings("texts", firsts)
    if pairs is None:
        return Texts(firsts, None, is_split_into_words)
    if is_split_into_words:
        raise InvalidInputError(
            "texts of words and pairs were given; expected pairs only next to texts that are str; write pairs=None"
        )
    seconds = _as_list("pairs", pairs)
    if len(seconds) != len(firsts):
        raise InvalidInputError(
            f"{len(firsts)} texts and {len(seconds)} pairs were given; expected one pair for each text"
        )
    _check_strings("pairs", seconds)
    return Texts(firsts, seconds, is_split_into_words)


def _as_list(name: str, texts: Any) -> List[Any]:
    if isinstance(texts, (str, bytes)) or not hasattr(texts, "__iter__"):
        raise InvalidInputError(
            f"{name} is {_shorten_repr(texts)}; expected a sequence of str; write [text] for a single one"
        )
    if getattr(texts, "ndim", 1) != 1:  # a DataFrame would give the names of its columns
        raise InvalidInputError(
            f"{name} is a {type(texts).__name__} of {texts.ndim} dimensions; expected a sequence of "
            "str; write dataframe[column]"
        )
    return list(texts)


def _check_strings(name: str, texts: List[Any]) -> None:
    _raise_for_bad_texts(
        texts,
        [i for i, text in enumerate(texts) if not isinstance(text, str)],
        name,
        "str",
        "dataframe[column].fillna('').astype(str) to keep such rows, or leave them out",
    )
    _raise_for_bad_texts(
        texts,
        [i for i, text in enumerate(texts) if not is_unicode(text)],
        name,
        "Unicode, with half a character (a lone surrogate)",
        "text.encode('utf-8', 'replace').decode() in their place",
    )


def _is_word_list(text: Any) -> bool:
    return isinstance(text, (list, tuple)) and all(isinstance(word, str) for word in text)


def _raise_for_bad_texts(texts: List[Any], bad: List[int], name: str, expected: str, advice: str) -> None:
    if bad:
        where = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        first = texts[bad[0]]
        raise InvalidInputError(
            f"{len(bad)} of {len(texts)} {name} are not {expected} (positions {where}; the first is "
            f"{_shorten_repr(first)}, {type(first).__name__}); write {advice}"
        )


def _shorten_repr(value: Any) -> str:
    if getattr(value, "ndim", 0) == 2:
        return f"a table of {len(value)} rows"
    return shorten(repr(value), 60, placeholder=" ...")
