"""What an exception means, in fastai 1's words, which are the core's own."""

from fastai_hf_callback.diagnosis.diagnosis import explain

__all__ = ["explain"]
