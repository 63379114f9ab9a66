"""A comparison as a dict and as strict JSON."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback.comparison.comparison import build_comparison
from tests.report.example_comparisons import different, every_comparison, moved, not_finite
from tests.tiny_models import make_trace


def no_constants(name):
    raise AssertionError(f"{name} is no JSON")


def test_everything_is_in_the_dict():
    plain = moved().to_dict()
    assert list(plain) == [
        "verdict",
        "exit_code",
        "identical",
        "moved",
        "difference",
        "broken_difference",
        "noise",
        "movements",
        "traces",
    ]
    assert (plain["verdict"], plain["exit_code"], plain["identical"], plain["moved"]) == (
        "IDENTICAL, and it moved",
        0,
        True,
        True,
    )
    assert plain["difference"] is None and plain["noise"] is None
    assert list(plain["traces"]) == ["callback", "patched", "broken"]
    assert plain["broken_difference"]["step"] == 1
    assert different().to_dict()["noise"]["values"] == (0.4, 0.3)


@every_comparison
def test_json_is_strict_and_says_what_the_dict_says(make):
    read = json.loads(make().to_json(), parse_constant=no_constants)
    assert read["verdict"] == make().verdict and read["exit_code"] == make().exit_code
    assert len(read["traces"]["callback"]["steps"]) == 4


def test_json_writes_numbers_that_are_not_finite_as_words():
    steps = json.loads(not_finite().to_json(), parse_constant=no_constants)["traces"]["callback"]["steps"]
    assert [step["loss"] for step in steps] == [0.9, "nan", "inf", "-inf"]


def test_plain_json_would_not_be_strict():
    with pytest.raises(AssertionError, match="NaN is no JSON"):
        json.loads(json.dumps(not_finite().to_dict()), parse_constant=no_constants)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(), min_size=4, max_size=4))
def test_json_gives_every_finite_number_back_to_the_last_bit(losses):
    comparison = build_comparison([make_trace("callback", losses=losses)])
    read = json.loads(comparison.to_json(), parse_constant=no_constants)["traces"]["callback"]["steps"]
    assert [float(step["loss"]).hex() for step in read] == [loss.hex() for loss in losses]
