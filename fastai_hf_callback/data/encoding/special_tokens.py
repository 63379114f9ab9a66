"""Special tokens around a text or a pair, and the side on which a tokenizer pads: the tokenizer itself is asked."""

from typing import List, Optional, Tuple, Union, cast

from .protocols import FastTokenizer, LegacyTokenizer, Tokenizer, TransformersSlowTokenizer

__all__ = [
    "SpecialTokenTemplate",
    "SpecialTokens",
    "count_special_tokens",
    "find_padding_side",
    "find_special_token",
    "is_legacy",
    "is_slow",
    "make_special_tokens",
]


def is_slow(tokenizer: Tokenizer) -> bool:
    """Return whether the tokenizer works in Python, text by text."""
    return not getattr(tokenizer, "is_fast", False) and (
        is_legacy(tokenizer) or hasattr(tokenizer, "build_inputs_with_special_tokens")
    )


def is_legacy(tokenizer: Tokenizer) -> bool:
    """Return whether the tokenizer is one of pytorch-transformers."""
    return hasattr(tokenizer, "add_special_tokens_single_sentence")


def find_padding_side(tokenizer: Tokenizer) -> str:
    """Return ``"left"`` or ``"right"``; pytorch-transformers' tokenizers do not say it, their special tokens do."""
    side: Optional[str] = getattr(tokenizer, "padding_side", None)
    if side is not None:
        return side
    frame = SpecialTokenTemplate(cast(LegacyTokenizer, tokenizer))
    return "left" if not frame.before and frame.cls is not None and frame.after[-1:] == [frame.cls] else "right"


def count_special_tokens(tokenizer: Tokenizer, pair: bool) -> int:
    """Count the special tokens that a text, or a pair, gets."""
    if is_slow(tokenizer):
        return make_special_tokens(tokenizer, pair).count
    return cast(FastTokenizer, tokenizer).num_special_tokens_to_add(pair)


def make_special_tokens(tokenizer: Tokenizer, pair: bool) -> "SpecialTokens":
    """Make the object that puts special tokens around the texts of a slow tokenizer."""
    if is_legacy(tokenizer):
        return LegacySpecialTokens(cast(LegacyTokenizer, tokenizer), pair)
    return RowSpecialTokens(cast(TransformersSlowTokenizer, tokenizer), pair)


def find_special_token(tokenizer: Tokenizer, name: str) -> Optional[str]:
    """Return the special token of this name (``"pad"``, ``"eos"``, ..), None without; pytorch-transformers logs an
    error when asked for one that it has not."""
    token = getattr(tokenizer, f"_{name}_token" if is_legacy(tokenizer) else f"{name}_token", None)
    return None if token is None else str(token)


def _special_id(tokenizer: Tokenizer, name: str) -> Optional[int]:
    token = getattr(tokenizer, f"_{name}_token", None)
    return None if token is None else tokenizer.convert_tokens_to_ids(token)


class SpecialTokenTemplate:
    """The positions of pytorch-transformers' special tokens, found once, with a mark for each text."""

    def __init__(self, tokenizer: LegacyTokenizer, pair: bool = False):
        self.cls, self.sep = _special_id(tokenizer, "cls"), _special_id(tokenizer, "sep")
        whole = self._encode_whole(tokenizer, pair)
        first, last = whole.index(-1), whole.index(-2 if pair else -1)
        self.before, self.between, self.after = whole[:first], whole[first + 1 : last], whole[last + 1 :]
        self.count = len(whole) - (2 if pair else 1)

    @staticmethod
    def _encode_whole(tokenizer: LegacyTokenizer, pair: bool) -> List[int]:
        one, two = tokenizer.add_special_tokens_single_sentence, tokenizer.add_special_tokens_sentences_pair
        if getattr(two if pair else one, "__qualname__", "").startswith("PreTrainedTokenizer."):
            return [-1, -2] if pair else [-1]  # the base class's adds nothing, and logs a warning at each call
        return two([-1], [-2]) if pair else one([-1])

    def has_segments(self) -> bool:
        """Return whether a pair has a separator after each text and a cls token of its own, as in BERT and XLNet.

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


class LegacySpecialTokens:
    """Special tokens and types as pytorch-transformers 1.2 and its models have them."""

    def __init__(self, tokenizer: LegacyTokenizer, pair: bool):
        self.frame = SpecialTokenTemplate(tokenizer, pair)
        # DistilBERT's tokenizer is BERT's in all but its class, and its model takes no types: only the name shows it.
        named = any("DistilBert" in kind.__name__ for kind in type(tokenizer).__mro__)
        self.typed = not named and (self.frame if pair else SpecialTokenTemplate(tokenizer, True)).has_segments()
        self.before, self.count = len(self.frame.before), self.frame.count

    def join(self, first: List[int], second: Optional[List[int]]) -> Tuple[List[int], Optional[List[int]]]:
        return self.frame.join(first, second), self.frame.types(first, second) if self.typed else None


class RowSpecialTokens:
    """Special tokens and types as a slow tokenizer of transformers makes them, row by row."""

    def __init__(self, tokenizer: TransformersSlowTokenizer, pair: bool):
        self.tokenizer = tokenizer
        whole = tokenizer.build_inputs_with_special_tokens([-1], [-2] if pair else None)
        self.before, self.count = whole.index(-1), len(whole) - (2 if pair else 1)
        self.typed = "token_type_ids" in getattr(tokenizer, "model_input_names", ("token_type_ids",))

    def join(self, first: List[int], second: Optional[List[int]]) -> Tuple[List[int], Optional[List[int]]]:
        types = self.tokenizer.create_token_type_ids_from_sequences(first, second) if self.typed else None
        return self.tokenizer.build_inputs_with_special_tokens(first, second), types


SpecialTokens = Union[LegacySpecialTokens, RowSpecialTokens]
