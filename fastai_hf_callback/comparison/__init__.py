"""Comparison of training runs: the runner of the arms, their baseline, and the ``Comparison`` a user gets."""
