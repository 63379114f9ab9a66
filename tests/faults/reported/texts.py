"""Inputs and their masks."""

from typing import Any, Callable, List

import torch

from tests.faults.reported.kind import Learner, kind
from tests.faults.tasks import CLS, FIRST_WORD, SEP, Rows, Texts, both, databunch, learner, tensors
from tests.tiny_models import VOCAB

LONG = (20, 26)


def of_rows(change: Callable[[Rows, bool], Rows], broken: bool, architecture: str, **drawn: Any) -> Learner:
    train, valid = both("classes", **drawn)
    parts = [Texts(change(train.rows, True), train.targets), Texts(change(valid.rows, False), valid.targets)]
    length = max(len(row) for part in parts for row in part.rows)
    return learner(architecture, data=databunch(*(tensors(part, architecture, length=length) for part in parts)))


def in_another_order(architecture: str, broken: bool) -> Learner:
    """The tokens of validation were numbered anew."""
    other = torch.cat([torch.arange(FIRST_WORD), FIRST_WORD + torch.randperm(VOCAB - FIRST_WORD)]).tolist()

    def change(rows: Rows, is_training: bool) -> Rows:
        return [[other[i] for i in row] for row in rows] if broken and not is_training else rows

    return of_rows(change, broken, architecture)


def cut_on_the_left(architecture: str, broken: bool) -> Learner:
    """What tells stands first; of each text the end is kept."""

    def change(rows: Rows, is_training: bool) -> Rows:
        turned = [row[1:-1][::-1] for row in rows]
        return [[CLS, *(row[-12:] if broken else row[:12]), SEP] for row in turned]

    return of_rows(change, broken, architecture, lengths=LONG, at_end=True)


class Sorted:
    """A collate function that sorts the rows by length, as packing asked for, and leaves the labels as they were."""

    def __init__(self, broken: bool):
        self.broken = broken

    def __call__(self, rows: List[Any]) -> Any:
        ids, mask, target = (torch.stack(column) for column in zip(*rows))
        order = mask.sum(1).argsort(descending=True)
        return [ids[order], mask[order]], target if self.broken else target[order]


def sorted_alone(architecture: str, broken: bool) -> Learner:
    parts = [tensors(part, architecture, length=20) for part in both("classes")]
    return learner(architecture, data=databunch(*parts, collate=Sorted(broken)))


KINDS = [
    kind(
        "tokens-in-another-order",
        "inputs",
        "agiresearch/OpenP5 issue 4",
        "new tokens are added in no fixed order, so that ids differ from one loading to the next",
        in_another_order,
    ),
    kind(
        "cut-on-the-left",
        "inputs",
        "hiyouga/ChatGLM-Efficient-Tuning issue 115",
        "truncation from the left loses what stands at the beginning, the instruction included",
        cut_on_the_left,
    ),
    kind(
        "rows-sorted-and-labels-not",
        "loaders",
        "fartashf/vsepp pull request 36",
        "a batch is sorted by length for packing and not sorted back: rows are mixed up with others' labels",
        sorted_alone,
    ),
]
