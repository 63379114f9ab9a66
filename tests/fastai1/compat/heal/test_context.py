"""heal as a block: its parts, nesting, everything put back; arrays, names and a metric that are broken today."""

import contextlib
import sys
import types
import warnings

import numpy as np
import pytest
import torch

pytest.importorskip("fastai.basic_train")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai import core, data_block, metrics
    from fastai.data_block import MultiCategoryList

from fastai_hf_callback import InvalidInputError, heal, trusted
from fastai_hf_callback.compat import trusted_loading as trust
from fastai_hf_callback.fastai1.compat import heal as mending
from tests.fastai1.compat.heal.patched_state import PARTS, same_state, skip_unless_broken, world
from tests.fastai1.data_block import IdList

pytestmark = pytest.mark.slow


# -- the blocks ------------------------------------------------------------------------------------


def test_the_parts_are_these_and_each_can_be_had_alone(text):
    assert list(mending._PATCHES) == PARTS
    with heal() as everything:
        assert set(everything) <= set(PARTS)
    for part in PARTS:
        with heal(part) as mended:
            assert mended == tuple(name for name in everything if name == part)


def test_something_is_changed_inside(text):
    before = world()
    with heal() as mended:
        assert mended and not same_state(before, world())


@pytest.mark.parametrize(
    "name, nearest", [("ragged-array", "ragged-arrays"), ("Accumulate", "accumulate"), ("accuracy", "accuracy-thresh")]
)
def test_an_unknown_part_is_told_the_nearest(name, nearest):
    with pytest.raises(InvalidInputError, match=f"no part '{name}'; did you mean '{nearest}'.*optimizer-load"):
        heal("accumulate", name)


def test_what_is_like_no_part_is_told_all_of_them():
    with pytest.raises(InvalidInputError, match="no part 'qqq'; expected one of ragged-arrays, "):
        heal("qqq")


def test_a_decorator_without_brackets_is_told_so():
    with pytest.raises(InvalidInputError, match="write heal.. or @heal.."):

        @heal
        def train():
            pass


def test_it_decorates():
    @heal("ragged-arrays")
    def ragged():
        return core.array([[1], [1, 2]])

    assert ragged().dtype == ragged().dtype == object


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError, GeneratorExit])
def test_all_comes_back_whatever_happens_inside(text, error):
    before = world()
    with pytest.raises(error):
        with heal(), trusted("a"):
            assert not same_state(before, world())
            raise error()
    assert same_state(before, world())


def test_blocks_nest_and_the_inner_one_leaves_the_outer_mended():
    before = world()
    with heal() as outer:
        inside = world()
        with heal() as inner:
            assert inner == outer and same_state(inside, world())
        with heal("accumulate"):
            pass
        assert same_state(inside, world())
    assert same_state(before, world())


def test_blocks_may_overlap(tmp_path):
    before, first, second = world(), contextlib.ExitStack(), contextlib.ExitStack()
    for block, name in ((first, "first"), (second, "second")):
        block.enter_context(heal())
        block.enter_context(trusted(tmp_path / name))
    first.close()
    assert core.array([[1], [1, 2]]).dtype == object
    assert trust._is_trusted(tmp_path / "second") and not trust._is_trusted(tmp_path / "first")
    second.close()
    assert same_state(before, world())


def test_no_random_state_is_drawn_from(text):
    def states():
        return repr(np.random.get_state()), torch.get_rng_state().tolist()

    before = states()
    with heal(), trusted("a"):
        assert states() == before


# -- ragged arrays and numpy's names ---------------------------------------------------------------


def labelled(path="."):
    """Several labels per row, through the data block."""
    rows = np.arange(48).reshape(12, 4) % 7
    return (
        IdList(rows, path=path)
        .split_by_idx([0, 1, 2])
        .label_from_func(lambda row: ["low", "mid", "top"][: 1 + int(row[0]) % 3], label_cls=MultiCategoryList)
    )


def test_several_labels_per_row_fail_bare():
    skip_unless_broken("ragged-arrays")
    with pytest.raises(ValueError, match="inhomogeneous"):
        labelled()


def test_several_labels_per_row():
    with heal("ragged-arrays"):
        data = labelled().databunch(bs=3, num_workers=0, device=torch.device("cpu"))
        counts = torch.cat([targets.sum(1) for _, targets in data.valid_dl]).tolist()
    assert counts == [1 + row * 4 % 7 % 3 for row in range(3)]


def test_an_array_of_unequal_rows_is_what_numpy_made_of_it_before():
    with heal("ragged-arrays"):
        made = core.array(row for row in ([1], [2, 3]))
        assert made.dtype == object and made.shape == (2,) and made[1] == [2, 3]
        assert data_block.array is core.array
        nested = core.array([np.array([1]), np.array([1, 2])])
        assert nested.dtype == object and nested[1].tolist() == [1, 2]
        with pytest.raises(ValueError):
            core.array([[1], [1, 2]], dtype=np.int64)


@pytest.mark.parametrize("given", [[1, 2], [[1, 2], [3, 4]], ["a", "bc"], range(3), np.ones(2), [1.5, 2], []])
def test_an_even_array_is_what_it_is_bare(given):
    bare = core.array(given)
    with heal("ragged-arrays"):
        mended = core.array(given)
    assert mended.dtype == bare.dtype and np.array_equal(mended, bare)


def test_what_a_module_took_along_meanwhile_is_put_back(monkeypatch):
    skip_unless_broken("ragged-arrays")
    notebook, bare = types.ModuleType("notebook"), core.array
    monkeypatch.setitem(sys.modules, "notebook", notebook)
    with heal("ragged-arrays"):
        exec("from fastai.core import *", vars(notebook))
        assert notebook.array is not bare
    assert notebook.array is bare


def test_numpys_old_names_are_there_for_fastai_alone():
    skip_unless_broken("numpy-names")
    with heal("numpy-names"):
        assert (core.np.object, core.np.int, core.np.float) == (object, int, float)
        assert core.np.array is np.array and core.np.random is np.random
        with pytest.raises(AttributeError):
            np.object  # noqa: B018
        with pytest.raises(AttributeError):
            core.np.nonsense  # noqa: B018


# -- accuracy_thresh -------------------------------------------------------------------------------

KINDS = [torch.bool, torch.uint8, torch.float32, torch.float16, torch.int32, torch.int64]


def of_an_older_fastai(y_pred, y_true, thresh=0.5, sigmoid=True):
    """What torch 1.2 made of fastai's line: it would not compare bool with byte."""
    if y_true.dtype != torch.bool:
        raise RuntimeError("Expected object of scalar type Bool but got scalar type Byte")
    return ((y_pred.sigmoid() > thresh) == y_true).float().mean()


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("broken", [False, True])
def test_accuracy_thresh_of_every_kind_of_target(kind, broken, monkeypatch):
    with monkeypatch.context() as patching:
        if broken:
            patching.setattr(metrics, "accuracy_thresh", of_an_older_fastai)
        with heal("accuracy-thresh") as mended:
            targets = torch.tensor([[1, 0], [0, 0]]).to(kind)
            score = metrics.accuracy_thresh(torch.tensor([[3.0, 3.0], [-3.0, -3.0]]), targets)
            assert bool(mended) == broken
    assert float(score) == 0.75
