"""``WeightCorrections`` at the events of fastai 2's loop: a part of ``HFCallback``, and of ``compare``'s other arms."""

from typing import Any, Dict

from fastai.callback.core import Callback

from fastai_hf_callback.model.weight_corrections import WeightCorrections

__all__ = ["WeightCorrectionsCallback"]


class WeightCorrectionsCallback(Callback):
    """A callback that corrects the learner's weights around its steps, and nothing else."""

    order = -1000  # before every callback that clips or accumulates gradients

    def __init__(self) -> None:
        self.corrections = WeightCorrections()

    def before_fit(self) -> None:
        self.corrections.begin_fit()

    def before_train(self) -> None:
        learn = self.learn
        parameters = [p for group in learn.opt.param_lists for p in group]
        self.corrections.begin_epoch(learn.model, learn.opt, parameters)

    def before_step(self) -> None:
        if self.corrections.before_step():
            _align_slow_weights(self.learn.opt)

    def after_train(self) -> None:
        self.corrections.end_epoch()

    def __setstate__(self, state: Dict[str, Any]) -> None:
        self.__dict__.update({"corrections": WeightCorrections(), **state})  # an older export has none


def _align_slow_weights(opt: Any) -> None:
    """Let a ``Lookahead`` (``ranger``) copy to its frozen weights what they are; its average lags behind."""
    for slow_group, group in zip(getattr(opt, "slow_weights", None) or (), opt.param_lists):
        for slow, p in zip(slow_group, group):
            if not p.requires_grad:
                slow.data.copy_(p.data)
