"""Comparisons made by hand, one for each thing a report has to show."""

from dataclasses import replace

import pytest

from fastai_hf_callback.comparison.comparison import build_comparison
from fastai_hf_callback.results.comparison import find_first_difference
from tests.tiny_models import make_broken_trace, make_trace

NAN, INF = float("nan"), float("inf")


def moved():
    return build_comparison(
        [make_trace("callback", base_rates={"accuracy": 0.52}), make_trace("patched"), make_broken_trace()]
    )


def different():
    arms = [make_trace("callback"), make_trace("patched", losses=(0.9, 0.7, 0.5, 0.4)), make_broken_trace()]
    return build_comparison(arms, find_first_difference(arms[1], make_trace("patched")))


def metric_at_base_rate():
    """The loss falls, and so does one metric; the other stands at its base rate."""

    def with_second(trace, values):
        before, *epochs = [trace.before, *trace.epochs]
        add = [replace(e, metrics={**e.metrics, "thresh": v}) for e, v in zip([before, *epochs], values)]
        return replace(trace, before=add[0], epochs=add[1:], base_rates={"thresh": 0.9})

    return build_comparison(
        [
            with_second(make_trace("callback"), (0.4, 0.9, 0.9)),
            with_second(make_trace("patched"), (0.4, 0.9, 0.9)),
            with_second(make_broken_trace(), (0.4,) * 3),
        ]
    )


def not_finite():
    kwargs = dict(losses=(0.9, NAN, INF, -INF), valid=(NAN, INF, 0.4), accuracy=(0.5, NAN, -INF))
    return build_comparison([make_trace("callback", **kwargs), make_trace("patched", **kwargs), make_broken_trace()])


def alone():
    return build_comparison([make_trace("callback")])


def stuck():
    still = dict(losses=(0.9,) * 4, valid=(0.8,) * 3, accuracy=(0.5,) * 3, weights="decayed")
    broken = make_broken_trace()
    broken = replace(broken, steps=[replace(step, grad_norm=0.0) for step in broken.steps])
    return build_comparison([make_trace("callback", **still), make_trace("patched", **still), broken])


def parted_after_the_run():
    """Equal in every step and epoch; a weight differs."""
    return build_comparison([make_trace("callback"), make_trace("patched", weights="others"), make_broken_trace()])


def long(steps=10_000, parts_at=7_777, spike_at=4_321):
    """Steps by the ten thousand, a hundred an epoch; one of them differs in the last bit, another is a spike."""

    def losses(at):
        return [1 / (1 + i / 1000) + (5.0 if i == spike_at else 2**-50 if i == at else 0.0) for i in range(steps)]

    def trace(arm, losses):
        made = make_trace(arm, losses=losses)
        at = [replace(step, epoch=i // 100, step=i % 100) for i, step in enumerate(made.steps)]
        return replace(made, steps=at, epochs=[replace(made.epochs[0], epoch=e) for e in range(steps // 100)])

    return build_comparison(
        [trace("callback", losses(parts_at)), trace("patched", losses(None)), trace("broken", [1.0] * steps)]
    )


COMPARISONS = (moved, different, metric_at_base_rate, not_finite, alone, stuck, parted_after_the_run)
every_comparison = pytest.mark.parametrize("make", COMPARISONS, ids=lambda make: make.__name__)
