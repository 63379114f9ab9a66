"""What an exception means, in fastai 1's words, which are the core's own."""
from ..failures import explain

__all__ = ["explain"]
