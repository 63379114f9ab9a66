"""Questions with their contexts -> token ids that know where they stand, and answers as positions of tokens.

Stands on ``feeding.py``. A context is cut where it does not fit, a question never; an answer that is cut off with it is
no target.
"""
from itertools import chain
from textwrap import shorten
from typing import Any, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from fastai_hf_callback.errors import UnusableInput
from .padding import IGNORED
from fastai_hf_callback.data.encoding.encoder import TextEncoder
from .collate import Feeding
from fastai_hf_callback.data.encoding.tokenization import ROWS_FAST, count_specials, job_for

__all__ = ["CUT_OFF", "Passage", "PassageFeeding"]

CUT_OFF = "(cut off)"  # shown where the context was cut before the answer's end
OUTSIDE = -1


class Passage(NamedTuple):
    """A question and its context, encoded.

    Attributes
    ----------
    ids, types, words
        As of ``Encoded``; `words` is None.
    begins, ends : ndarray, int32, (length,)
        The characters of `context` that each token stands for, the end excluded; -1 outside the context.
    context : str
    before : int
        Padding in front of the row, in the batch that it was taken from.
    """

    ids: np.ndarray
    types: Optional[np.ndarray]
    words: None
    begins: np.ndarray
    ends: np.ndarray
    context: str
    before: int = 0


class PassageFeeding(Feeding):
    """``Feeding`` of (question, context): its targets are the first and the last token of each answer.

    Parameters
    ----------
    encoder : TextEncoder
        Of a fast tokenizer, which tells where its tokens stand.
    progress, columns
        As of ``Feeding``.

    Raises
    ------
    UnusableInput
        When the tokenizer is a slow one.
    """

    def __init__(self, encoder: TextEncoder, progress: Any = None, columns: Sequence[str] = ("question", "context")):
        super().__init__(encoder, paired=True, progress=progress, columns=columns)
        if not getattr(encoder.tokenizer, "is_fast", False):
            raise UnusableInput(f"{type(encoder.tokenizer).__name__} is a slow tokenizer, which does not tell where "
                                f"its tokens stand; expected a fast one for task 'answer': write "
                                f"AutoTokenizer.from_pretrained(name)")

    @property
    def per_position(self) -> bool:
        return True

    # -- texts -> rows -----------------------------------------------------------------------------

    def encoded(self, items: Sequence[Any]) -> List[Passage]:
        """Rows of (question, context); rows are taken as they are."""
        if not items or isinstance(items[0], Passage):
            return list(items)
        spans = [slice(at, at + ROWS_FAST) for at in range(0, len(items), ROWS_FAST)]
        job = job_for(self.encoder.tokenizer, self.encoder.max_len, [], None, False)
        with job.settings_kept():
            parts = (self._encoded(items[span]) for span in spans)
            return list(chain.from_iterable(self.progress(parts, len(spans)) if self.progress else parts))

    def _encoded(self, items: Sequence[Tuple[str, str]]) -> List[Passage]:
        tokenizer, max_len = self.encoder.tokenizer, self.encoder.max_len
        questions, contexts = map(list, zip(*items))
        _refuse_long_questions(tokenizer, max_len, questions)
        made = tokenizer(questions, contexts, truncation="only_second", max_length=max_len, padding=False,
                         return_offsets_mapping=True, return_attention_mask=False)
        types = made.get("token_type_ids") or [None] * len(items)
        return [_passage(made["input_ids"][at], types[at], made["offset_mapping"][at], made.sequence_ids(at), context)
                for at, context in enumerate(contexts)]

    def encoded_to_predict(self, item: Any, write: str) -> Passage:
        row = super().encoded_to_predict(item, write)
        self.predicted = (row, 0)
        return row

    # -- answers -> targets ------------------------------------------------------------------------

    def targets(self, rows: Sequence[Passage], labels: Sequence[Any], width: Optional[int] = None) -> Tensor:
        """First and last token of each answer, int64 ``(rows, 2)``; -100 where it was cut off.

        Parameters
        ----------
        rows : sequence of Passage
        labels : sequence of (int, int)
            As ``answers.read_answers`` gives them. Without an answer both are the tokenizer's first special token
            (``cls_token``), as in SQuAD 2.
        width : int, optional
        """
        width = max(len(row.ids) for row in rows) if width is None else width
        return torch.from_numpy(np.stack([self._target(row, label, width) for row, label in zip(rows, labels)]))

    def _target(self, row: Passage, label: Any, width: int) -> np.ndarray:
        span = _tokens_of(row, *label) if label[0] >= 0 else (self._nowhere(row),) * 2
        if span is None:
            return np.full(2, IGNORED, dtype=np.int64)
        before = width - len(row.ids) if self.padding.side == "left" else 0
        return np.array(span, dtype=np.int64) + before

    def _nowhere(self, row: Passage) -> int:
        found = np.flatnonzero(row.ids == self.encoder.tokenizer.cls_token_id)
        return int(found[0]) if len(found) else 0

    def say_cut_off(self, rows: Sequence[Passage], labels: Optional[Sequence[Any]], split: str) -> List[str]:
        """A line for the user if there are answers in `split` that the tokens do not hold to their end.

        Raises
        ------
        UnusableInput
            When all answers of train are cut off.
        """
        given = [(row, label) for row, label in zip(rows, () if labels is None else labels) if label[0] >= 0]
        cut = [row for row, label in given if _tokens_of(row, *label) is None]
        if not cut:
            return []
        what = (f"{len(cut)} of {len(given)} answer(s) of {split} are cut off with their contexts at "
                f"max_len={self.encoder.max_len} tokens (the first context: {shorten(cut[0].context, 60)!r})")
        if split == "train" and len(cut) == len(rows):
            raise UnusableInput(f"{what}: there is nothing to learn; write a larger max_len, or cut the contexts apart")
        return [f"{what}: they train nothing, and metrics count them as missed; write a larger max_len, or cut the "
                f"contexts apart"]

    # -- tensors -> rows and answers ---------------------------------------------------------------

    def row_of(self, tensors: Sequence[Tensor], rows: Iterable[Passage]) -> Tuple[Any, int]:
        row, _ = super().row_of(tensors, rows)
        real = dict(zip(self.names, tensors))["attention_mask"] > 0
        known = chain([] if self.predicted is None else [self.predicted[0]], rows)
        found = next((one for one in known if np.array_equal(one.ids, row.ids)), None)
        return row if found is None else found._replace(before=int(real.nonzero()[0])), 0

    def answer(self, row: Any, span: Sequence[int]) -> str:
        """The text between two positions of a row of a batch, both included; empty outside the context."""
        first, last = (int(position) for position in span)
        if first == IGNORED:
            return CUT_OFF
        first, last = first - row.before, min(last - row.before, len(row.ids) - 1)
        inside = [at for at in range(max(first, 0), last + 1) if row.begins[at] != OUTSIDE]
        if not inside or row.begins[max(first, 0)] == OUTSIDE:
            return ""
        return row.context[row.begins[inside[0]]:row.ends[inside[-1]]].strip()


