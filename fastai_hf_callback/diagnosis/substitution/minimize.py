"""Delta debugging: the smallest set of parts whose replacement helps. Pure."""

from typing import Callable, List, Sequence, Tuple, TypeVar

__all__ = ["minimize"]

Part = TypeVar("Part")


def minimize(parts: Sequence[Part], works: Callable[[Tuple[Part, ...]], bool]) -> Tuple[Part, ...]:
    """Return a subset that works and of which no part can be left out.

    Parameters
    ----------
    parts : sequence
        They work together. Of several subsets that work, one with earlier parts is found first.
    works : callable
        Called with subsets, in the order of `parts`, and with each at most once.

    Returns
    -------
    tuple
        One-minimal: without any single part of it, `works` was False. It takes about ``2 log2 n`` calls for a single
        part, and less than ``n ** 2 + 3 n`` at worst.
    """
    known = {tuple(range(len(parts))): True}

    def ask(chosen: Sequence[int]) -> bool:
        key = tuple(sorted(chosen))
        if key not in known:
            known[key] = bool(key) and works(tuple(parts[i] for i in key))
        return known[key]

    chosen, pieces = list(range(len(parts))), 2
    while len(chosen) > 1:
        groups = _split(chosen, pieces)
        rests = [[i for i in chosen if i not in group] for group in groups]
        smaller = next((group for group in groups if ask(group)), None)
        if smaller is not None:
            chosen, pieces = smaller, 2
            continue
        rest = next((rest for rest in rests if ask(rest)), None)
        if rest is not None:
            chosen, pieces = rest, max(pieces - 1, 2)
        elif pieces >= len(chosen):
            break
        else:
            pieces = min(2 * pieces, len(chosen))
    return tuple(parts[i] for i in chosen)


def _split(items: List[int], pieces: int) -> List[List[int]]:
    cuts = [len(items) * k // pieces for k in range(pieces + 1)]
    return [items[a:b] for a, b in zip(cuts, cuts[1:]) if a < b]
