"""fastai 2 as the catalogue asks for it; its twin is ``fastai1.py``, name for name."""

from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any, Callable, Iterator, List, Optional, Sequence

import fastai.callback.schedule  # fit_one_cycle
import torch
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.progress import ProgressCallback
from fastai.callback.training import GradientClip
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.losses import (
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    LabelSmoothingCrossEntropy,
    MSELossFlat,
)
from fastai.metrics import accuracy, accuracy_multi, mse
from fastai.optimizer import Adam
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from fastai_hf_callback import Doctor
from fastai_hf_callback.fastai2.comparison.recorder import evaluate
from fastai_hf_callback.fastai2.compat.no_progress import no_progress
from tests.faults.stacks.callbacks_of_fastai2 import (
    AccumulatesGradients,
    ChangesLoss,
    ChangesOutput,
    DryRun,
    KeepsGradients,
    KnowsLearner,
    LeavesGradients,
    LooksTooEarly,
    OwnMetric,
    SkipsBackward,
    SkipsStep,
    accumulating,
)
from tests.faults.stacks.loops_of_fastai2 import loops, patch, unpatch

__all__ = [
    "ALL",
    "BERTS",
    "CHECKS_WHAT_IS_PROPAGATED",
    "HELD_OUT",
    "HELD_OUT_PAGE",
    "IN_COMMAND",
    "IN_TITLE",
    "MASKED",
    "NAME",
    "NEWEST",
    "NO_OWN_MASK",
    "ONLY_HERE",
    "OTHER",
    "POOLED",
    "READ_AT_FIRST",
    "REFUSES_HALF_LOSSES",
    "SEED",
    "SUFFIX",
    "TYPES",
    "VERSIONS",
    "AccumulatesGradients",
    "ChangesLoss",
    "ChangesOutput",
    "DryRun",
    "FlatBCE",
    "FlatCrossEntropy",
    "FlatMSE",
    "KeepsGradients",
    "KnowsLearner",
    "LabelSmoothing",
    "Learner",
    "LeavesGradients",
    "LooksTooEarly",
    "OwnMetric",
    "SkipsBackward",
    "SkipsStep",
    "accumulating",
    "accuracy",
    "accuracy_multi",
    "available",
    "clipping",
    "decay_in_the_gradient",
    "evaluate",
    "exchange_model",
    "fit_with",
    "flatten_model",
    "freeze_all_groups",
    "half_runs_on_cpu",
    "learner_of",
    "loaders",
    "loops",
    "loss_of_batches",
    "make_optimizer",
    "make_optimizer_while_trainable",
    "mixed",
    "mse",
    "named",
    "patch",
    "no_progress",
    "set_rate",
    "shown",
    "split",
    "tensors_of",
    "unpatch",
    "unshuffled",
    "watched_by_doctor",
    "with_epsilon",
]

# HFCallback looks at the loss when all callbacks have had it.
CHECKS_WHAT_IS_PROPAGATED = True
REFUSES_HALF_LOSSES = True  # the Recorder averages them in single precision
NAME, OTHER, SUFFIX, SEED = "fastai 2", "fastai 1", " of transformers 5", 319896
IN_TITLE, IN_COMMAND, HELD_OUT_PAGE = " on fastai 2", " STACK=v2", "faults-fastai2-held-out.md"
VERSIONS = f", fastai {fastai.__version__}, transformers {version('transformers')}"
ONLY_HERE = "tests.faults.catalogue.only_fastai2"

# -- architectures -----------------------------------------------------------------------------------------------


def named(architecture: str) -> str:
    """The architecture that the catalogue means, as ``tests.tiny_models`` knows it."""
    return architecture if architecture.endswith(SUFFIX) else architecture + SUFFIX


NEWEST = named("modernbert")
ALL = (*map(named, ("bert", "roberta", "distilbert", "xlnet", "xlm", "gpt2")), NEWEST)
MASKED = ALL
BERTS = (named("bert"), named("roberta"), NEWEST)
POOLED = (named("bert"),)  # the others classify without a pooler
READ_AT_FIRST = tuple(named(name) for name in ("bert", "roberta", "distilbert", "xlm", NEWEST))
NO_OWN_MASK = tuple(name for name in ALL if name != named("xlm"))  # XLM counts lengths
TYPES = tuple(named(name) for name in ("bert", "roberta", "xlnet", "xlm", "gpt2"))
# Never looked at while the doctor's limits were set; `make faults` asks about them apart from the others.
HELD_OUT = tuple(map(named, ("electra", "albert", "mpnet", "deberta", "roformer")))


def shown(architecture: str) -> str:
    """Its name in a table: they are all of transformers 5."""
    return architecture[: -len(SUFFIX)]


def available(architecture: str) -> bool:
    return True


# -- data --------------------------------------------------------------------------------------------------------


def loaders(train: Sequence[Tensor], valid: Sequence[Tensor], bs: int, collate: Callable[..., Any]) -> DataLoaders:
    """Of tensors, targets last; the training rows are shuffled. `collate` gives inputs and target."""
    return DataLoaders.from_dsets(
        TensorDataset(*train),
        TensorDataset(*valid),
        bs=bs,
        num_workers=0,
        device=torch.device("cpu"),
        create_batch=partial(_batch, collate),
    )


