"""The callback arm against the patched loop, bit for bit, each with the broken arm that must differ."""

import pytest

pytest.importorskip("fastai.basic_train")

from fastai_hf_callback import ComparisonError, HFCallback, compare
from tests.fastai1.learners import make_learner


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


FITS = (plain_fit, one_cycle, lr_find_then_fit, freeze_then_unfreeze)


@pytest.mark.parametrize("task", ("classes", "labels"))
@pytest.mark.parametrize("model", ("bert", "xlnet", "distilbert"))
@pytest.mark.parametrize(
    "fit",
    [one_cycle, *(pytest.param(fit, marks=pytest.mark.slow) for fit in FITS if fit is not one_cycle)],
    ids=lambda fit: fit.__name__,
)
def test_callback_equals_patched_loop(fit, model, task):
    comparison = compare(lambda: make_learner(model, task), fit)
    assert comparison.identical, str(comparison)
    assert comparison.broken_arm_differs, "the broken arm must differ"
    assert {len(trace.steps) for trace in comparison.traces.values()} == {len(comparison.traces["callback"].steps)}
    assert len(comparison.traces["callback"].steps) >= 12


def test_over_a_hundred_steps():
    comparison = compare(lambda: make_learner("bert", "labels"), lambda learn: learn.fit_one_cycle(18, 5e-3)).check()
    assert len(comparison.traces["callback"].steps) == 108


@pytest.mark.parametrize("model", ("bert", "xlnet", "distilbert"))
def test_it_moves_and_the_model_did_change(model):
    comparison = compare(lambda: make_learner(model), lambda learn: learn.fit_one_cycle(6, 1e-2)).check()
    trace = comparison.traces["callback"]
    assert trace.final_weights != trace.initial_weights
    assert trace.steps[-1].loss < trace.steps[0].loss


def test_without_the_mask_and_with_a_bare_model():
    compare(lambda: make_learner(masked=False, wrap=False), lambda learn: learn.fit_one_cycle(6, 1e-2)).check()


def test_a_callback_that_takes_another_element_is_told_apart():
    class Scaled(HFCallback):
        def on_loss_begin(self, **kwargs):
            return {"last_output": super().on_loss_begin(**kwargs)["last_output"] * 1.0000001}

    comparison = compare(lambda: make_learner(callbacks=[Scaled()]), plain_fit)
    assert not comparison.identical
    assert (comparison.difference.fit, comparison.difference.epoch) in ((-1, -1), (0, 0))
    with pytest.raises(ComparisonError, match="DIFFERENT"):
        comparison.check()
