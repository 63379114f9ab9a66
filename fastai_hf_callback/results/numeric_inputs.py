"""``NumericInputs``: what a model is given besides token ids (pixels, waveforms, features), in plain numbers."""

from dataclasses import dataclass
from typing import Optional, Tuple

__all__ = ["NumericInputs", "Values"]


@dataclass
class Values:
    """The range and the moments of some numbers; ``contrast`` is their standard deviation within rows and channels."""

    lowest: float
    highest: float
    mean: float
    std: float
    contrast: float
    whole_numbers: bool = False


@dataclass
class NumericInputs:
    """One tensor of numbers among a batch's inputs, over the rows of a few training batches.

    Attributes
    ----------
    name : str
        As the model takes it, or its place in the batch.
    kind : str
        ``pixels`` (rows, channels, height, width), ``spectrograms`` (rows, n, m), ``waveforms`` (rows, many samples)
        or ``features``.
    shape : tuple of int
        Of one row.
    rows, distinct_rows, constant_rows, non_finite_rows : int
        Rows looked at; different ones among them; those that hold one value only (one in each channel); those with
        NaN or infinity.
    values : Values
        Of the finite ones.
    first_layer : str
        The class of the layer that they reach first, "" where that is not known.
    at_first_layer : Values or None
        What that layer was given: a model may scale its inputs itself.
    is_normalized_behind : bool
        Whether a batch norm follows that layer, which takes any scale away.
    channels_reshaped : bool
        Whether that layer was given (rows, channels, height, width) that were read as such from (rows, height, width,
        channels), without moving the axis.
    expected_mean, expected_std : float or None
        With which the image processor that was saved with the model normalizes.
    answer : float or None
        The outputs' largest change where each row is given another row's tensor, over their spread between rows.
    answer_if_scaled : float or None
        Their spread with the values as they are over that with values of mean 0 and standard deviation 1.
    """

    name: str
    kind: str
    shape: Tuple[int, ...]
    rows: int
    distinct_rows: int
    constant_rows: int
    non_finite_rows: int
    values: Optional[Values] = None
    first_layer: str = ""
    at_first_layer: Optional[Values] = None
    is_normalized_behind: bool = False
    channels_reshaped: bool = False
    expected_mean: Optional[float] = None
    expected_std: Optional[float] = None
    answer: Optional[float] = None
    answer_if_scaled: Optional[float] = None

    @property
    def size(self) -> int:
        """How many numbers a row holds."""
        product = 1
        for length in self.shape:
            product *= length
        return product

    @property
    def received(self) -> Optional[Values]:
        """The values at the first layer, or else in the batch."""
        return self.at_first_layer or self.values
