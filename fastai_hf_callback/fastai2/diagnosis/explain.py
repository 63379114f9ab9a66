"""What an exception means, in fastai 2's words."""

from fastai_hf_callback.diagnosis import diagnosis
from fastai_hf_callback.diagnosis.diagnosis import Diagnosis, translate_finding

from .fixes import FASTAI2_PHRASES

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
    (finding,) = diagnosis.explain(exception).findings
    return Diagnosis([translate_finding(FASTAI2_PHRASES, finding)])
