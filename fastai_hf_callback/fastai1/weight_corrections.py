"""``WeightCorrections`` at the events of fastai 1's loop: a part of ``HFCallback``, and of ``compare``'s other arms."""

from typing import Any, Dict, Optional

from fastai.callback import Callback
from fastai.callbacks.fp16 import MixedPrecision

from fastai_hf_callback.fastai1.compat.training_loop import (
    find_running_callbacks,
    find_running_learner,
    find_running_step,
)
from fastai_hf_callback.model.weights.activation_casts import to_float32
from fastai_hf_callback.model.weights.weight_corrections import WeightCorrections

__all__ = ["WeightCorrectionsCallback"]


class WeightCorrectionsCallback(Callback):
    """A callback that corrects the learner's weights around its steps, and nothing else."""

    _order = -1000  # before every callback that clips or accumulates gradients

    def __init__(self, train_in_float32: bool = True) -> None:
        self.train_in_float32 = train_in_float32
        self.corrections = WeightCorrections(train_in_float32)
        self._is_new_epoch = self._is_in_fit = False

    def on_train_begin(self, pbar: Optional[Any] = None, **kwargs: Any) -> None:
        if pbar is not None:  # `validate` begins with this event too, without a bar, and may do so within a fit
            self.corrections.frozen.widen()  # an error in this event ends a fit without on_train_end
            self.corrections.begin_fit()
            self._is_in_fit = True
            self._prepare_precision()  # before a model is wrapped for several processes, or weights are saved

    def on_epoch_begin(self, **kwargs: Any) -> None:
        self._is_new_epoch = True
        self._prepare_precision()  # also where more has been unfrozen within a fit; `validate` begins here, too

    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> Dict[str, Any]:
        return {"last_output": to_float32(last_output)}

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
        self._is_in_fit = False

    def _prepare_precision(self) -> None:
        learn = find_running_learner()
        # fastai's mixed precision has halved the model on purpose, and keeps copies in float32.
        if learn is None or any(isinstance(cb, MixedPrecision) for cb in find_running_callbacks()):
            return
        if self._is_in_fit:
            self.corrections.prepare_precision(learn.model, learn.opt)
        else:
            self.corrections.match_precision(learn.model)
