"""``Comparison``: a ``ComparisonResult`` that a user can check, print, draw and save."""

from typing import Any, Dict, Optional, Sequence

from fastai_hf_callback.errors import ComparisonError
from fastai_hf_callback.report.json import comparison_to_dict, comparison_to_json
from fastai_hf_callback.report.page import comparison_to_fragment, comparison_to_page, write_page
from fastai_hf_callback.report.plot import plot_comparison
from fastai_hf_callback.report.text import comparison_to_text
from fastai_hf_callback.results.comparison import ComparisonResult, Difference, compare_traces
from fastai_hf_callback.results.trace import Trace

__all__ = ["Comparison", "build_comparison"]


class Comparison(ComparisonResult):
    """What the arms of :func:`fastai_hf_callback.compare` showed.

    Attributes
    ----------
    traces : dict of str to Trace
        By arm.
    difference : Difference or None
        The first difference between callback and patched arm; None when they are identical.
    broken_difference : Difference or None
        The first difference between callback and broken arm; None means that the comparison could not
        have detected a fault.
    noise : Difference or None
        The first difference between two runs of the patched arm, searched only where the callback
        arm differs: on a device without deterministic kernels it is the noise floor.
    movements : list of Movement
        Train loss, validation loss and metrics of the callback arm.
    """

    def check(self) -> "Comparison":
        """Raise unless the arms are identical and moved; for one line in a test.

        Returns
        -------
        Comparison
            Itself.

        Raises
        ------
        ComparisonError
            An ``AssertionError`` that carries the whole report.
        """
        if self.exit_code:
            cause = "arms-differ" if not self.identical else "stuck" if self.exit_code == 3 else "proves-nothing"
            raise ComparisonError(str(self), cause)
        return self

    def to_dict(self) -> Dict[str, Any]:
        """Return everything as plain dicts, lists and numbers."""
        return comparison_to_dict(self)

    def to_json(self) -> str:
        """Return everything as JSON; numbers that are not finite as strings."""
        return comparison_to_json(self)

    def plot(self, path: Any = None) -> Any:
        """Draw both arms' losses and metrics, differences below; needs matplotlib.

        Parameters
        ----------
        path : path-like, optional
            Where to write the picture.

        Returns
        -------
        matplotlib.figure.Figure
        """
        return plot_comparison(self, path)

    def to_html(self, path: Any = None, title: str = "") -> str:
        """Render verdict, what moved, curves and epochs as one self-contained page; needs jinja2.

        Parameters
        ----------
        path : path-like, optional
            Where to write the page.
        title : str
            The page's title: what was compared.

        Returns
        -------
        str
            The page. It loads nothing and works without scripts; with them, buttons copy and the arrow keys read
            the curves.
        """
        return write_page(comparison_to_page(self, title), path)

    def __str__(self) -> str:
        return comparison_to_text(self)

    def _repr_html_(self) -> str:
        return comparison_to_fragment(self)


def build_comparison(traces: Sequence[Trace], noise: Optional[Difference] = None) -> Comparison:
    """Compare arms as :func:`compare_traces` does, and return what the user gets."""
    return Comparison(**vars(compare_traces(traces, noise)))
