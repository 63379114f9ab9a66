"""Texts -> token ids once; batches padded on the right, with their mask. Imports torch; takes any tokenizer."""
from typing import Any, List, Sequence, Tuple

import torch
from torch import Tensor

from .errors import UnusableInput

__all__ = ["encode", "pad_batch"]


def encode(tokenizer: Any, texts: Sequence[str], max_len: int) -> List[List[int]]:
    """Token ids of each text, with the tokenizer's special tokens, cut to `max_len`.

    Parameters
    ----------
    tokenizer : a pytorch-transformers or transformers tokenizer
    texts : sequence of str
    max_len : int
        Tokens per text at most, special tokens included.

    Returns
    -------
    list of list of int
    """
    if callable(tokenizer):  # transformers: one call for all, fast tokenizers in parallel
        return tokenizer(list(texts), truncation=True, max_length=max_len)["input_ids"]
    special = len(tokenizer.add_special_tokens_single_sentence([]))
    room = max_len - special
    if room < 0:
        raise UnusableInput(f"max_len={max_len} was given; expected at least the tokenizer's {special} special tokens")
    ids = (tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))[:room] for text in texts)
    return [tokenizer.add_special_tokens_single_sentence(row) for row in ids]


def pad_batch(rows: Sequence[Sequence[int]], pad_id: int) -> Tuple[Tensor, Tensor]:
    """Pad on the right to the longest row.

    Returns
    -------
    input_ids, attention_mask : Tensor, int64, (batch, longest)
        The mask is 1 on tokens and 0 on padding.
    """
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad_id, dtype=torch.int64)
    mask = torch.zeros((len(rows), longest), dtype=torch.int64)
    for i, row in enumerate(rows):
        ids[i, :len(row)] = torch.as_tensor(row, dtype=torch.int64)
        mask[i, :len(row)] = 1
    return ids, mask
