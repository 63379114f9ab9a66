"""Callbacks of one event on fastai 1, whose subclasses say what happens in it; twin of ``callbacks_of_fastai2.py``."""

from typing import Any, Dict, Optional

from fastai.basic_train import LearnerCallback
from fastai.callback import Callback
from fastai.torch_core import add_metrics
from fastai.train import Learner
from torch import Tensor


class ChangesOutput(Callback):
    """What reaches the loss is what `changed` makes of the output."""

    def changed(self, output: Any) -> Any:
        raise NotImplementedError

    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> Dict[str, Any]:
        return {"last_output": self.changed(last_output)}


class LooksTooEarly(Callback):
    """Means to unwrap, in an event before there is an output."""

    def on_batch_begin(self, last_input: Any, **kwargs: Any) -> None:
        self.seen = last_input


class ChangesLoss(Callback):
    """What is propagated is what `changed` makes of the loss."""

    def fit_begins(self) -> None:
        pass

    def changed(self, loss: Tensor) -> Tensor:
        raise NotImplementedError

    def on_train_begin(self, **kwargs: Any) -> None:
        self.fit_begins()

    def on_backward_begin(self, last_loss: Tensor, **kwargs: Any) -> Dict[str, Tensor]:
        return {"last_loss": self.changed(last_loss)}


class SkipsStep(Callback):
    def unwanted(self, loss: Tensor) -> bool:
        raise NotImplementedError

    def on_backward_end(self, last_loss: Tensor, **kwargs: Any) -> Dict[str, bool]:
        return {"skip_step": self.unwanted(last_loss)}


class DryRun(Callback):
    """Every step is left out, from the first event of its batch."""

    def on_batch_begin(self, train: bool, **kwargs: Any) -> Optional[Dict[str, bool]]:
        return {"skip_step": True} if train else None


class SkipsBackward(Callback):
    def unwanted(self, loss: Tensor) -> bool:
        return True

    def on_backward_begin(self, last_loss: Tensor, **kwargs: Any) -> Dict[str, bool]:
        return {"skip_bwd": self.unwanted(last_loss)}


class KeepsGradients(Callback):
    def on_step_end(self, **kwargs: Any) -> Dict[str, bool]:
        return {"skip_zero": True}


class LeavesGradients(Callback):
    def on_backward_end(self, **kwargs: Any) -> Dict[str, bool]:
        return {"skip_zero": True}


class AccumulatesGradients(Callback):
    """No step and no zeroing where `waits` says so."""

    def __init__(self, every: int = 1000):
        self.every, self.count = every, 0

    def epoch_begins(self) -> None:
        pass

    def batch_begins(self) -> None:
        pass

    def waits(self, num_batch: int) -> bool:
        self.count += 1
        return self.count % self.every != 0

    def on_epoch_begin(self, **kwargs: Any) -> None:
        self.epoch_begins()

    def on_batch_begin(self, **kwargs: Any) -> None:
        self.batch_begins()

    def on_backward_end(self, num_batch: int, **kwargs: Any) -> Dict[str, bool]:
        waits = self.waits(num_batch)
        return {"skip_step": waits, "skip_zero": waits}


def accumulating(every: int, bs: int) -> Callback:
    """Sound: what is left at an epoch's or a fit's end goes into the next step."""
    return AccumulatesGradients(every)


class KnowsLearner(LearnerCallback):
    """Its class, or a maker, goes among `knowing`."""

    def fit_begins(self, learn: Learner) -> None:
        pass

    def batch_begins(self, learn: Learner, iteration: int) -> None:
        pass

    def backward_ends(self, learn: Learner) -> None:
        pass

    def on_train_begin(self, **kwargs: Any) -> None:
        self.fit_begins(self.learn)

    def on_batch_begin(self, train: bool, iteration: int, **kwargs: Any) -> None:
        if train:
            self.batch_begins(self.learn, iteration)

    def on_backward_end(self, **kwargs: Any) -> None:
        self.backward_ends(self.learn)


class OwnMetric(Callback):
    """A metric of the user's own, which may keep what it should forget."""

    name = "own"

    def epoch_begins(self) -> None:
        pass

    def sees(self, output: Tensor, target: Tensor) -> None:
        raise NotImplementedError

    def says(self) -> float:
        raise NotImplementedError

    def on_epoch_begin(self, **kwargs: Any) -> None:
        self.epoch_begins()

    def on_batch_end(self, last_output: Tensor, last_target: Tensor, **kwargs: Any) -> None:
        self.sees(last_output, last_target)

    def on_epoch_end(self, last_metrics: Any, **kwargs: Any) -> Dict[str, Any]:
        return add_metrics(last_metrics, self.says())
