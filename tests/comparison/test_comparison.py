"""Comparisons of runs written by hand: what is equal, where they part, and whether anything moved."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback import ComparisonError
from fastai_hf_callback.comparison.comparison import build_comparison
from fastai_hf_callback.results.comparison import compute_movements, find_first_difference
from fastai_hf_callback.results.trace import Trace
from tests.tiny_models import make_broken_trace, make_trace

quick = settings(deadline=None, max_examples=80)
NAN, INF = float("nan"), float("inf")
any_float = st.floats() | st.sampled_from([0.0, -0.0, NAN, INF, -INF])

STUCK = (
    "IDENTICAL BUT STUCK - both arms moved nothing; raise the learning rate, or ask diagnose(make_learner()) what "
    "holds the weights"
)


def three_arms(**kwargs):
    return [make_trace("callback", **kwargs), make_trace("patched", **kwargs), make_broken_trace()]


def movement_of(quantity, *traces):
    return next(m for m in compute_movements(*traces) if m.quantity == quantity)


# -- one changed number ----------------------------------------------------------------------------


def change_step(index, name):
    def change(trace, value):
        steps = list(trace.steps)
        steps[index] = replace(steps[index], **{name: value})
        return replace(trace, steps=steps)

    return change


def change_lr(index, group):
    def change(trace, value):
        lrs = list(trace.steps[index].lrs)
        lrs[group] = value
        return change_step(index, "lrs")(trace, tuple(lrs))

    return change


def changed_epoch(epoch, name, value):
    return replace(epoch, valid_loss=value) if name == "valid_loss" else replace(epoch, metrics={name: value})


def change_before(name):
    return lambda trace, value: replace(trace, before=changed_epoch(trace.before, name, value))


def change_epoch(index, name):
    def change(trace, value):
        epochs = list(trace.epochs)
        epochs[index] = changed_epoch(epochs[index], name, value)
        return replace(trace, epochs=epochs)

    return change


def changes_in_time():
    """Every number of a trace, in the order of time: its place, its name, and how to change it."""
    both = ("valid_loss", "accuracy")
    yield from (((-1, -1, -1), name, change_before(name)) for name in both)
    for epoch in (0, 1):
        for step in (0, 1):
            place, index = (0, epoch, step), 2 * epoch + step
            yield place, "loss", change_step(index, "loss")
            yield place, "gradient norm", change_step(index, "grad_norm")
            yield from ((place, f"learning rate of group {g}", change_lr(index, g)) for g in (0, 1))
        yield from (((0, epoch, -1), name, change_epoch(epoch, name)) for name in both)


CHANGES = list(changes_in_time())


@quick
@given(at=st.integers(0, len(CHANGES) - 1), value=any_float)
def test_any_single_changed_number_is_found_where_it_is(at, value):
    place, quantity, change = CHANGES[at]
    original, other = make_trace(), change(make_trace("patched"), value)
    difference = find_first_difference(original, other)
    was = next(o.value for o in original.observations() if (o[:3], o.quantity) == (place, quantity))
    if was.hex() == value.hex():
        assert difference is None
    else:
        assert (difference.fit, difference.epoch, difference.step) == place and difference.quantity == quantity
        assert difference.values[0] == was and difference.values[1].hex() == value.hex()


@pytest.mark.parametrize("at", range(len(CHANGES)))
def test_the_last_bit_is_enough(at):
    place, quantity, change = CHANGES[at]
    was = next(o.value for o in make_trace().observations() if (o[:3], o.quantity) == (place, quantity))
    assert find_first_difference(make_trace(), change(make_trace(), float(np.nextafter(was, 9)))).quantity == quantity


@quick
@given(st.lists(st.integers(0, len(CHANGES) - 1), min_size=1, max_size=4))
def test_of_several_changes_the_first_in_time_is_told(at):
    other = make_trace()
    for i in at:
        other = CHANGES[i][2](other, 123.0)
    difference = find_first_difference(make_trace(), other)
    assert ((difference.fit, difference.epoch, difference.step), difference.quantity) == CHANGES[min(at)][:2]


@quick
@given(at=st.integers(0, len(CHANGES) - 1), value=any_float)
def test_equal_runs_are_equal_whatever_their_numbers(at, value):
    runs = [CHANGES[at][2](make_trace(arm), value) for arm in ("callback", "patched")]
    assert find_first_difference(*runs) is None


def test_nan_equals_nan_and_zero_is_not_minus_zero():
    nan, zero, minus_zero = (make_trace(losses=(value, 0.7, 0.5, 0.3)) for value in (NAN, 0.0, -0.0))
    assert find_first_difference(nan, make_trace(losses=(float("nan"), 0.7, 0.5, 0.3))) is None
    assert find_first_difference(zero, minus_zero).values == (0.0, -0.0)


@pytest.mark.parametrize(
    "change, quantity",
    [
        (dict(final_weights={"weight": "other"}), "weight weight"),
        (dict(predictions="other"), "predictions"),
        (dict(returned="other"), "what fit returned"),
    ],
)
def test_other_weights_or_predictions_are_found_after_the_run(change, quantity):
    difference = find_first_difference(make_trace(), replace(make_trace("patched"), **change))
    assert difference.quantity == quantity
    assert str(difference).startswith(f"after the run: {quantity}: callback '")
    assert str(difference).endswith("', patched 'other'")


@pytest.mark.parametrize(
    "shorten",
    [
        lambda t: replace(t, steps=t.steps[:-1]),
        lambda t: replace(t, steps=[]),
        lambda t: replace(t, epochs=t.epochs[:1]),
        lambda t: replace(t, before=None),
        lambda t: replace(t, final_weights={}),
        lambda t: replace(t, final_weights={"other": "trained"}),
    ],
    ids=["a step", "all steps", "an epoch", "before", "weights", "another weight"],
)
def test_a_run_that_recorded_something_else_differs(shorten):
    for runs in ((make_trace(), shorten(make_trace("patched"))), (shorten(make_trace()), make_trace("patched"))):
        assert find_first_difference(*runs).quantity == "what was recorded"


def test_what_one_run_lacks_is_named():
    fewer = replace(make_trace("patched"), steps=make_trace().steps[:3])
    assert str(find_first_difference(make_trace(), fewer)) == (
        "fit 0, epoch 1, step 1: what was recorded: callback 'loss at (0, 1, 1)', patched 'valid_loss at (0, 1, -1)'"
    )


# -- how a difference reads ------------------------------------------------------------------------


def test_a_difference_reads_with_its_place_and_both_values():
    difference = find_first_difference(make_trace(), make_trace("patched", losses=(0.9, 0.7, 0.25, 0.3)))
    assert str(difference) == "fit 0, epoch 1, step 0: loss: callback 0.5, patched 0.25"
    difference = find_first_difference(make_trace(), make_trace("patched", accuracy=(0.5, 0.75, 0.9)))
    assert str(difference) == "fit 0, epoch 0: accuracy: callback 0.7, patched 0.75"


def test_a_difference_before_the_first_step_is_not_told_as_after_the_run():
    difference = find_first_difference(make_trace(), make_trace("patched", valid=(0.9, 0.6, 0.4)))
    assert "after" not in str(difference)
    assert str(difference) == "before the first step: valid_loss: callback 0.8, patched 0.9"


# -- verdicts --------------------------------------------------------------------------------------


def test_identical_and_moved():
    comparison = build_comparison(three_arms())
    assert comparison.identical and comparison.broken_arm_differs and comparison.moved
    assert (comparison.exit_code, comparison.verdict) == (0, "IDENTICAL, and it moved")
    assert comparison.check() is comparison


def test_different():
    patched = make_trace("patched", losses=(0.9, 0.7, 0.5, 0.4))
    comparison = build_comparison([make_trace("callback"), patched, make_broken_trace()])
    assert not comparison.identical and comparison.exit_code == 1
    assert comparison.verdict == "DIFFERENT - fit 0, epoch 1, step 1: loss: callback 0.3, patched 0.4"
    with pytest.raises(AssertionError, match="DIFFERENT - fit 0, epoch 1, step 1") as error:
        comparison.check()
    assert isinstance(error.value, ComparisonError) and error.value.cause == "arms-differ"


def test_identical_and_too_short_to_move():
    """The weights changed, the train loss by less than one of a hundred targets' share."""
    comparison = build_comparison(
        three_arms(losses=(0.899, 0.899, 0.896, 0.895), valid=(0.8,) * 3, accuracy=(0.5,) * 3)
    )
    assert (comparison.exit_code, comparison.verdict) == (
        3,
        "IDENTICAL BUT STUCK - the weights changed and train_loss moved by 0.004500 in 4 steps, no more than one "
        "target's share (0.010000); train longer, or on more rows",
    )