def unshuffled(train: Sequence[Tensor], valid: Sequence[Tensor], bs: int, collate: Callable[..., Any]) -> DataLoaders:
    """A loader of the user's own, which does not shuffle."""
    made = [
        DataLoader(TensorDataset(*part), bs, num_workers=0, create_batch=partial(_batch, collate))
        for part in (train, valid)
    ]
    return DataLoaders(*made, device=torch.device("cpu"))


def _batch(collate: Callable[..., Any], rows: Sequence[Any]) -> tuple:
    inputs, target = collate(rows)
    return (*inputs, target) if isinstance(inputs, list) else (inputs, target)


def tensors_of(learn: Learner) -> Sequence[Tensor]:
    """The training tensors."""
    return learn.dls.train_ds.tensors


def loss_of_batches(learn: Learner, loss_of: Callable[..., float]) -> List[float]:
    """`loss_of(inputs, target)` of every training batch; the learner is not touched."""
    return [loss_of(list(inputs), target) for *inputs, target in learn.dls.train.new(shuffle=False, drop_last=False)]


# -- losses and metrics ------------------------------------------------------------------------------------------

FlatBCE, FlatCrossEntropy, FlatMSE, LabelSmoothing = (
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    MSELossFlat,
    LabelSmoothingCrossEntropy,
)


# -- learners ----------------------------------------------------------------------------------------------------


def learner_of(
    data: DataLoaders, model: nn.Module, callbacks: List[Any], knowing: Sequence[Any] = (), **settings: Any
) -> Learner:
    """`knowing` are makers of callbacks that are told the learner."""
    learn = Learner(data, model, cbs=[*callbacks, *(make() for make in knowing)], **settings)
    learn.remove_cb(ProgressCallback)
    learn.logger = _no_table
    return learn


def _no_table(*args: Any) -> None:
    pass


decay_in_the_gradient = {"opt_func": partial(Adam, decouple_wd=False)}


def with_epsilon(epsilon: float) -> dict:
    """fastai's own optimizer, with this added to the gradients' size; for `learner_of`."""
    return {"opt_func": partial(Adam, eps=epsilon)}


def clipping(norm: float) -> Callable[[], Callback]:
    """fastai's own, to be handed to `learner_of` among `knowing`."""
    return partial(GradientClip, norm)


def make_optimizer(learn: Learner) -> None:
    learn.create_opt()


def make_optimizer_while_trainable(learn: Learner) -> None:
    """``fit`` makes none of a model that is frozen as a whole, and says so."""
    learn.create_opt()


def exchange_model(learn: Learner, model: nn.Module) -> None:
    """Another model, where it is too late: the optimizer is there."""
    learn.create_opt()
    learn.model = model


def set_rate(learn: Learner, lr: float) -> None:
    learn.opt.set_hyper("lr", lr)


def split(learn: Learner, groups: Callable[[nn.Module], List[List[nn.Module]]]) -> Learner:
    learn.splitter = partial(_parameters_of, groups)
    return learn


def _parameters_of(groups: Callable[[nn.Module], List[List[nn.Module]]], model: nn.Module) -> List[List[Tensor]]:
    return [[p for module in group for p in module.parameters()] for group in groups(model)]


def flatten_model(model: nn.Module) -> List[nn.Module]:
    """As fastai 1 has it: modules without children, and the parameters that stand in others."""
    children = list(model.children())
    own = [_Alone(p) for p in model.parameters(recurse=False)] if children else []
    return [leaf for child in children for leaf in flatten_model(child)] + own if children else [model]


class _Alone(nn.Module):
    """A parameter that belongs to no leaf module."""

    def __init__(self, parameter: nn.Parameter):
        super().__init__()
        self.parameter = parameter


def freeze_all_groups(learn: Learner) -> None:
    """All parameters: unless told otherwise fastai 2 goes on training the norms."""
    learn.train_bn = False
    learn.create_opt()
    learn.freeze_to(len(learn.opt.param_lists))


def fit_with(learn: Learner, epochs: int, lr: Any, callbacks: List[Any]) -> None:
    """Callbacks for this fit alone."""
    learn.fit(epochs, lr, cbs=callbacks)


@contextmanager
def watched_by_doctor(learn: Learner, say: Callable[[str], Any]) -> Iterator[Doctor]:
    doctor = Doctor(say=say)
    learn.add_cb(doctor)
    yield doctor
    learn.remove_cb(doctor)


# -- precision ---------------------------------------------------------------------------------------------------


def half_runs_on_cpu() -> bool:
    return True


class MixedOnCPU(MixedPrecision):
    """fastai's own, whose autocast and scaler name the GPU."""

    def before_fit(self) -> None:
        self.autocast, self.scales = torch.autocast("cpu", dtype=torch.float16), []
        self.learn.scaler = torch.amp.GradScaler("cpu", **self.kwargs)


def mixed(learn: Learner, scale: Optional[float] = None, dynamic: bool = True) -> Learner:
    """In half precision, its loss scaled: by default as fastai does it."""
    hardly = {} if dynamic else {"growth_factor": 1.0001, "backoff_factor": 0.9999}  # torch knows no fixed scale
    return learn.add_cb(MixedOnCPU(**({} if scale is None else {"init_scale": scale}), **hardly))
