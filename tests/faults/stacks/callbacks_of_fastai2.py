"""Callbacks of one event on fastai 2, whose subclasses say what happens in it; twin of ``callbacks_of_fastai1.py``."""

from typing import Any

from fastai.callback.core import Callback, CancelBackwardException, CancelBatchException, CancelStepException
from fastai.callback.training import GradientAccumulation
from fastai.learner import Learner, Metric
from torch import Tensor


class ChangesOutput(Callback):
    """What reaches the loss is what `changed` makes of the output."""

    def changed(self, output: Any) -> Any:
        raise NotImplementedError

    def after_pred(self) -> None:
        self.learn.pred = self.changed(self.learn.pred)


class LooksTooEarly(Callback):
    """Means to unwrap, in an event before there is an output."""

    def before_batch(self) -> None:
        self.seen = self.learn.xb


class ChangesLoss(Callback):
    """What is propagated is what `changed` makes of the loss."""

    def fit_begins(self) -> None:
        pass

    def changed(self, loss: Tensor) -> Tensor:
        raise NotImplementedError

    def before_fit(self) -> None:
        self.fit_begins()

    def after_loss(self) -> None:
        if self.learn.training:
            self.learn.loss_grad = self.changed(self.learn.loss_grad)


class SkipsStep(Callback):
    def unwanted(self, loss: Tensor) -> bool:
        raise NotImplementedError

    def before_step(self) -> None:
        if self.unwanted(self.learn.loss):
            raise CancelStepException()


class DryRun(Callback):
    """Every step is left out."""

    def before_step(self) -> None:
        raise CancelStepException()


class SkipsBackward(Callback):
    def unwanted(self, loss: Tensor) -> bool:
        return True

    def before_backward(self) -> None:
        if self.unwanted(self.learn.loss):
            raise CancelBackwardException()


class KeepsGradients(Callback):
    def after_step(self) -> None:
        raise CancelBatchException()


class LeavesGradients(Callback):
    """Means to spare the time that zeroing takes."""

    def before_fit(self) -> None:
        self.learn.opt.zero_grad = _nothing


def _nothing() -> None:
    pass


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

    def before_epoch(self) -> None:
        self.epoch_begins()

    def before_batch(self) -> None:
        self.batch_begins()

    def before_step(self) -> None:
        if self.waits(self.learn.iter):
            raise CancelBatchException()


def accumulating(every: int, bs: int) -> Callback:
    """fastai's own, which counts rows."""
    return GradientAccumulation(every * bs)


class KnowsLearner(Callback):
    """Its class, or a maker, goes among `knowing`."""

    def fit_begins(self, learn: Learner) -> None:
        pass

    def batch_begins(self, learn: Learner, iteration: int) -> None:
        pass

    def backward_ends(self, learn: Learner) -> None:
        pass

    def before_fit(self) -> None:
        self.fit_begins(self.learn)

    def before_batch(self) -> None:
        if self.learn.training:
            self.batch_begins(self.learn, self.learn.train_iter)

    def after_backward(self) -> None:
        self.backward_ends(self.learn)


class OwnMetric(Metric):
    """A metric of the user's own, which may keep what it should forget."""

    @property
    def name(self) -> str:
        return "own"

    @property
    def value(self) -> float:
        return self.says()

    def epoch_begins(self) -> None:
        pass

    def sees(self, output: Tensor, target: Tensor) -> None:
        raise NotImplementedError

    def says(self) -> float:
        raise NotImplementedError

    def reset(self) -> None:
        self.epoch_begins()

    def accumulate(self, learn: Learner) -> None:
        self.sees(learn.pred, learn.y)
