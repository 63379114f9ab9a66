"""``Kind``: one kind of learner, and what may differ between two of it."""

from typing import Any, Callable, Dict, NamedTuple, Tuple

from fastai.learner import Learner

__all__ = ["TRAINING", "Choices", "Kind", "Spec"]

Spec = Dict[str, Any]
Choices = Dict[str, Tuple[Any, ...]]

# What every kind can be trained with; a kind's own choices come before these.
TRAINING: Choices = {
    "lr": (2e-3, 3e-3, 5e-3),
    "schedule": ("fit", "one cycle", "two fits"),
    "bs": (8, 16),
    "wd": (0.01, 0.0),
    "rows": (128, 192, 256),
    "valid_rows": (48, 64, 96),
}


def is_always_sound(spec: Spec) -> bool:
    return True


class Kind(NamedTuple):
    """One kind of learner.

    Attributes
    ----------
    name : str
    build : callable
        A spec -> its learner, healthy; the random states are seeded before. The loss of the spec's fit falls.
    choices : dict of str to tuple
        What a spec of this kind may say, besides ``TRAINING``; a key of ``TRAINING`` overrides that.
    is_sound : callable
        Whether the choices of a spec go together.
    """

    name: str
    build: Callable[[Spec], Learner]
    choices: Choices
    is_sound: Callable[[Spec], bool] = is_always_sound
