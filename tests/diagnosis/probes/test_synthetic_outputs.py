"""Stand-in outputs: for every kind of target, what a perfect and a contrary predictor would have said."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fastai_hf_callback.diagnosis.probes.synthetic_outputs import build_synthetic_outputs, infer_target_kind

quick = settings(deadline=None, max_examples=50)
sizes = st.integers(1, 6)


@pytest.mark.parametrize(
    "shape, target, kind",
    [
        ((4, 3), torch.tensor([0, 1, 2, 0]), "classes"),
        ((4, 2), torch.tensor([[0], [1], [1], [0]]), "classes"),
        ((2, 5, 3), torch.zeros(2, 5, dtype=torch.long), "classes"),
        ((4, 3), torch.tensor([0, 1, -100, 2]), "classes"),
        ((4, 2), torch.eye(4)[:, :2], "labels"),
        ((4, 2), torch.ones(4, 2, dtype=torch.long), "labels"),
        ((4, 2), torch.ones(4, 2, dtype=torch.bool), "labels"),
        ((4, 1), torch.tensor([0, 1, 1, 0]), "labels"),
        ((4,), torch.tensor([0.0, 1.0, 1.0, 0.0]), "labels"),
        ((4, 1), torch.rand(4) + 2, "number"),
        ((4, 3), torch.tensor([0, 1, 2, 3]), None),
        ((4, 3), torch.rand(4), None),
        ((4, 3), torch.rand(5, 3), None),
        ((), torch.tensor(1.0), None),
        ((0, 3), torch.zeros(0, dtype=torch.long), None),
        ((4, 3), [0, 1, 2, 0], None),
        ((4, 3), None, None),
    ],
)
def test_the_kind_is_told_by_both_shapes_and_the_values(shape, target, kind):
    assert infer_target_kind(shape, target) == kind
    assert (build_synthetic_outputs(shape, target) is None) == (kind is None)


@quick
@given(sizes, st.integers(2, 6), st.randoms())
def test_of_classes_the_ideal_is_right_in_every_row_and_the_worst_in_none(rows, width, draw):
    target = torch.tensor([draw.randrange(width) for _ in range(rows)])
    made = build_synthetic_outputs((rows, width), target)
    assert (made.ideal.argmax(-1) == target).all() and not (made.worst.argmax(-1) == target).any()
    loss = nn.CrossEntropyLoss()
    assert loss(made.ideal, target) < 0.01 < loss(made.worst, target)
    assert made.ideal.dtype == torch.float32 and made.ideal.shape == (rows, width)


@quick
@given(sizes, sizes, st.randoms())
def test_of_labels_the_worst_is_the_ideal_turned_round(rows, width, draw):
    target = torch.tensor([[float(draw.randrange(2)) for _ in range(width)] for _ in range(rows)])
    made = build_synthetic_outputs((rows, width), target)
    assert ((made.ideal > 0).float() == target).all() and (made.worst == -made.ideal).all()
    loss = nn.BCEWithLogitsLoss()
    assert loss(made.ideal, target) < 0.01 < loss(made.worst, target)


def test_of_numbers_the_ideal_is_the_target_and_the_worst_is_far_off():
    target = torch.tensor([1.0, 2.0, 4.0])
    made = build_synthetic_outputs((3, 1), target)
    assert (made.ideal[:, 0] == target).all() and ((made.worst - made.ideal) > 10).all()


@pytest.mark.parametrize("target", [torch.tensor([2.5]), torch.tensor([2.5, 2.5])])
def test_of_equal_numbers_the_worst_is_off_all_the_same(target):
    made = build_synthetic_outputs(target.shape, target)
    assert (made.worst == made.ideal + 10).all()


def test_ignored_classes_get_a_row_of_zeros():
    made = build_synthetic_outputs((3, 2), torch.tensor([1, -100, 0]))
    assert made.ideal.tolist() == [[0, 10], [0, 0], [10, 0]] and made.worst[1].tolist() == [0, 0]


def test_the_targets_are_left_as_they_were():
    target = torch.tensor([1, -100, 0])
    build_synthetic_outputs((3, 2), target)
    assert target.tolist() == [1, -100, 0]
