"""The arms of a comparison run one after the other, their baseline, and the ``Comparison`` a user sees."""
