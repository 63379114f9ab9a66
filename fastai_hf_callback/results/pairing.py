"""``Pairing``: which output a loss compares with which target, and which of the targets count."""

from dataclasses import dataclass
from typing import Optional

__all__ = ["Pairing"]


@dataclass
class Pairing:
    """How a loss pairs outputs and targets, found by changing either.

    Attributes
    ----------
    reads_targets : bool or None
        Whether the loss of the same outputs changes with the targets; None where no other targets could be tried.
    reads_rows : bool or None
        Whether the loss changes when the outputs' rows change places: in-batch negatives pair them by their places.
    holds_loss : bool
        Whether the model's own loss is among what it gives to ``loss_func``.
    ahead : int or None
        With a target for each token: the output at a position is compared with the target so many positions on.
    shift : int or None
        The targets are the token ids themselves: that at a position is the id so many positions on.
    of_decoder : bool
        Whether the positions are those of an encoder-decoder's decoder.
    decodes_source : bool
        Whether an encoder-decoder got neither labels nor decoder inputs, and made these of the source.
    is_causal : bool or None
        Whether an output stays the same when the token after it changes.
    counted : int
        How many of the targets that were looked at have a part in the loss.
    on_padding : int
        How many of these stand on padding; the first padded position may teach where a text ends, and is left out.
    left_out : int or None
        The value of targets that have no part in the loss, such as -100.
    token_signal : float or None
        By how many standard deviations tokens that are alike have the same target oftener than by chance.
    targets : int
        How many targets were looked at.
    """

    reads_targets: Optional[bool] = None
    reads_rows: Optional[bool] = None
    holds_loss: bool = False
    ahead: Optional[int] = None
    shift: Optional[int] = None
    of_decoder: bool = False
    decodes_source: bool = False
    is_causal: Optional[bool] = None
    counted: int = 0
    on_padding: int = 0
    left_out: Optional[int] = None
    token_signal: Optional[float] = None
    targets: int = 0

    @property
    def has_own_targets(self) -> bool:
        """Whether the loss leaves the targets aside and has others: the rows' places, or labels among the inputs."""
        return self.reads_targets is False and (bool(self.reads_rows) or self.holds_loss)

    @property
    def distance(self) -> Optional[int]:
        """How many positions on the word stands that an output is asked for; None where it is asked for no word."""
        return None if self.ahead is None or self.shift is None else self.ahead + self.shift
