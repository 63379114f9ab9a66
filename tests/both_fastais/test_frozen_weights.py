"""Frozen weights stand still to the bit, whatever went before; and what an accumulation leaves is in no later fit.

Next to each: the plain patched loop without the callback, in which they move.
"""

import pickle

import pytest
import torch

pytest.importorskip("fastai")

from fastai_hf_callback import compare, patched_loop
from tests.installed_fastai import ADAPTER, FASTAI, Callback, build_callback, make_learner, only_on, seed_loaders
from tests.slow_marks import mark_slow_after

BEFORE_EPOCH, BEFORE_BATCH = ("on_epoch_begin", "on_batch_begin") if FASTAI == 1 else ("before_epoch", "before_batch")


def make(callbacks=None, **kwargs):
    torch.manual_seed(0)
    return make_learner(callbacks=callbacks, **{**({} if FASTAI == 1 else {"train_bn": False}), **kwargs})


def fit(learn, epochs=1, callbacks=(), lr=1e-2):
    learn.fit(epochs, lr, wd=0.1, **{"callbacks" if FASTAI == 1 else "cbs": list(callbacks)})


def freeze_by_hand(learn):
    for p in learn.model.model.bert.parameters():
        p.requires_grad_(False)


def frozen_values(learn):
    """Each frozen tensor, which is not left at zero: decay would not be seen."""
    frozen = {name: p for name, p in learn.model.named_parameters() if not p.requires_grad}
    for p in frozen.values():
        p.data += 0.1
    return {name: p.detach().clone() for name, p in frozen.items()}


def moved(learn, before):
    return [name for name, p in learn.model.named_parameters() if name in before and not torch.equal(p, before[name])]


def after_a_fit(learn, callbacks):
    fit(learn, callbacks=callbacks)
    freeze_by_hand(learn)
    before = frozen_values(learn)
    fit(learn, 2, callbacks)
    return before


def after_lr_find(learn, callbacks):
    learn.lr_find(num_it=5, **({} if FASTAI == 1 else {"show_plot": False}))
    freeze_by_hand(learn)
    before = frozen_values(learn)
    fit(learn, callbacks=callbacks)
    return before


def in_the_middle_of_a_fit(moment, count):
    """Freeze by hand within a fit, at the event after so many others of its kind."""

    def scenario(learn, callbacks):
        seen, before = [], {}

        def freeze():
            seen.append(moment)
            if len(seen) == count:
                freeze_by_hand(learn)
                before.update(frozen_values(learn))

        fit(learn, 3, [*callbacks, build_callback(moment, freeze)])
        return before

    return scenario


def after_an_accumulation(learn, callbacks):
    fit(learn, callbacks=[*callbacks, *accumulating(learn)])
    freeze_by_hand(learn)
    before = frozen_values(learn)
    fit(learn, callbacks=callbacks)
    return before


def accumulating(learn):
    """A callback that accumulates five batches of six, and leaves one at the end of the epoch."""
    if FASTAI == 2:
        from fastai.callback.training import GradientAccumulation

        return [GradientAccumulation(n_acc=5 * learn.dls.bs)]
    from fastai.callback import Callback

    class Accumulation(Callback):
        def on_backward_end(self, num_batch, **kwargs):
            return {} if num_batch % 5 == 4 else {"skip_step": True, "skip_zero": True}

    return [Accumulation()]


