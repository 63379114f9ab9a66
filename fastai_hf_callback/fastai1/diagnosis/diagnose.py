"""``diagnose`` for fastai 1."""

from fastai.basic_train import Learner

from fastai_hf_callback.diagnosis import diagnose as core
from fastai_hf_callback.diagnosis.diagnosis import Diagnosis

from .learner_adapter import LearnerAdapter

__all__ = ["diagnose"]


def diagnose(learn: Learner, batches: int = 4) -> Diagnosis:
    """Examine a learner: :func:`fastai_hf_callback.diagnosis.diagnose.diagnose` has the parameters."""
    core.require_learner(learn, Learner)
    return core.diagnose(LearnerAdapter(learn), batches)


diagnose.__doc__ = core.diagnose.__doc__
