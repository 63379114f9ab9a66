"""``compare`` on fastai 2: the adapter of ``comparison/runner.py``."""

from typing import Any, Callable, ContextManager, Optional, Sequence, Union

import fastai.callback.schedule  # noqa: F401  fit_one_cycle, lr_find and fine_tune are on Learner once this is imported
from fastai.learner import Learner

from fastai_hf_callback.comparison import runner
from fastai_hf_callback.comparison.comparison import Comparison
from fastai_hf_callback.comparison.runner import ARMS, detach_output
from fastai_hf_callback.comparison.trace_writer import TraceWriter
from fastai_hf_callback.fastai2.callback import HFCallback
from fastai_hf_callback.fastai2.compat.learner_state import preserve_learner, seed_loaders
from fastai_hf_callback.fastai2.compat.no_progress import no_progress
from fastai_hf_callback.fastai2.compat.training_loop import raise_if_patched
from fastai_hf_callback.fastai2.metrics import score_constant
from fastai_hf_callback.fastai2.weight_corrections import WeightCorrectionsCallback
from fastai_hf_callback.utils.progress import Progress

from .patched_loop import patched_loop
from .recorder import TraceRecorder, evaluate, metric_names

__all__ = ["compare", "ARMS"]


def compare(
    make_learner: Callable[[], Learner],
    fit: Optional[Callable[[Learner], Any]] = None,
    seed: int = 42,
    arms: Sequence[str] = ARMS,
    progress: Union[bool, Progress] = True,
) -> Comparison:
    return runner.compare(make_learner, fit, seed, arms, progress, adapter=Fastai2Adapter())


compare.__doc__ = runner.compare.__doc__


class _DetachedOutputCallback(HFCallback):
    """The broken arm: an output cut from the model, yet requiring grad, so that nothing complains."""

    def after_pred(self) -> None:
        super().after_pred()
        self.learn.pred = detach_output(self.learn.pred)


class Fastai2Adapter:
    """fastai 2, as a ``ComparisonAdapter``."""

    learner_class, callback_classes = Learner, (HFCallback, _DetachedOutputCallback)
    corrections_class = WeightCorrectionsCallback
    patched_loop, raise_if_patched = staticmethod(patched_loop), staticmethod(raise_if_patched)
    preserve_learner, seed_loaders = staticmethod(preserve_learner), staticmethod(seed_loaders)
    evaluate, no_progress = staticmethod(evaluate), staticmethod(no_progress)
    metric_names, score_constant = staticmethod(metric_names), staticmethod(score_constant)

    def get_callbacks(self, learn: Learner) -> Sequence[Any]:
        return list(learn.cbs)

    def replace_callbacks(self, learn: Learner, old: Sequence[Any], new: Sequence[Any]) -> None:
        learn.remove_cbs(old).add_cbs(new)

    def record(self, learn: Learner, writer: TraceWriter) -> ContextManager[object]:
        return learn.added_cbs(TraceRecorder(writer))
