"""Token types of pairs, where a tokenizer gives none: whether it could, asked by its interface."""

from typing import Any

from .tokenization import preserve_backend_settings

__all__ = ["suggest_token_types"]


def suggest_token_types(tokenizer: Any) -> str:
    """Return what to write before the texts are encoded, so that their pairs get token types.

    Parameters
    ----------
    tokenizer : a pytorch-transformers or transformers tokenizer
        One whose pairs have none. transformers' generic class leaves them out, whatever tokenizer it holds.
    """
    names = list(getattr(tokenizer, "model_input_names", ()))
    if names and "token_type_ids" not in names and _makes_types(tokenizer):
        return f"tokenizer.model_input_names = {[*names, 'token_type_ids']}"
    return "tokenizer = AutoTokenizer.from_pretrained(model_name)"  # another one: it knows no types


def _makes_types(tokenizer: Any) -> bool:
    """Return whether the tokenizer gives the second text of a pair another type when it is asked for types."""
    try:
        with preserve_backend_settings(tokenizer):
            return any(tokenizer("a", "a", return_token_type_ids=True)["token_type_ids"])
    except Exception:  # a tokenizer that cannot be asked makes none
        return False