def test_different_on_a_device_that_never_repeats_itself():
    arms = [make_trace("callback"), make_trace("patched", losses=(0.9, 0.7, 0.5, 0.4)), make_broken_trace()]
    noise = find_first_difference(arms[1], make_trace("patched"))
    assert build_comparison(arms, noise).verdict == (
        "DIFFERENT - fit 0, epoch 1, step 1: loss: callback 0.3, patched 0.4; but two patched runs differ as well (fit "
        "0, epoch 1, step 1: loss: patched 0.4, patched 0.3), so make_learner or this device is not deterministic, and "
        "nothing can be compared bit for bit"
    )


def test_identical_but_stuck():
    still = dict(losses=(0.9,) * 4, valid=(0.8,) * 3, accuracy=(0.5,) * 3, weights="decayed")
    callback, patched, broken = three_arms(**still)
    broken = replace(broken, steps=[replace(step, grad_norm=0.0) for step in broken.steps])
    comparison = build_comparison([callback, patched, broken])
    assert comparison.identical and comparison.broken_arm_differs and not comparison.moved
    assert (comparison.exit_code, comparison.verdict) == (3, STUCK)
    with pytest.raises(ComparisonError, match="IDENTICAL BUT STUCK") as error:
        comparison.check()
    assert error.value.cause == "stuck"


