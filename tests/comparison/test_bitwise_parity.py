"""The callback arm against the patched loop, bit for bit, each with the broken arm that must differ."""

import pytest

pytest.importorskip("fastai")

from fastai_hf_callback import ComparisonError, compare
from tests.installed_fastai import FASTAI, MODELS, ScaledOutput, make_learner
from tests.slow_marks import mark_slow_after


def plain_fit(learn):
    learn.fit(2, 1e-2)


def one_cycle(learn):
    learn.fit_one_cycle(2, 1e-2)


def lr_find_then_fit(learn):
    learn.lr_find(num_it=6)
    learn.fit_one_cycle(1, 1e-2)


def freeze_then_unfreeze(learn):
    learn.freeze()
    learn.fit_one_cycle(1, 1e-2)
    learn.unfreeze()
    learn.fit_one_cycle(1, slice(1e-3, 1e-2))


# What of the matrix in tests/parity runs each time: fits and models on fastai 1, kinds of heads on fastai 2.
if FASTAI == 1:
    FITS, TASKS = (one_cycle, plain_fit, lr_find_then_fit, freeze_then_unfreeze), ("classes", "labels")
    CELL_MODELS = MODELS
else:
    FITS, TASKS = (one_cycle,), ("classes", "labels", "number", "words", "blanks")
    CELL_MODELS = mark_slow_after(1, ("bert", "distilbert"))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", CELL_MODELS)
@pytest.mark.parametrize("fit", mark_slow_after(1, FITS), ids=lambda fit: fit.__name__)
def test_callback_equals_patched_loop(fit, model, task):
    comparison = compare(lambda: make_learner(model, task), fit)
    assert comparison.identical, str(comparison)
    assert comparison.broken_arm_differs, "the broken arm must differ"
    steps = {len(trace.steps) for trace in comparison.traces.values()}
    assert len(comparison.traces) == 3 and len(steps) == 1
    assert min(steps) == 12 or (fit is lr_find_then_fit and min(steps) > 12)


@pytest.mark.slow
def test_over_a_hundred_steps():
    comparison = compare(lambda: make_learner("bert", "labels"), lambda learn: learn.fit_one_cycle(18, 5e-3)).check()
    assert len(comparison.traces["callback"].steps) == 108


@pytest.mark.parametrize("model", mark_slow_after(1, MODELS))
def test_it_moves_and_the_model_did_change(model):
    comparison = compare(lambda: make_learner(model), lambda learn: learn.fit_one_cycle(12, 1e-2)).check()
    trace = comparison.traces["callback"]
    assert trace.final_weights != trace.initial_weights
    assert trace.steps[-1].loss < trace.steps[0].loss


@pytest.mark.slow
def test_without_the_mask_and_with_a_bare_model():
    compare(lambda: make_learner(masked=False, wrap=False), lambda learn: learn.fit_one_cycle(6, 1e-2)).check()


def test_a_callback_that_changes_the_output_by_a_hair_is_told_apart():
    comparison = compare(lambda: make_learner(callbacks=[ScaledOutput()]), plain_fit)
    assert not comparison.identical
    assert (comparison.difference.fit, comparison.difference.epoch) in ((-1, -1), (0, 0))
    with pytest.raises(ComparisonError, match="DIFFERENT"):
        comparison.check()
