"""``diagnose`` for fastai 2."""

from functools import partial
from typing import Optional

from fastai.learner import Learner

from fastai_hf_callback.diagnosis import diagnose as core
from fastai_hf_callback.diagnosis.diagnosis import Diagnosis
from fastai_hf_callback.diagnosis.substitution.budget import SearchProgress
from fastai_hf_callback.diagnosis.substitution.deep import SECONDS, add_substitution

from .learner_adapter import LearnerAdapter
from .planted_loop import PlantedLoop

__all__ = ["diagnose"]


def diagnose(
    learn: Learner,
    batches: int = 4,
    deep: bool = False,
    seconds: float = SECONDS,
    progress: Optional[SearchProgress] = None,
) -> Diagnosis:
    """Examine a learner: :func:`fastai_hf_callback.diagnosis.diagnose.diagnose` has the parameters."""
    core.require_learner(learn, Learner)
    adapter = LearnerAdapter(learn)
    search = partial(add_substitution, adapter=adapter, loop=PlantedLoop(adapter), seconds=seconds, progress=progress)
    return core.diagnose(adapter, batches, search if deep else None)


diagnose.__doc__ = core.diagnose.__doc__