def test_a_broken_arm_that_does_not_differ_proves_nothing():
    comparison = build_comparison([make_trace("callback"), make_trace("patched"), make_trace("broken")])
    assert comparison.identical and not comparison.broken_arm_differs and comparison.exit_code == 1
    assert comparison.verdict == (
        "PROVES NOTHING - the broken arm did not differ: this fit trains nothing that could be compared"
    )
    with pytest.raises(ComparisonError, match="PROVES NOTHING") as error:
        comparison.check()
    assert error.value.cause == "proves-nothing"


def test_without_a_patched_arm_nothing_is_called_identical():
    for arms in ([make_trace()], [make_trace(), make_broken_trace()]):
        assert "IDENTICAL" not in build_comparison(arms).verdict


def test_without_a_broken_arm_two_equal_arms_pass_unproven():
    comparison = build_comparison(three_arms()[:2])
    assert comparison.identical and not comparison.broken_arm_differs and comparison.exit_code == 0


def test_a_difference_counts_before_a_broken_arm_that_proves_nothing():
    arms = [make_trace("callback"), make_trace("patched", weights="other"), make_trace("broken")]
    assert build_comparison(arms).verdict.startswith("DIFFERENT - after the run: weight weight")


# -- the same start --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        (
            dict(initial_weights={"weight": "other"}),
            "Arms callback and patched: 1 of 1 weights differ before the first step (first: weight). "
            "Expected the same start. "
            "Build model and data inside make_learner, with nothing random beyond the seed.",
        ),
        (
            dict(initial_weights={"weight": "initial", "more": "x"}),
            "Arms callback and patched: the two models have different weights (first: more). Expected the "
            "same start. Build "
            "model and data inside make_learner, with nothing random beyond the seed.",
        ),
        (
            dict(first_batch="other"),
            "Arms callback and patched: the first training batch differs. Expected the same data in the same "
            "order. Build "
            "model and data inside make_learner, and draw random numbers from python, numpy or torch, which "
            "are seeded.",
        ),
    ],
    ids=["weights", "more weights", "batch"],
)
def test_arms_that_do_not_begin_alike_cannot_be_compared(change, message):
    with pytest.raises(ComparisonError) as error:
        build_comparison([make_trace(), replace(make_trace("patched"), **change)])
    assert (str(error.value), error.value.cause) == (message, "different-start")


