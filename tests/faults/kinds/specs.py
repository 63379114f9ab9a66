"""Which learners there can be: a readable dict each, every kind in turn, the rest drawn."""

import random
from typing import Any, List, Sequence

from .kind import TRAINING, Kind, Spec

__all__ = ["draw_specs"]

MAX_TRIES = 100


def draw_specs(kinds: Sequence[Kind], seed: int, n: int) -> List[Spec]:
    """Draw `n` specs, each with a seed of its own; the kinds take turns, in another order each round."""
    draw = random.Random(seed)
    specs: List[Spec] = []
    while len(specs) < n:
        specs += [_draw_spec(kind, draw) for kind in draw.sample(list(kinds), len(kinds))]
    return specs[:n]


def _draw_spec(kind: Kind, draw: random.Random) -> Spec:
    for _ in range(MAX_TRIES):
        spec: Spec = {"kind": kind.name}
        for name, values in {**kind.choices, **{k: v for k, v in TRAINING.items() if k not in kind.choices}}.items():
            spec[name] = _pick(values, draw)
        if kind.is_sound(spec):
            return {**spec, "seed": draw.randrange(2**31)}
    raise AssertionError(f"no sound spec of {kind.name} in {MAX_TRIES} draws")


def _pick(values: Sequence[Any], draw: random.Random) -> Any:
    return values[draw.randrange(len(values))]
