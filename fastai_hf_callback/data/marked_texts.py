"""Texts that hold a special token's string, told of with their rows before a model is trained. Imports numpy.

Between ``tables/`` (which knows the rows as the user does), ``encoding/`` and ``batches/``.
"""

import warnings
from typing import List, Sequence, Tuple

import numpy as np

from .batches.collate import TextCollator
from .batches.trial_batches import MarkedRows, choose_plain_row
from .encoding.special_token_scan import find_rows_with_special_tokens
from .encoding.tokenization import EncodedText
from .tables.examples import Examples
from .tables.splits import format_names

__all__ = ["describe_marked_texts", "warn_of_marked_texts"]


def warn_of_marked_texts(
    collator: TextCollator, splits: Sequence[Tuple[str, Examples, Sequence[EncodedText]]], stacklevel: int = 3
) -> None:
    """Warn of texts in which the tokenizer finds its special tokens, and let `collator` keep one for a trial.

    Parameters
    ----------
    collator : TextCollator
    splits : sequence of (str, Examples, sequence of EncodedText)
        Name, texts and rows of each split.
    """
    for line in [
        line for name, examples, rows in splits for line in describe_marked_texts(collator, name, examples, rows)
    ]:
        warnings.warn(line, stacklevel=stacklevel)


def describe_marked_texts(
    collator: TextCollator, name: str, examples: Examples, rows: Sequence[EncodedText]
) -> List[str]:
    """Describe the texts of a split that hold a special token's string, in one line."""
    texts = examples.texts if examples.pairs is None else examples.items
    found = find_rows_with_special_tokens(collator.encoder, rows, collator.encode_blank(), texts)
    if not found:
        return []
    marked = np.unique(np.concatenate(list(found.values())))
    where = examples.locate_rows(marked)
    plain = choose_plain_row(rows, marked)
    if plain is not None and collator.marked_rows is None:
        of_each = [rows[int(held[0])] for held in found.values()]
        collator.marked_rows = MarkedRows(plain, of_each, f"row(s) {where} hold {format_names(list(found))}")
    token, column = next(iter(found)), collator.columns[0]
    how = "text holds" if len(marked) == 1 else "texts hold"
    return [
        f"{len(marked)} of {len(rows)} {how} {format_names(list(found))} in {name}, row(s) {where}: the tokenizer "
        f"reads that as its own mark, not as words; to take it out, write {name}[{column!r}].str.replace({token!r}, "
        f"' ', regex=False)"
    ]