# -- movement --------------------------------------------------------------------------------------


def test_movement_is_measured_against_the_broken_arm():
    accuracy = movement_of("accuracy", make_trace(), make_broken_trace(accuracy=(0.5, 0.6, 0.55)))
    assert accuracy.values == [0.5, 0.7, 0.9]
    assert (accuracy.value_range, accuracy.broken_range) == (pytest.approx(0.4), pytest.approx(0.1))
    assert accuracy.moved and accuracy.is_metric and accuracy.resolution == 0.01
    assert not movement_of("accuracy", make_trace(), make_broken_trace(accuracy=(0.5, 0.9, 0.5))).moved


def test_the_train_loss_moves_by_its_distance_from_the_broken_arm_over_the_same_batches():
    loss = movement_of("train_loss", make_trace(), make_broken_trace())
    assert loss.values == [pytest.approx(0.8), pytest.approx(0.4)] and loss.value_range == pytest.approx(0.5)
    assert loss.moved and not loss.is_metric
    noisy = dict(losses=(0.9, 0.1, 0.8, 0.3))  # batches differ, training does nothing
    assert not movement_of("train_loss", make_trace(**noisy), make_broken_trace(**noisy)).moved


@quick
@given(n=st.integers(4, 400), data=st.data())
def test_one_flipped_target_is_no_movement_and_two_are(n, data):
    k = data.draw(st.integers(0, n - 2))
    as_float = data.draw(st.sampled_from([float, lambda x: float(np.float32(x))]))
    one, two = ([as_float(k / n), as_float((k + more) / n), as_float(k / n)] for more in (1, 2))
    still = make_broken_trace(accuracy=(0.5, 0.5, 0.5))
    assert not movement_of("accuracy", make_trace(accuracy=one, n_targets=n), still).moved
    assert movement_of("accuracy", make_trace(accuracy=two, n_targets=n), still).moved


@quick
@given(n=st.integers(4, 400), data=st.data())
def test_a_metric_is_at_its_base_rate_within_one_flipped_target(n, data):
    k = data.draw(st.integers(0, n - 2))
    as_float = data.draw(st.sampled_from([float, lambda x: float(np.float32(x))]))

    def ends_at(value):
        trace = make_trace(accuracy=(0.0, 0.0, as_float(value)), n_targets=n, base_rates={"accuracy": k / n})
        return movement_of("accuracy", trace).at_base_rate

    assert ends_at(k / n) and ends_at((k + 1) / n) and not ends_at((k + 2) / n)


def test_a_metric_that_only_went_to_its_base_rate_is_glued_to_it():
    glued = make_trace(accuracy=(0.1, 0.9, 0.9), base_rates={"accuracy": 0.9})
    metric = movement_of("accuracy", glued, make_broken_trace())
    assert metric.value_range > 0.5 and not metric.moved and metric.at_base_rate and metric.base_rate == 0.9
    comparison = build_comparison([glued, replace(glued, arm="patched"), make_broken_trace()])
    assert comparison.verdict == (
        "IDENTICAL BUT STUCK - train_loss moved, no metric did; train longer, or add a "
        "metric that can see it (ColumnwiseAUC); diagnose(make_learner()) tells whether "
        "anything is wrong"
    )


def test_a_metric_that_left_its_base_rate_has_moved_even_if_it_came_back():
    metric = movement_of(
        "accuracy", make_trace(accuracy=(0.9, 0.7, 0.9), base_rates={"accuracy": 0.9}), make_broken_trace()
    )
    assert metric.moved and metric.at_base_rate


