"""Which rows a loader draws, and whether a collate function keeps each row's target."""

import random

import pytest
import torch

from fastai_hf_callback.diagnosis.probes.batches import Batch, count_distinct_rows, count_mixed_rows

IDS = torch.arange(1, 61).reshape(12, 5) * (torch.arange(5) < torch.arange(12)[:, None] % 4 + 2)
TARGETS = torch.arange(12)


def collate(rows):
    return Batch([IDS[rows], TARGETS[rows]], TARGETS[rows])


def sorted_together(rows):
    order = (IDS[rows] > 0).sum(1).argsort(descending=True)
    return Batch([IDS[rows][order]], TARGETS[rows][order])


def sorted_alone(rows):
    return Batch(sorted_together(rows).xb, TARGETS[rows])


def noisy(rows):
    return Batch([IDS[rows]], TARGETS[rows] + random.randrange(10**6))


def cropped(rows):
    return Batch([IDS[rows][:, : 5 if len(rows) > 1 else 2]], TARGETS[rows])


@pytest.mark.parametrize("function", [collate, sorted_together, noisy, cropped], ids=lambda f: f.__name__)
def test_rows_that_keep_their_targets_are_not_mixed(function):
    assert count_mixed_rows(function, 0, [0]) == 0


def test_texts_sorted_without_their_targets_are_mixed():
    assert count_mixed_rows(sorted_alone, 0, [0]) > 2


def test_a_text_is_the_same_however_it_is_padded():
    tables = [torch.tensor([[7, 8, 0], [7, 9, 0]]), torch.tensor([[7, 8], [8, 7]])]
    assert count_distinct_rows(tables, [0]) == 3
