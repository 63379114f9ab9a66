"""A comparison as plain text."""

from fastai_hf_callback.comparison.comparison import build_comparison
from tests.report.example_comparisons import different, every_comparison, metric_at_base_rate, moved
from tests.tiny_models import make_broken_trace, make_trace


def test_the_text_is_verdict_arms_and_table():
    assert (
        str(moved())
        == """\
IDENTICAL, and it moved
  callback / patched loop   bit for bit equal over 4 steps, 2 epoch(s), 1 weight tensors
  callback / broken arm     differ, as they must - fit 0, epoch 0, step 1: loss: callback 0.7, broken 0.9

              before, then each epoch         range     broken arm  moved  base rate
  train_loss  -------- > 0.800000 > 0.400000  0.500000  0.000000    yes    -
  valid_loss  0.800000 > 0.600000 > 0.400000  0.400000  0.000000    yes    -
  accuracy    0.500000 > 0.700000 > 0.900000  0.400000  0.000000    yes    0.520000"""
    )


def test_the_text_says_where_the_arms_part():
    lines = str(different()).splitlines()
    assert lines[0].startswith(
        "DIFFERENT - fit 0, epoch 1, step 1: loss: callback 0.3, patched 0.4; but two patched runs differ as well"
    )
    assert lines[1] == "  callback / patched loop   differ - fit 0, epoch 1, step 1: loss: callback 0.3, patched 0.4"


def test_the_text_says_when_the_broken_arm_is_equal():
    comparison = build_comparison([make_trace("callback"), make_trace("patched"), make_trace("broken")])
    assert "  callback / broken arm     EQUAL" in str(comparison).splitlines()


def test_the_text_says_which_metric_cannot_see_that_the_model_learns():
    lines = str(metric_at_base_rate()).splitlines()
    assert lines[0] == "IDENTICAL, and it moved"
    assert next(line for line in lines if line.startswith("  thresh")).endswith("no     0.900000   = the base rate")
    assert lines[-1] == (
        "  thresh stands at 0.900000, what a predictor that never reads the text scores, while the "
        "model learns: this metric cannot see it."
    )


def test_no_metric_is_blamed_where_nothing_moved():
    still = dict(losses=(0.9,) * 4, valid=(0.8,) * 3, accuracy=(0.1, 0.9, 0.9), base_rates={"accuracy": 0.9})
    comparison = build_comparison(
        [make_trace("callback", **still), make_trace("patched", **still), make_broken_trace()]
    )
    assert "= the base rate" in str(comparison) and "cannot see it" not in str(comparison)


def test_a_long_run_is_shown_by_its_ends():
    values = tuple(i / 10 for i in range(9))
    comparison = build_comparison([make_trace("callback", losses=(0.5,) * 16, valid=values, accuracy=values)])
    assert "0.000000 > 0.100000 > ... > 0.700000 > 0.800000" in str(comparison)
    assert "0.200000 >" not in str(comparison)


@every_comparison
def test_the_text_is_plain_and_every_line_ends_where_it_ends(make):
    assert str(make()) == "\n".join(line.rstrip() for line in str(make()).splitlines())
    assert str(make()).isascii()
