"""Questions with their contexts -> token ids with their character offsets, and answers as positions of tokens.

Built on ``collate.py``. A context is cut where it does not fit, a question never; an answer that is cut off with it is
no target.
"""

from itertools import chain
from textwrap import shorten
from typing import Any, Iterable, List, Optional, Sequence, Tuple, cast

import numpy as np
import torch
from torch import Tensor

from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.data.encoding.fast_tokenization import CHUNK_ROWS_FAST
from fastai_hf_callback.data.encoding.protocols import FastTokenizer
from fastai_hf_callback.data.encoding.special_tokens import count_special_tokens
from fastai_hf_callback.data.encoding.tokenization import Context, EncodedText, build_row, preserve_backend_settings
from fastai_hf_callback.errors import InvalidInputError

from .collate import TextCollator
from .padding import IGNORE_INDEX

__all__ = ["CUT_OFF", "QACollator"]

CUT_OFF = "(cut off)"  # shown where the context was cut before the answer's end
OUTSIDE_CONTEXT = -1


class QACollator(TextCollator):
    """``TextCollator`` of (question, context): its targets are the first and the last token of each answer.

    Parameters
    ----------
    encoder : TextEncoder
        Of a fast tokenizer, which gives the offsets of its tokens.
    progress, columns
        As of ``TextCollator``.

    Raises
    ------
    InvalidInputError
        When the tokenizer is a slow one.
    """

    def __init__(self, encoder: TextEncoder, progress: Any = None, columns: Sequence[str] = ("question", "context")):
        super().__init__(encoder, paired=True, progress=progress, columns=columns)
        if not getattr(encoder.tokenizer, "is_fast", False):
            raise InvalidInputError(
                f"{type(encoder.tokenizer).__name__} is a slow tokenizer, which does not tell where "
                f"its tokens stand; expected a fast one for task 'question-answering': write "
                f"AutoTokenizer.from_pretrained(name)"
            )

    @property
    def _fast_tokenizer(self) -> FastTokenizer:
        return cast(FastTokenizer, self.encoder.tokenizer)

    @property
    def predicts_per_token(self) -> bool:
        return True

    # -- texts -> rows -----------------------------------------------------------------------------

    def encode_texts(self, items: Sequence[Any]) -> List[EncodedText]:
        """Encode (question, context) pairs; rows that are encoded already are returned as they are."""
        if not items or isinstance(items[0], EncodedText):
            return list(items)
        tokenizer = self._fast_tokenizer
        spans = [slice(at, at + CHUNK_ROWS_FAST) for at in range(0, len(items), CHUNK_ROWS_FAST)]
        with preserve_backend_settings(tokenizer):
            parts = (self._encode_chunk(items[span]) for span in spans)
            return list(chain.from_iterable(self.progress(parts, len(spans)) if self.progress else parts))

    def _encode_chunk(self, items: Sequence[Tuple[str, str]]) -> List[EncodedText]:
        tokenizer, max_length = self._fast_tokenizer, self.encoder.max_length
        questions, contexts = map(list, zip(*items))
        _check_questions_fit(tokenizer, max_length, questions)
        made = tokenizer(
            questions,
            contexts,
            truncation="only_second",
            max_length=max_length,
            padding=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
        )
        types = made.get("token_type_ids") or [None] * len(items)
        return [
            build_row(made["input_ids"][at], types[at], None)._replace(
                context=_build_context(context, made["offset_mapping"][at], made.sequence_ids(at))
            )
            for at, context in enumerate(contexts)
        ]

    def encode_for_predict(self, item: Any, example_call: str) -> EncodedText:
        row = super().encode_for_predict(item, example_call)
        self.predicted = (row, 0)
        return row

    # -- answers -> targets ------------------------------------------------------------------------

    def targets(self, rows: Sequence[EncodedText], labels: Sequence[Any], width: Optional[int] = None) -> Tensor:
        """Return the first and last token of each answer, int64 ``(rows, 2)``; -100 where it was cut off.

        Parameters
        ----------
        rows : sequence of EncodedText
        labels : sequence of (int, int)
            As ``qa_answers.read_answers`` gives them. Without an answer both are the tokenizer's first special token
            (``cls_token``), as in SQuAD 2.
        width : int, optional
        """
        width = max(len(row.input_ids) for row in rows) if width is None else width
        return torch.from_numpy(np.stack([self._build_target(row, label, width) for row, label in zip(rows, labels)]))

    def _build_target(self, row: EncodedText, label: Any, width: int) -> np.ndarray:
        span = _find_token_span(_context_of(row), *label) if label[0] >= 0 else (self._no_answer_position(row),) * 2
        if span is None:
            return np.full(2, IGNORE_INDEX, dtype=np.int64)
        left_padding = width - len(row.input_ids) if self.padding.side == "left" else 0
        return np.array(span, dtype=np.int64) + left_padding

    def _no_answer_position(self, row: EncodedText) -> int:
        found = np.flatnonzero(row.input_ids == self._fast_tokenizer.cls_token_id)
        return int(found[0]) if len(found) else 0

    def report_truncated_answers(
        self, rows: Sequence[EncodedText], labels: Optional[Sequence[Any]], split: str
    ) -> List[str]:
        """Return a message for the user if answers in `split` were cut off before their end.

        Raises
        ------
        InvalidInputError
            When all answers of train are cut off.
        """
        given = [
            (_context_of(row), label) for row, label in zip(rows, () if labels is None else labels) if label[0] >= 0
        ]
        cut = [context for context, label in given if _find_token_span(context, *label) is None]
        if not cut:
            return []
        what = (
            f"{len(cut)} of {len(given)} answer(s) of {split} are cut off with their contexts at "
            f"max_length={self.encoder.max_length} tokens (the first context: {shorten(cut[0].text, 60)!r})"
        )
        if split == "train" and len(cut) == len(rows):
            raise InvalidInputError(
                f"{what}: there is nothing to learn; write a larger max_length, or cut the contexts apart"
            )
        return [
            f"{what}: they train nothing, and metrics count them as missed; write a larger max_length, or cut the "
            f"contexts apart"
        ]

    # -- tensors -> rows and answers ---------------------------------------------------------------

    def recover_row(self, tensors: Sequence[Tensor], rows: Iterable[EncodedText]) -> Tuple[EncodedText, int]:
        row, _ = super().recover_row(tensors, rows)
        real = dict(zip(self.names, tensors))["attention_mask"] > 0
        known = chain([] if self.predicted is None else [self.predicted[0]], rows)
        found = next((one for one in known if np.array_equal(one.input_ids, row.input_ids)), None)
        if found is None:
            return row, 0
        return found._replace(context=_context_of(found)._replace(left_padding=int(real.nonzero()[0]))), 0

    def decode_answer(self, row: EncodedText, span: Sequence[int]) -> str:
        """Return the text between two positions of a row of a batch, both included; empty outside the context."""
        first, last = (int(position) for position in span)
        if first == IGNORE_INDEX:
            return CUT_OFF
        context = _context_of(row)
        first, last = first - context.left_padding, min(last - context.left_padding, len(row.input_ids) - 1)
        inside = [at for at in range(max(first, 0), last + 1) if context.begins[at] != OUTSIDE_CONTEXT]
        if not inside or context.begins[max(first, 0)] == OUTSIDE_CONTEXT:
            return ""
        return context.text[context.begins[inside[0]] : context.ends[inside[-1]]].strip()


