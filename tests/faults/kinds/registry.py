"""``KINDS``: all kinds, from the modules that build them."""

from typing import List

from . import language_models, pictures, sentences, sequence_to_sequence, sounds, words
from .kind import Kind

__all__ = ["KINDS"]

KINDS: List[Kind] = [
    kind
    for module in (language_models, sequence_to_sequence, words, sentences, pictures, sounds)
    for kind in module.KINDS
]
