"""The arms' factory: what the libraries log while a learner is made is shown once, for the first arm."""

import logging

import pytest

from fastai_hf_callback.comparison.runner import ARMS, build_learner

SAID = "some weights were newly initialised"


def make():
    logging.getLogger("a library").warning(SAID)
    return {}


@pytest.mark.parametrize("arm", ARMS)
def test_the_first_arms_factory_may_log_and_the_others_may_not(caplog, arm):
    build_learner(make, dict, arm)
    assert (SAID in caplog.text) == (arm == "callback")
    logging.getLogger("a library").warning("after it")
    assert "after it" in caplog.text


def test_logging_comes_back_when_the_factory_fails():
    before = logging.root.manager.disable
    with pytest.raises(ZeroDivisionError):
        build_learner(lambda: 1 / 0, dict, "broken")
    assert logging.root.manager.disable == before
