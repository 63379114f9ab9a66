"""What a tokenizer tells about a model's ids: words that it does not know, and whether texts were truncated.

Imports torch; the tokenizer is used by its interface.
"""

from typing import Any, List, Optional, Sequence

import torch

from fastai_hf_callback.results.evidence import Inputs
from fastai_hf_callback.utils.protocols import TokenizerLike

from .inputs import TokenView

__all__ = ["add_tokenizer_evidence", "find_fastai_tokens"]

COMMON_TOKENS = {"xxpad", "xxunk"}  # any tokenizer has these two, under another name


def add_tokenizer_evidence(evidence: Inputs, views: List[TokenView], tokenizer: TokenizerLike, max_length: int) -> None:
    """Add ``unknown_share`` to `evidence`; texts of one length below `max_length` were not truncated.

    Parameters
    ----------
    evidence : Inputs
    views : list of TokenView
        Views of batches that this tokenizer encoded.
    tokenizer : TokenizerLike
        Of either Hugging Face library.
    max_length : int
        To how many tokens it truncates.
    """
    if evidence.length < max_length:
        evidence.truncated_share = 0.0
    unknown = _token_id(tokenizer, "unk_token")
    others = {_token_id(tokenizer, name) for name in ("pad_token", "cls_token", "sep_token", "bos_token", "eos_token")}
    if unknown is None or unknown in others:  # GPT-2's is its end of text: it has a token for every byte
        return
    ids = torch.cat([view.ids.reshape(-1) for view in views])
    words = ids[~torch.tensor([int(i) in others for i in ids.tolist()])]
    evidence.unknown_share = float((words == unknown).float().mean()) if len(words) else None


def _token_id(tokenizer: TokenizerLike, name: str) -> Optional[int]:
    token = tokenizer.special_tokens_map.get(name)  # reading the attribute of a token that is not set logs an error
    found = None if token is None else tokenizer.convert_tokens_to_ids(str(token))
    return found if isinstance(found, int) else None


def find_fastai_tokens(words: Sequence[Any], views: List[TokenView]) -> List[str]:
    """Find fastai's own special tokens in the texts."""
    used = {int(token) for view in views for token in view.ids.unique().tolist()}
    return sorted({str(words[i]) for i in used if i < len(words) and str(words[i]).startswith("xx")} - COMMON_TOKENS)
