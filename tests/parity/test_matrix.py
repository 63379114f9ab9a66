"""A pairwise cover of the matrix: every pair of workflow, architecture and loss that can exist, bit for bit."""

import pytest

pytest.importorskip("fastai")

from fastai_hf_callback import compare
from tests.parity import matrix
from tests.parity.matrix import make_learner

POSSIBLE = [cell for cell in matrix.all_cells() if not matrix.impossible(cell)]


@pytest.mark.slow
@pytest.mark.parametrize("cell", matrix.pairwise_cover(POSSIBLE), ids=str)
def test_cell(cell):
    assert matrix.fault_of(matrix.run(cell)) is None


def test_the_cover_covers_every_pair():
    pairs = {pair for cell in POSSIBLE for pair in matrix._pairs(cell)}
    cover = matrix.pairwise_cover(POSSIBLE)
    assert {pair for cell in cover for pair in matrix._pairs(cell)} == pairs
    assert len(cover) < len(POSSIBLE) / 2


def test_a_faulty_callback_is_found_by_a_cell():
    comparison = compare(
        lambda: make_learner("bert", "classes", True, [matrix.Flipped()]), matrix.WORKFLOWS["fit"], progress=False
    )
    assert "patched" in matrix.fault_of(comparison)


def test_a_fit_that_trains_nothing_is_found():
    comparison = compare(make_learner, lambda learn: learn.fit(1, 0.0), progress=False)
    assert matrix.fault_of(comparison) is not None
