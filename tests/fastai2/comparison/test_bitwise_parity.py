"""The callback arm against the patched loop, bit for bit, each with the broken arm that must differ."""

import pytest

from fastai_hf_callback import ComparisonError, HFCallback, compare
from tests.fastai2.learners import MODELS, make_learner
from tests.slow_marks import mark_slow_after


def plain_fit(learn):
    learn.fit(2, 1e-2)


def one_cycle(learn):
    learn.fit_one_cycle(2, 1e-2)


@pytest.mark.parametrize("task", ("classes", "labels", "number", "words", "blanks"))
@pytest.mark.parametrize("model", mark_slow_after(1, ("bert", "distilbert")))
def test_callback_equals_patched_loop_for_every_kind_of_head(model, task):
    comparison = compare(lambda: make_learner(model, task), one_cycle)
    assert comparison.identical, str(comparison)
    assert comparison.broken_arm_differs, "the broken arm must differ"
    assert [len(trace.steps) for trace in comparison.traces.values()] == [12] * 3


@pytest.mark.slow
def test_over_a_hundred_steps():
    comparison = compare(lambda: make_learner("bert", "labels"), lambda learn: learn.fit_one_cycle(18, 5e-3)).check()
    assert len(comparison.traces["callback"].steps) == 108


@pytest.mark.parametrize("model", mark_slow_after(2, MODELS))
def test_it_moves_and_the_model_did_change(model):
    comparison = compare(lambda: make_learner(model), lambda learn: learn.fit_one_cycle(6, 1e-2)).check()
    trace = comparison.traces["callback"]
    assert trace.final_weights != trace.initial_weights
    assert trace.steps[-1].loss < trace.steps[0].loss


def test_without_the_mask_and_with_a_bare_model():
    compare(lambda: make_learner(masked=False, wrap=False), lambda learn: learn.fit_one_cycle(6, 1e-2)).check()


def test_a_callback_that_changes_the_output_by_a_hair_is_told_apart():
    class Scaled(HFCallback):
        def after_pred(self):
            super().after_pred()
            self.learn.pred = self.learn.pred * 1.0000001

    comparison = compare(lambda: make_learner(cbs=[Scaled()]), plain_fit)
    assert not comparison.identical
    assert (comparison.difference.fit, comparison.difference.epoch) in ((-1, -1), (0, 0))
    with pytest.raises(ComparisonError, match="DIFFERENT"):
        comparison.check()
