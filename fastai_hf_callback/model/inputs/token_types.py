"""Pairs of texts without token types, for a model that has them. Imports torch."""

import warnings
from typing import Any

from torch import nn

from fastai_hf_callback.data.batches.batch_spec import BatchSpec

from .forward_signature import ForwardSignature
from .padding_id import find_text_config

__all__ = ["warn_of_untyped_pairs"]


def warn_of_untyped_pairs(model: nn.Module, config: Any, signature: ForwardSignature, inputs: BatchSpec) -> None:
    """Warn where the model has types of tokens to tell the texts of a pair apart, and these batches bring none.

    Parameters
    ----------
    model : nn.Module
        Whose class is named.
    config : a Hugging Face config, or None
        One type (RoBERTa), or no word of types, needs no warning.
    signature : ForwardSignature
        Of the model.
    inputs : BatchSpec
    """
    types = getattr(find_text_config(config), "type_vocab_size", None)
    if not inputs.untyped_pairs or "token_type_ids" in inputs or not signature.knows("token_type_ids"):
        return
    if isinstance(types, int) and types > 1:
        warnings.warn(
            f"{type(model).__name__} has {types} types of tokens, and these pairs of texts come without "
            f"token_type_ids: all tokens of both texts are of type 0. If it was trained with types, as BERT is, write "
            f"{inputs.untyped_pairs} before text_data.",
            stacklevel=3,
        )
