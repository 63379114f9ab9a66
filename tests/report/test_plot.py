"""A comparison as a picture."""

import pytest

from tests.report.example_comparisons import different, every_comparison, moved, not_finite


@every_comparison
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