def _build_context(text: str, offsets: Any, texts: Sequence[Optional[int]]) -> Context:
    """Build a row's ``Context``: `offsets` are the characters of each token, `texts` says of which text."""
    begins, ends = np.array(offsets, dtype=np.int32).reshape(-1, 2).T
    inside = np.array([of_text == 1 for of_text in texts])
    return Context(text, np.where(inside, begins, OUTSIDE_CONTEXT), np.where(inside, ends, OUTSIDE_CONTEXT))


def _context_of(row: EncodedText) -> Context:
    assert row.context is not None, "a row of a question has its context"
    return row.context


def _find_token_span(context: Context, begin: int, end: int) -> Optional[Tuple[int, int]]:
    """Return the first and last token of these characters; None where the context was cut before their end."""
    inside = np.flatnonzero(context.ends > context.begins)
    if not len(inside) or begin < context.begins[inside[0]] or end > context.ends[inside[-1]]:
        return None
    return int(inside[context.ends[inside] > begin][0]), int(inside[context.begins[inside] < end][-1])


def _check_questions_fit(tokenizer: FastTokenizer, max_length: int, questions: List[str]) -> None:
    lengths = [len(ids) for ids in tokenizer(questions, add_special_tokens=False)["input_ids"]]
    longest = int(np.argmax(lengths))
    needed = lengths[longest] + count_special_tokens(tokenizer, pair=True) + 1
    if needed > max_length:
        raise InvalidInputError(
            f"max_length={max_length} was given, and the question {shorten(questions[longest], 60)!r} has "
            f"{lengths[longest]} tokens; expected room for it and some of its context: write a max_length "
            f"well above {needed}"
        )
