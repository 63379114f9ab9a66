"""Delta debugging, and the seconds that a search may take; no fastai."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback.diagnosis.substitution.budget import Budget, OutOfTimeError
from fastai_hf_callback.diagnosis.substitution.minimize import minimize

SIZES = st.integers(min_value=1, max_value=14)


def asked_about(size, causes, more=lambda chosen: False):
    """The result for parts of which `causes` have to be replaced together, or what `more` says; and what was asked."""
    asked = []

    def works(chosen):
        asked.append(chosen)
        return causes <= set(chosen) or more(set(chosen))

    return minimize(range(size), works), asked


@given(SIZES, st.data())
@settings(deadline=None)
def test_the_parts_that_are_needed_are_found_and_no_others(size, data):
    causes = data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=3))
    found, asked = asked_about(size, causes)
    assert set(found) == causes
    assert len(set(asked)) == len(asked) <= size**2 + 3 * size, "nothing is asked twice"


@given(st.integers(2, 14), st.data())
@settings(deadline=None)
def test_without_any_part_of_the_result_it_does_not_work_whatever_works(size, data):
    """Also where several subsets work, and where more of them works worse."""
    good = data.draw(st.lists(st.sets(st.integers(0, size - 1), min_size=1), min_size=1, max_size=4))
    bad = data.draw(st.integers(0, size - 1))

    def works(chosen):
        return len(chosen) == size or any(one <= chosen for one in good) and bad not in chosen

    found, _ = asked_about(size, set(range(size)), works)
    assert works(set(found))
    assert not any(works(set(found) - {part}) for part in found if len(found) > 1)


@pytest.mark.parametrize("cause", range(12))
def test_a_single_part_takes_few_runs(cause):
    _, asked = asked_about(12, {cause})
    assert len(asked) <= 12


def test_of_two_that_would_do_the_earlier_is_found():
    assert asked_about(8, {6}, lambda chosen: 2 in chosen)[0] == (2,)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_budget_ends_when_its_seconds_are_over_and_shows_how_far_it_is():
    clock, shown = Clock(), []
    budget = Budget(10, lambda *given: shown.append(given), clock)
    budget.begin("the learner as it is")
    clock.now = 9.9
    budget.check()
    assert shown == [("the learner as it is", 0, 10), ("the learner as it is", 9, 10)]
    clock.now = 10.1
    with pytest.raises(OutOfTimeError, match="10 seconds were not enough"):
        budget.begin("replaced: the loss")


@pytest.mark.parametrize("step_seconds, steps", [(0.0, 120), (0.05, 120), (0.2, 44), (3.0, 24)])
def test_slow_steps_make_short_runs(step_seconds, steps):
    assert Budget(110).count_steps(step_seconds, 0.08, 24, 120) == steps
