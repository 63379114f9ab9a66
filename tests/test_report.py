"""A comparison as text, dict, strict JSON, HTML and a picture."""
import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback.comparison import compare_traces, first_difference
from tests.tiny import a_broken_trace, a_trace

NAN, INF = float("nan"), float("inf")


def moved():
    return compare_traces([a_trace("callback", base_rates={"accuracy": 0.52}), a_trace("patched"), a_broken_trace()])


def different():
    arms = [a_trace("callback"), a_trace("patched", losses=(0.9, 0.7, 0.5, 0.4)), a_broken_trace()]
    return compare_traces(arms, first_difference(arms[1], a_trace("patched")))


def glued():
    """The loss falls, and so does one metric; the other stands at its base rate."""
    def with_second(trace, values):
        before, *epochs = ([trace.before, *trace.epochs])
        add = [replace(e, metrics={**e.metrics, "thresh": v}) for e, v in zip([before, *epochs], values)]
        return replace(trace, before=add[0], epochs=add[1:], base_rates={"thresh": 0.9})

    return compare_traces([with_second(a_trace("callback"), (0.4, 0.9, 0.9)),
                           with_second(a_trace("patched"), (0.4, 0.9, 0.9)), with_second(a_broken_trace(), (0.4,) * 3)])


def not_finite():
    kwargs = dict(losses=(0.9, NAN, INF, -INF), valid=(NAN, INF, 0.4), accuracy=(0.5, NAN, -INF))
    return compare_traces([a_trace("callback", **kwargs), a_trace("patched", **kwargs), a_broken_trace()])


def alone():
    return compare_traces([a_trace("callback")])


COMPARISONS = (moved, different, glued, not_finite, alone)


# -- text ------------------------------------------------------------------------------------------


def test_the_text_is_verdict_arms_and_table():
    assert str(moved()) == """\
IDENTICAL, and it moved
  callback / patched loop   bit for bit equal over 4 steps, 2 epoch(s), 1 weight tensors
  callback / broken arm     differ, as they must - fit 0, epoch 0, step 1: loss: callback 0.7, broken 0.9

              before, then each epoch         excursion  broken arm  moved  base rate
  train_loss  -------- > 0.800000 > 0.400000  0.500000   0.000000    yes    -
  valid_loss  0.800000 > 0.600000 > 0.400000  0.400000   0.000000    yes    -
  accuracy    0.500000 > 0.700000 > 0.900000  0.400000   0.000000    yes    0.520000"""


def test_the_text_says_where_the_arms_part():
    lines = str(different()).splitlines()
    assert lines[0].startswith(
        "DIFFERENT - fit 0, epoch 1, step 1: loss: callback 0.3, patched 0.4; but two patched runs differ as well")
    assert lines[1] == "  callback / patched loop   differ - fit 0, epoch 1, step 1: loss: callback 0.3, patched 0.4"


def test_the_text_says_when_the_broken_arm_is_equal():
    comparison = compare_traces([a_trace("callback"), a_trace("patched"), a_trace("broken")])
    assert "  callback / broken arm     EQUAL" in str(comparison).splitlines()


def test_the_text_says_which_metric_cannot_see_that_the_model_learns():
    lines = str(glued()).splitlines()
    assert lines[0] == "IDENTICAL, and it moved"
    assert next(line for line in lines if line.startswith("  thresh")).endswith("no     0.900000   = the base rate")
    assert lines[-1] == ("  thresh stands at 0.900000, what a predictor that never reads the text scores, while the "
                         "model learns: this metric cannot see it.")


def test_no_metric_is_blamed_where_nothing_moved():
    still = dict(losses=(0.9,) * 4, valid=(0.8,) * 3, accuracy=(0.1, 0.9, 0.9), base_rates={"accuracy": 0.9})
    comparison = compare_traces([a_trace("callback", **still), a_trace("patched", **still), a_broken_trace()])
    assert "= the base rate" in str(comparison) and "cannot see it" not in str(comparison)


def test_a_long_run_is_shown_by_its_ends():
    values = tuple(i / 10 for i in range(9))
    comparison = compare_traces([a_trace("callback", losses=(0.5,) * 16, valid=values, accuracy=values)])
    assert "0.000000 > 0.100000 > ... > 0.700000 > 0.800000" in str(comparison)
    assert "0.200000 >" not in str(comparison)


