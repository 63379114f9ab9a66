"""Callbacks and loaders that the first catalogue does not need, on the fastai that is installed."""

import tempfile
from pathlib import Path
from typing import Any, Callable, List, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from tests.faults.stacks import stack
from tests.faults.tasks import BATCH, inputs_and_target

Learner = stack.Learner
ON_FASTAI_1 = stack.NAME == "fastai 1"

if ON_FASTAI_1:
    from fastai.basic_data import DataBunch
    from fastai.basic_train import LearnerCallback
    from fastai.callbacks import EarlyStoppingCallback, SaveModelCallback
    from torch.utils.data import DataLoader

    class AroundValidation(LearnerCallback):
        """What is done as each validation begins."""

        _order = -20
        begun = False

        def validation_begins(self, learn: Learner) -> None:
            raise NotImplementedError

        def steps(self, learn: Learner) -> None:
            pass

        def on_batch_begin(self, train: bool, **kwargs: Any) -> None:
            if not train and not self.begun:
                self.validation_begins(self.learn)
            self.begun = not train

        def on_step_end(self, **kwargs: Any) -> None:
            self.steps(self.learn)

else:
    from fastai.callback.core import Callback
    from fastai.callback.tracker import EarlyStoppingCallback, ReduceLROnPlateau, SaveModelCallback
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader as FastaiDataLoader
    from fastai.optimizer import SGD

    class AroundValidation(Callback):
        """What is done as each validation begins."""

        order = 60

        def validation_begins(self, learn: Learner) -> None:
            raise NotImplementedError

        def steps(self, learn: Learner) -> None:
            pass

        def before_validate(self) -> None:
            self.validation_begins(self.learn)

        def after_step(self) -> None:
            self.steps(self.learn)


# -- fastai's own trackers, told that less is better, or more ------------------------------------------------------


def stops_early(better_is_more: bool, patience: int) -> Callable[..., Any]:
    if ON_FASTAI_1:
        return lambda learn: EarlyStoppingCallback(
            learn, monitor="accuracy", mode="max" if better_is_more else "min", patience=patience
        )
    return lambda: EarlyStoppingCallback("accuracy", comp=_comparison(better_is_more), patience=patience)


def lowers_rate(better_is_more: bool) -> Callable[..., Any]:
    """On fastai 2."""
    return lambda: ReduceLROnPlateau("accuracy", comp=_comparison(better_is_more), patience=2, factor=10.0)


def saves_best(better_is_more: bool) -> Callable[..., Any]:
    """In a folder of its own; the best is loaded as the fit ends."""
    if ON_FASTAI_1:
        return lambda learn: (
            _in_a_folder(learn) or SaveModelCallback(learn, monitor="accuracy", mode="max" if better_is_more else "min")
        )
    return lambda: SaveModelCallback("accuracy", comp=_comparison(better_is_more))


def _comparison(better_is_more: bool) -> Any:
    return np.greater if better_is_more else np.less


def _in_a_folder(learn: Learner) -> None:
    learn.path = Path(tempfile.mkdtemp())


def in_a_folder(learn: Learner) -> Learner:
    """Where its weights may be saved."""
    _in_a_folder(learn)
    return learn


# -- optimizers and loaders --------------------------------------------------------------------------------------


def sgd() -> dict:
    """fastai's gradient descent; for `learner`."""
    return {"opt_func": torch.optim.SGD if ON_FASTAI_1 else SGD}


def sampled(train: Sequence[Tensor], valid: Sequence[Tensor], draw: Callable[[], List[int]], bs: int = BATCH) -> Any:
    """Loaders whose training rows are those that `draw` gives, anew in each epoch."""
    if ON_FASTAI_1:
        loaders = [DataLoader(TensorDataset(*train), bs, sampler=_Drawn(draw)), DataLoader(TensorDataset(*valid), bs)]
        return DataBunch(*loaders, device=torch.device("cpu"), collate_fn=inputs_and_target, no_check=True)
    return DataLoaders(
        _DrawnLoader(TensorDataset(*train), bs, draw=draw), _plain_loader(valid, bs), device=torch.device("cpu")
    )


class _Drawn(torch.utils.data.Sampler):
    def __init__(self, draw: Callable[[], List[int]]):
        self.draw = draw

    def __iter__(self) -> Any:
        return iter(self.draw())

    def __len__(self) -> int:
        return len(self.draw())


if not ON_FASTAI_1:

    class _DrawnLoader(FastaiDataLoader):
        def __init__(self, dataset: Any, bs: int, draw: Any = None, **kwargs: Any):
            self.draw = draw
            super().__init__(dataset, bs, num_workers=0, create_batch=_batch, **{**kwargs, "shuffle": False})

        def get_idxs(self) -> List[int]:
            return self.draw()

    def _plain_loader(tensors: Sequence[Tensor], bs: int) -> Any:
        return FastaiDataLoader(TensorDataset(*tensors), bs, num_workers=0, create_batch=_batch)


def _batch(rows: Sequence[Any]) -> tuple:
    inputs, target = inputs_and_target(rows)
    return (*inputs, target) if isinstance(inputs, list) else (inputs, target)


def validation_batches(learn: Learner) -> Any:
    """Each as a loader gives it, inputs first and flat."""
    if ON_FASTAI_1:
        return [[*(inputs if isinstance(inputs, list) else [inputs]), target] for inputs, target in learn.data.valid_dl]
    return list(learn.dls.valid)
