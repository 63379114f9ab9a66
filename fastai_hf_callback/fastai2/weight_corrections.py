"""``WeightCorrections`` at the events of fastai 2's loop: a part of ``HFCallback``, and of ``compare``'s other arms."""

from typing import Any, Dict

from fastai.callback.core import Callback
from fastai.callback.fp16 import ModelToHalf, NonNativeMixedPrecision

from fastai_hf_callback.fastai2.compat.training_loop import is_fitting
from fastai_hf_callback.model.weights.activation_casts import to_float32
from fastai_hf_callback.model.weights.weight_corrections import WeightCorrections

__all__ = ["WeightCorrectionsCallback"]


class WeightCorrectionsCallback(Callback):
    """A callback that corrects the learner's weights around its steps, and nothing else."""

    order = -1000  # before every callback that clips or accumulates gradients

    def __init__(self, train_in_float32: bool = True) -> None:
        self.train_in_float32 = train_in_float32
        self.corrections = WeightCorrections(train_in_float32)

    def before_fit(self) -> None:
        self.corrections.begin_fit()
        if is_fitting(self.learn):
            self._prepare_precision()  # before a model is wrapped for several processes, or weights are saved
        else:
            self.corrections.match_precision(self.learn.model)

    def before_train(self) -> None:
        learn = self.learn
        self._prepare_precision()  # also where more has been unfrozen within a fit
        parameters = [p for group in learn.opt.param_lists for p in group]
        self.corrections.begin_epoch(learn.model, learn.opt, parameters)

    def after_pred(self) -> None:
        self.learn.pred = to_float32(self.learn.pred)

    def before_step(self) -> None:
        if self.corrections.before_step():
            _align_slow_weights(self.learn.opt)

    def after_train(self) -> None:
        self.corrections.end_epoch()

    def __setstate__(self, state: Dict[str, Any]) -> None:
        # An older export has none.
        self.__dict__.update({"corrections": WeightCorrections(), "train_in_float32": True, **state})

    def _prepare_precision(self) -> None:
        if not any(isinstance(callback, (ModelToHalf, NonNativeMixedPrecision)) for callback in self.learn.cbs):
            self.corrections.prepare_precision(self.learn.model, self.learn.opt)  # these two keep float32 copies


def _align_slow_weights(opt: Any) -> None:
    """Let a ``Lookahead`` (``ranger``) copy to its frozen weights what they are; its average lags behind."""
    for slow_group, group in zip(getattr(opt, "slow_weights", None) or (), opt.param_lists):
        for slow, p in zip(slow_group, group):
            if not p.requires_grad:
                slow.data.copy_(p.data)
