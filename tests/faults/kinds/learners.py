"""Loaders and learners as a user of fastai 2 writes them, without bars and tables."""

from typing import Any, Callable, List, Optional, Sequence

import torch
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from torch import nn

from fastai_hf_callback import HFCallback, HFModel
from tests.faults.stacks import stack

from .kind import Spec

__all__ = ["fit", "make_learner", "make_loaders"]


def make_loaders(
    spec: Spec, train: Sequence[Any], valid: Sequence[Any], n_inp: int, collate: Optional[Callable[..., Any]] = None
) -> DataLoaders:
    """Of rows, tuples of tensors; `collate` makes a batch of a list of them."""
    changed = {} if collate is None else {"create_batch": collate}
    loaders = [
        DataLoader(part, bs=spec["bs"], shuffle=i == 0, drop_last=i == 0, num_workers=0, **changed)
        for i, part in enumerate((train, valid))
    ]
    for loader in loaders:
        loader.n_inp = n_inp
    return DataLoaders(*loaders, device=torch.device("cpu"))


def make_learner(
    spec: Spec,
    dls: DataLoaders,
    model: nn.Module,
    loss: Any,
    metrics: Sequence[Any] = (),
    *,
    inputs: Sequence[str] = (),
    unwraps: bool = True,
    element: Any = None,
    callbacks: Sequence[Any] = (),
    **settings: Any,
) -> Learner:
    """A learner of a spec; with `inputs` the model is wrapped in ``HFModel``, by default ``HFCallback`` unwraps."""
    model = HFModel(model, inputs=tuple(inputs)) if inputs else model
    bridge: List[Any] = [HFCallback(element=element)] if unwraps else []
    return stack.learner_of(
        dls, model, [*bridge, *callbacks], loss_func=loss, metrics=list(metrics), wd=spec["wd"], **settings
    )


def fit(learn: Learner, spec: Spec) -> List[float]:
    """Fit as the spec says, and return the training losses, smoothed."""
    epochs = spec.get("epochs", 4)
    if spec["schedule"] == "one cycle":
        learn.fit_one_cycle(epochs, spec["lr"])
    elif spec["schedule"] == "two fits":
        learn.fit(epochs // 2, spec["lr"])
        first = read_losses(learn)
        learn.fit(epochs - epochs // 2, spec["lr"] / 2)
        return first + read_losses(learn)
    else:
        learn.fit(epochs, spec["lr"])
    return read_losses(learn)


def read_losses(learn: Learner) -> List[float]:
    return [float(loss) for loss in learn.recorder.losses]
