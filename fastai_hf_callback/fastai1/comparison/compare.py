"""``compare`` on fastai 1: the adapter of ``comparison/runner.py``."""

from contextlib import contextmanager
from typing import Any, Callable, ContextManager, Dict, Iterator, Optional, Sequence, Union
from unittest.mock import patch

import fastai.train  # noqa: F401  fit_one_cycle and lr_find live on Learner only once this is imported
from fastai.basic_train import Learner

from fastai_hf_callback.comparison import runner
from fastai_hf_callback.comparison.comparison import Comparison
from fastai_hf_callback.comparison.runner import ARMS, detach_output
from fastai_hf_callback.comparison.trace_writer import TraceWriter
from fastai_hf_callback.fastai1.callback import HFCallback
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from fastai_hf_callback.fastai1.compat.training_loop import raise_if_patched
from fastai_hf_callback.fastai1.metrics import score_constant
from fastai_hf_callback.fastai1.weight_corrections import WeightCorrectionsCallback
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
    return runner.compare(make_learner, fit, seed, arms, progress, adapter=Fastai1Adapter())


compare.__doc__ = runner.compare.__doc__


class _DetachedOutputCallback(HFCallback):
    """The broken arm: an output cut from the model, yet requiring grad, so that nothing complains."""

    def on_loss_begin(self, **kwargs: Any) -> Dict[str, Any]:
        return {"last_output": detach_output(super().on_loss_begin(**kwargs)["last_output"])}


class Fastai1Adapter:
    """fastai 1, as a ``ComparisonAdapter``."""

    learner_class, callback_classes = Learner, (HFCallback, _DetachedOutputCallback)
    corrections_class = WeightCorrectionsCallback
    raise_if_patched, patched_loop = staticmethod(raise_if_patched), staticmethod(patched_loop)
    no_progress, evaluate = staticmethod(no_progress), staticmethod(evaluate)
    score_constant, metric_names = staticmethod(score_constant), staticmethod(metric_names)

    def preserve_learner(self, learn: Learner) -> ContextManager[object]:
        return patch.multiple(learn, path=learn.path, model_dir=learn.model_dir, callbacks=learn.callbacks)

    def get_callbacks(self, learn: Learner) -> Sequence[Any]:
        return list(learn.callbacks)

    def replace_callbacks(self, learn: Learner, old: Sequence[Any], new: Sequence[Any]) -> None:
        gone = {id(callback) for callback in old}
        learn.callbacks = [*(cb for cb in learn.callbacks if id(cb) not in gone), *new]

    def seed_loaders(self, learn: Learner, seed: int) -> None:
        pass  # they draw from torch's generator

    @contextmanager
    def record(self, learn: Learner, writer: TraceWriter) -> Iterator[None]:
        recorder = TraceRecorder(learn, writer)
        self.replace_callbacks(learn, [], [recorder])
        try:
            yield
        finally:
            self.replace_callbacks(learn, [recorder], [])
