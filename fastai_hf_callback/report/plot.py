"""A comparison -> a picture. Imports matplotlib when it draws."""

import inspect
from typing import Any

from fastai_hf_callback.results.comparison import ComparisonResult

from .curves import ArmSeries, build_series

__all__ = ["plot_comparison"]

_STYLES = {
    "callback": dict(color="#0969da", lw=2.4),
    "patched": dict(color="#fb8f44", lw=1.2, ls="--"),
    "broken": dict(color="#8c959f", lw=1.0, ls=":"),
}


def plot_comparison(comparison: ComparisonResult, path: Any = None) -> Any:
    """Plot both arms' losses and metrics, their differences below.

    Parameters
    ----------
    comparison : ComparisonResult
    path : path-like, optional
        Where to write the picture.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    drawn = {m.quantity for m in comparison.movements}
    columns = [series for series in build_series(comparison) if series.quantity in drawn]
    constrained = {"layout": "constrained"} if _supports_layout(Figure) else {"constrained_layout": True}
    figure = Figure(figsize=(4.6 * max(1, len(columns)), 5.6), **constrained)
    grid = figure.add_gridspec(2, max(1, len(columns)), height_ratios=(3, 1))
    for position, series in enumerate(columns):
        above = figure.add_subplot(grid[0, position])
        _draw(above, figure.add_subplot(grid[1, position], sharex=above), series)
    if columns:
        figure.axes[0].legend(frameon=False)
    figure.suptitle(_shorten(comparison.verdict, 110))
    if path is not None:
        figure.savefig(path, dpi=130)
    return figure


def _draw(above: Any, below: Any, series: ArmSeries) -> None:
    for arm, found in series.arms.items():
        values = [float("nan") if value is None else value for value in found]
        above.plot(range(len(values)), values, label=arm, marker="" if len(values) > 30 else "o", ms=3, **_STYLES[arm])
    if series.base_rate is not None:
        above.axhline(series.base_rate, color="#57606a", lw=0.8)
        above.annotate("base rate", (0, series.base_rate), fontsize=8, color="#57606a", va="bottom")
    above.set_title(series.quantity, fontsize=10)
    if "patched" in series.arms:
        pairs = zip(series.arms["callback"], series.arms["patched"])
        gaps = [a - b for a, b in pairs if a is not None and b is not None]
        below.plot(range(len(gaps)), gaps, color="#cf222e", lw=1)
        below.set_ylabel("callback - patched", fontsize=8)
    below.xaxis.get_major_locator().set_params(integer=True)
    below.set_xlabel("step" if series.by_step else "epoch (0: before training)", fontsize=8)


def _supports_layout(figure_class: Any) -> bool:
    return "layout" in inspect.signature(figure_class.__init__).parameters


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
