"""``WeightCorrections`` at the events of fastai 1's loop: a part of ``HFCallback``, and of ``compare``'s other arms."""

from typing import Any, Optional

from fastai.callback import Callback

from fastai_hf_callback.fastai1.compat.training_loop import find_running_step
from fastai_hf_callback.model.weight_corrections import WeightCorrections

__all__ = ["WeightCorrectionsCallback"]


class WeightCorrectionsCallback(Callback):
    """A callback that corrects the learner's weights around its steps, and nothing else."""

    _order = -1000  # before every callback that clips or accumulates gradients

    def __init__(self) -> None:
        self.corrections = WeightCorrections()
        self._is_new_epoch = False

    def on_train_begin(self, pbar: Optional[Any] = None, **kwargs: Any) -> None:
        if pbar is not None:  # `validate` begins with this event too, without a bar, and may do so within a fit
            self.corrections.frozen.widen()  # an error in this event ends a fit without on_train_end
            self.corrections.begin_fit()

    def on_epoch_begin(self, **kwargs: Any) -> None:
        self._is_new_epoch = True

    def on_backward_begin(self, **kwargs: Any) -> None:
        step = find_running_step() if self._is_new_epoch else None
        if step is not None:
            parameters = [p for group in step.opt.param_groups for p in group["params"]]
            self.corrections.begin_epoch(step.model, step.opt, parameters)
            self._is_new_epoch = False

    def on_backward_end(self, **kwargs: Any) -> None:
        step = find_running_step() if self.corrections.before_step() else None
        if step is not None:
            # fastai 1 decays what its optimizer holds, gradient or not, and that holds biases that were frozen before.
            self.corrections.frozen.narrow(step.opt.param_groups)

    def on_train_end(self, **kwargs: Any) -> None:
        self.corrections.frozen.widen()
        self.corrections.end_epoch()