def test_a_model_that_collapsed_onto_the_rarer_class_has_not_moved():
    """A rate that is too high for a pretrained model: every text is said to be of the other class."""
    collapsed = make_trace(accuracy=(0.49, 0.47, 0.53), base_rates={"accuracy": 0.53})
    assert movement_of("accuracy", collapsed, make_broken_trace()).moved
    collapsed = replace(collapsed, constant_prediction_scores={"accuracy": [0.53, 0.47]})
    assert not movement_of("accuracy", collapsed, make_broken_trace()).moved
    left = replace(make_trace(accuracy=(0.49, 0.47, 0.6)), constant_prediction_scores={"accuracy": [0.53, 0.47]})
    assert movement_of("accuracy", left, make_broken_trace()).moved


def test_without_a_broken_arm_the_train_loss_of_a_single_epoch_moves_too():
    one_epoch = replace(
        make_trace(), steps=[replace(step, epoch=0, step=i) for i, step in enumerate(make_trace().steps)]
    )
    loss = movement_of("train_loss", one_epoch, None)
    assert loss.moved and loss.value_range == pytest.approx(0.6) and len(loss.values) == 1
    still = replace(one_epoch, steps=[replace(step, loss=0.5) for step in one_epoch.steps])
    assert not movement_of("train_loss", still, None).moved


def test_a_loss_is_never_glued_to_a_base_rate():
    loss = movement_of(
        "valid_loss", make_trace(valid=(0.8, 0.4, 0.4), base_rates={"valid_loss": 0.4}), make_broken_trace()
    )
    assert loss.moved and not loss.at_base_rate and loss.base_rate == 0.4


def test_one_metric_that_moves_is_enough_but_not_without_the_train_loss():
    def comparison(**kwargs):
        return build_comparison([make_trace(arm, **kwargs) for arm in ("callback", "patched")] + [make_broken_trace()])

    assert comparison().moved
    assert not comparison(accuracy=(0.5, 0.5, 0.5)).moved
    assert not comparison(losses=(0.9,) * 4).moved


def without_metrics(trace):
    return replace(
        trace, before=replace(trace.before, metrics={}), epochs=[replace(e, metrics={}) for e in trace.epochs]
    )


def test_without_metrics_the_validation_loss_speaks():
    arms = [without_metrics(trace) for trace in three_arms()]
    assert build_comparison(arms).moved
    still = [without_metrics(trace) for trace in three_arms(valid=(0.8, 0.8, 0.8))]
    assert not build_comparison(still).moved


def test_without_a_validation_set_the_train_loss_is_all_there_is():
    def blind(trace):
        return replace(trace, before=None, epochs=[replace(e, valid_loss=None, metrics={}) for e in trace.epochs])

    comparison = build_comparison([blind(trace) for trace in three_arms()])
    assert [m.quantity for m in comparison.movements] == ["train_loss"] and comparison.moved


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_numbers_that_are_not_finite_are_no_movement(value):
    arms = three_arms(losses=(value,) * 4, valid=(0.8, value, value), accuracy=(0.5, value, value))
    comparison = build_comparison(arms)
    assert not any(m.moved for m in comparison.movements) and comparison.exit_code == 3
    assert all(np.isfinite([m.value_range, m.broken_range]).all() for m in comparison.movements)


@pytest.mark.parametrize("index, moved", [(-1, False), (0, True)])
def test_a_loss_that_ends_as_no_number_has_not_moved_and_one_that_recovers_has(index, moved):
    *both, broken = three_arms()
    comparison = build_comparison([*(change_step(index, "loss")(trace, NAN) for trace in both), broken])
    assert comparison.identical and comparison.moved is moved
    assert moved or comparison.verdict.startswith("IDENTICAL BUT STUCK - the loss became nan at fit 0")


def test_an_empty_trace_moves_nothing():
    comparison = build_comparison([Trace("callback"), Trace("patched")])
    assert comparison.movements == [] and not comparison.moved and comparison.exit_code == 3


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(*[any_float] * 11), min_size=3, max_size=3))
def test_no_run_of_numbers_breaks_a_comparison(runs):
    arms = [
        make_trace(arm, losses=n[:4], valid=n[4:7], accuracy=n[7:10], base_rates={"accuracy": n[10]})
        for arm, n in zip(("callback", "patched", "broken"), runs)
    ]
    comparison = build_comparison(arms)
    assert comparison.exit_code in (0, 1, 3)
    assert str(comparison).startswith(comparison.verdict)
