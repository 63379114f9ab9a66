"""Samples per second on varied lengths, the model of MiniLM's size: as in ``varied``, with fewer arms and rounds."""

from . import varied

ROUNDS, ROWS = 4, {640: varied.THAT_SORT}
tell = varied.tell


def measure(peers, options):
    return varied.measure(peers, options, "minilm", ROWS, ROUNDS)