SCENARIOS = {
    "a fit before": after_a_fit,
    "lr_find before": after_lr_find,
    "an accumulation before": after_an_accumulation,
    "frozen in an epoch": in_the_middle_of_a_fit(BEFORE_BATCH, 9),
    "frozen between epochs": in_the_middle_of_a_fit(BEFORE_EPOCH, 2),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_frozen_weights_stand_still(scenario):
    learn = make()
    before = SCENARIOS[scenario](learn, [])
    assert len(before) > 30 and not moved(learn, before)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_plain_patched_loop_moves_them(scenario):
    """What fastai's own optimizers do: pinned, as the reason for the correction."""
    learn = make(callbacks=[])
    with patched_loop():
        before = SCENARIOS[scenario](learn, [])
    assert len(moved(learn, before)) > 0


@pytest.mark.parametrize("scenario", mark_slow_after(2, SCENARIOS))
def test_what_is_unfrozen_again_trains(scenario):
    learn = make()
    SCENARIOS[scenario](learn, [])
    for p in learn.model.parameters():
        p.requires_grad_(True)
    before = {name: p.detach().clone() for name, p in learn.model.named_parameters()}
    fit(learn)
    assert len(moved(learn, before)) > 0.9 * len(before)


def test_freeze_and_its_like_hold():
    learn = make()
    fit(learn)
    for freeze in (learn.freeze, lambda: learn.freeze_to(1)):
        freeze()
        before = frozen_values(learn)
        fit(learn)
        assert len(before) > 30 and not moved(learn, before)


@only_on(2)
@pytest.mark.parametrize("name", ("AdamW", "SGD", "RMSprop"))
def test_with_an_optimizer_of_torch(name):
    from fastai.optimizer import OptimWrapper

    def opt_func(params, **kwargs):
        more = {} if name == "AdamW" else {"momentum": 0.9}
        return OptimWrapper(params, getattr(torch.optim, name), **more, **kwargs)

    learn = make(opt_func=opt_func)
    before = SCENARIOS["frozen in an epoch"](learn, [])
    assert before and not moved(learn, before)


@only_on(2)
def test_with_ranger_whose_slow_weights_lag_behind():
    from fastai.optimizer import ranger

    learn = make(opt_func=ranger)
    before = SCENARIOS["a fit before"](learn, [])
    assert before and not moved(learn, before)


def weights(learn):
    return [p.detach().clone() for p in learn.model.parameters()]


@pytest.mark.parametrize("corrected", (True, False))
def test_what_an_accumulation_leaves_is_not_in_the_next_fit(corrected):
    """A second fit is the same whether the first left gradients or they were taken away by hand."""
    trained = []
    for clean in (True, False):
        learn = make(None if corrected else [])
        if not corrected:
            with patched_loop():
                twice(learn, clean)
        else:
            twice(learn, clean)
        trained.append(weights(learn))
    assert all(torch.equal(a, b) for a, b in zip(*trained)) is corrected


def twice(learn, clean):
    seed_loaders(learn, 0)
    fit(learn, callbacks=accumulating(learn))
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in learn.model.parameters())
    if clean:
        learn.opt.zero_grad()
    torch.manual_seed(1)
    seed_loaders(learn, 1)
    fit(learn)


def test_an_accumulation_goes_on_over_epochs():
    """Only a fit's end is a border: fastai 2's own callback counts on from epoch to epoch."""
    steps = []
    learn = make()
    step = "on_step_end" if FASTAI == 1 else "after_step"
    look = build_callback(step, lambda: steps.append(next(p for p in learn.model.parameters()).grad is not None))
    before = weights(learn)
    fit(learn, 2, [*accumulating(learn), look])
    assert steps and any(not torch.equal(a, b) for a, b in zip(before, weights(learn)))
    if FASTAI == 2:
        assert len(steps) == 2 * 6 * 8 // 40  # twice 48 rows, 40 a step


def test_a_validation_within_a_fit_takes_no_gradient_away():
    learn, left = make(), []

    def validate():
        left.append(1)
        if len(left) == 2:
            before = [None if p.grad is None else p.grad.clone() for p in learn.model.parameters()]
            learn.model.eval()
            learn.validate()
            after = [p.grad for p in learn.model.parameters()]
            assert all(a is b or torch.equal(a, b) for a, b in zip(before, after))

    fit(
        learn,
        callbacks=[*accumulating(learn), build_callback("on_batch_end" if FASTAI == 1 else "after_batch", validate)],
    )
    assert len(left) > 2


def gradual(learn):
    """Head, then all, then the head again: what ``compare`` must find the same in every arm."""
    fit(learn)
    learn.freeze()
    fit(learn)
    freeze_by_hand(learn)
    fit(learn, callbacks=accumulating(learn))
    fit(learn)


@pytest.mark.slow
def test_compare_corrects_every_arm_alike():
    comparison = compare(make, gradual, progress=False)
    assert comparison.identical and comparison.broken_arm_differs


@pytest.mark.slow
def test_compare_would_see_an_arm_without_the_correction(monkeypatch):
    monkeypatch.setattr(type(ADAPTER), "corrections_class", staticmethod(lambda train_in_float32: Callback()))
    assert not compare(make, gradual, progress=False).identical


def test_pickles_hold_nothing_of_a_fit():
    learn = make()
    fit(learn)
    callback = learn.callbacks[0] if FASTAI == 1 else learn.hf
    again = pickle.loads(pickle.dumps(callback.corrections))
    assert not again.frozen._parameters and type(again) is type(callback.corrections)
    assert not callback.corrections.frozen._parameters