@pytest.mark.parametrize("make", COMPARISONS, ids=lambda make: make.__name__)
def test_the_text_is_plain_and_every_line_ends_where_it_ends(make):
    assert str(make()) == "\n".join(line.rstrip() for line in str(make()).splitlines())
    assert str(make()).isascii()


# -- dict and JSON ---------------------------------------------------------------------------------


def no_constants(name):
    raise AssertionError(f"{name} is no JSON")


def test_everything_is_in_the_dict():
    plain = moved().to_dict()
    assert list(plain) == ["verdict", "exit_code", "identical", "moved", "difference", "broken_difference", "noise",
                           "movements", "traces"]
    assert (plain["verdict"], plain["exit_code"], plain["identical"], plain["moved"]) == \
        ("IDENTICAL, and it moved", 0, True, True)
    assert plain["difference"] is None and plain["noise"] is None
    assert list(plain["traces"]) == ["callback", "patched", "broken"]
    assert plain["broken_difference"]["step"] == 1
    assert different().to_dict()["noise"]["values"] == (0.4, 0.3)


@pytest.mark.parametrize("make", COMPARISONS, ids=lambda make: make.__name__)
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
    comparison = compare_traces([a_trace("callback", losses=losses)])
    read = json.loads(comparison.to_json(), parse_constant=no_constants)["traces"]["callback"]["steps"]
    assert [float(step["loss"]).hex() for step in read] == [loss.hex() for loss in losses]


# -- HTML ------------------------------------------------------------------------------------------


class Balanced(HTMLParser):
    """Checks that every tag is closed in turn, and keeps the text."""

    def __init__(self):
        super().__init__()
        self.open, self.words = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def html_words(comparison):
    parser = Balanced()
    parser.feed(comparison._repr_html_())
    assert not parser.open
    return parser.words


@pytest.mark.parametrize("make", COMPARISONS, ids=lambda make: make.__name__)
def test_html_holds_the_verdict_and_every_cell(make):
    words = html_words(make())
    assert words[0] == make().verdict
    assert {m.quantity for m in make().movements} <= set(words)


def test_html_says_which_metric_cannot_see_that_the_model_learns():
    assert any("this metric cannot see it" in word for word in html_words(glued()))


def test_a_metrics_name_is_no_html():
    trace = a_trace("callback")
    trace = replace(trace, epochs=[replace(e, metrics={"<script>": 0.5}) for e in trace.epochs])
    assert "<script>" not in compare_traces([trace])._repr_html_()
    assert "<script>" in html_words(compare_traces([trace]))


# -- plot ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", COMPARISONS, ids=lambda make: make.__name__)
def test_the_plot_has_two_panels_a_quantity(make):
    pytest.importorskip("matplotlib")
    comparison = make()
    figure = comparison.plot()
    assert len(figure.axes) == 2 * len(comparison.movements)
    assert [axes.get_title() for axes in figure.axes[::2]] == [m.quantity for m in comparison.movements]


def test_the_plot_draws_every_arm_and_the_difference(tmp_path):
    pytest.importorskip("matplotlib")
    figure = different().plot(tmp_path / "plot.png")
    above, below = figure.axes[:2]
    assert [line.get_label() for line in above.lines] == ["callback", "patched", "broken"]
    assert list(above.lines[0].get_ydata()) == [0.9, 0.7, 0.5, 0.3]
    assert list(below.lines[0].get_ydata()) == pytest.approx([0, 0, 0, -0.1])
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_of_numbers_that_are_not_finite_can_be_written(tmp_path):
    pytest.importorskip("matplotlib")
    not_finite().plot(tmp_path / "plot.svg")
    assert b"<svg" in (tmp_path / "plot.svg").read_bytes()


def test_plotting_opens_no_window_and_sets_no_global_state():
    matplotlib = pytest.importorskip("matplotlib")
    before, backend = dict(matplotlib.rcParams), matplotlib.get_backend()
    moved().plot()
    assert dict(matplotlib.rcParams) == before and matplotlib.get_backend() == backend
