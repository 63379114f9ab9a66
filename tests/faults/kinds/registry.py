"""``KINDS``: all kinds, from the modules that build them."""

from typing import List

from . import language_models, sentences, sequence_to_sequence, words
from .kind import Kind

__all__ = ["KINDS"]

KINDS: List[Kind] = [
    kind for module in (language_models, sequence_to_sequence, words, sentences) for kind in module.KINDS
]