def _passage(ids: List[int], types: Optional[List[int]], offsets: Sequence[Tuple[int, int]],
             texts: Sequence[Optional[int]], context: str) -> Passage:
    inside = np.array([text == 1 for text in texts])
    begins, ends = np.array(offsets, dtype=np.int32).reshape(-1, 2).T
    return Passage(np.array(ids, dtype=np.int32),
                   np.array(types, dtype=np.int32) if types is not None and any(types) else None, None,
                   np.where(inside, begins, OUTSIDE), np.where(inside, ends, OUTSIDE), context)


def _tokens_of(row: Passage, begin: int, end: int) -> Optional[Tuple[int, int]]:
    """The first and the last token of these characters; None where the context was cut before their end."""
    inside = np.flatnonzero(row.ends > row.begins)
    if not len(inside) or begin < row.begins[inside[0]] or end > row.ends[inside[-1]]:
        return None
    return int(inside[row.ends[inside] > begin][0]), int(inside[row.begins[inside] < end][-1])


def _refuse_long_questions(tokenizer: Any, max_len: int, questions: List[str]) -> None:
    lengths = [len(ids) for ids in tokenizer(questions, add_special_tokens=False)["input_ids"]]
    longest = int(np.argmax(lengths))
    needed = lengths[longest] + count_specials(tokenizer, pair=True) + 1
    if needed > max_len:
        raise UnusableInput(f"max_len={max_len} was given, and the question {shorten(questions[longest], 60)!r} has "
                            f"{lengths[longest]} tokens; expected room for it and some of its context: write a max_len "
                            f"well above {needed}")
