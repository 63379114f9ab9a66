"""``explain`` for fastai 1."""

from fastai_hf_callback.diagnosis.diagnosis import Diagnosis, explain_exception

from .fixes import FIXES

__all__ = ["explain"]


def explain(exception: BaseException) -> Diagnosis:
    """Say what an exception from training, validation or prediction means.

    Parameters
    ----------
    exception : BaseException
        As caught, with its ``__cause__`` where it has one.

    Returns
    -------
    Diagnosis
        With one finding; its cause is ``unknown-failure`` where the catalogue has no such failure.
    """
    return explain_exception(exception, FIXES)
