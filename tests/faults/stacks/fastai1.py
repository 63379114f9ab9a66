"""fastai 1 as the catalogue asks for it; its twin is ``fastai2.py``, name for name."""

import warnings
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any, Callable, Iterator, List, Optional, Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DataBunch
    from fastai.basic_train import AdamW
    from fastai.layers import BCEWithLogitsFlat, CrossEntropyFlat, LabelSmoothingCrossEntropy, MSELossFlat
    from fastai.metrics import accuracy, accuracy_thresh, mean_squared_error
    from fastai.torch_core import flatten_model
    from fastai.train import GradientClipping, Learner

from fastai_hf_callback import Doctor
from fastai_hf_callback.fastai1.comparison.recorder import evaluate
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from tests.faults.stacks.callbacks_of_fastai1 import (
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
from tests.faults.stacks.loops_of_fastai1 import loops, patch, unpatch

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

# HFCallback looks at the loss before other callbacks may exchange it.
CHECKS_WHAT_IS_PROPAGATED = False
REFUSES_HALF_LOSSES = False
NAME, OTHER, SUFFIX, SEED = "fastai 1", "fastai 2", "", 500758
IN_TITLE, IN_COMMAND, VERSIONS, HELD_OUT_PAGE = " on fastai 1", "", "", "faults-held-out.md"
ONLY_HERE = "tests.faults.catalogue.only_fastai1"

# -- architectures -----------------------------------------------------------------------------------------------

NEWEST = "bert of transformers 5"
ALL = ("bert", "roberta", "distilbert", "xlnet", "xlm", "gpt2", NEWEST)
MASKED = tuple(name for name in ALL if name != "gpt2")  # gpt2 takes no mask in pytorch-transformers 1.2
BERTS = ("bert", "roberta", NEWEST)
POOLED = BERTS
READ_AT_FIRST = tuple(name for name in MASKED if name != "xlnet")
NO_OWN_MASK = ("bert", "roberta", "distilbert", "xlnet")  # XLM counts lengths, transformers 5 knows its padding
TYPES = tuple(name for name in MASKED if name != "distilbert")
# Never looked at while the doctor's limits were set; `make faults` asks about them apart from the others.
HELD_OUT = tuple(f"{name} of transformers 5" for name in ("electra", "albert", "mpnet", "deberta", "roformer"))


def named(architecture: str) -> str:
    """The architecture that the catalogue means, as ``tests.tiny_models`` knows it."""
    return architecture


def shown(architecture: str) -> str:
    """Its name in a table."""
    return architecture


def available(architecture: str) -> bool:
    """transformers 5 needs a newer Python than the article's stack has."""
    return not architecture.endswith(" of transformers 5") or find_spec("transformers") is not None


# -- data --------------------------------------------------------------------------------------------------------


def loaders(train: Sequence[Tensor], valid: Sequence[Tensor], bs: int, collate: Callable[..., Any]) -> DataBunch:
    """Of tensors, targets last; the training rows are shuffled. `collate` gives inputs and target."""
    return DataBunch.create(
        TensorDataset(*train),
        TensorDataset(*valid),
        bs=bs,
        num_workers=0,
        collate_fn=collate,
        device=torch.device("cpu"),
        pin_memory=False,
        no_check=True,
    )


def unshuffled(train: Sequence[Tensor], valid: Sequence[Tensor], bs: int, collate: Callable[..., Any]) -> DataBunch:
    """A loader of the user's own, which does not shuffle."""
    made = [DataLoader(TensorDataset(*part), bs) for part in (train, valid)]
    return DataBunch(*made, device=torch.device("cpu"), collate_fn=collate, no_check=True)


def tensors_of(learn: Learner) -> Sequence[Tensor]:
    """The training tensors."""
    return learn.data.train_ds.tensors


def loss_of_batches(learn: Learner, loss_of: Callable[..., float]) -> List[float]:
    """`loss_of(inputs, target)` of every training batch; the learner is not touched."""
    return [loss_of(inputs if isinstance(inputs, list) else [inputs], target) for inputs, target in learn.data.fix_dl]


# -- losses and metrics ------------------------------------------------------------------------------------------

FlatBCE, FlatCrossEntropy, FlatMSE, LabelSmoothing = (
    BCEWithLogitsFlat,
    CrossEntropyFlat,
    MSELossFlat,
    LabelSmoothingCrossEntropy,
)
accuracy_multi, mse = accuracy_thresh, mean_squared_error


# -- learners ----------------------------------------------------------------------------------------------------


def learner_of(
    data: DataBunch, model: nn.Module, callbacks: List[Any], knowing: Sequence[Any] = (), **settings: Any
) -> Learner:
    """`knowing` are makers of callbacks that are told the learner."""
    return Learner(
        data,
        model,
        callbacks=callbacks,
        silent=True,
        **settings,
        **({"callback_fns": list(knowing)} if knowing else {}),
    )


decay_in_the_gradient = {"true_wd": False}


def with_epsilon(epsilon: float) -> dict:
    """fastai's own optimizer, with this added to the gradients' size; for `learner_of`."""
    return {"opt_func": partial(AdamW, eps=epsilon)}


def clipping(norm: float) -> Callable[..., Any]:
    """fastai's own, to be handed to `learner_of` among `knowing`."""
    return partial(GradientClipping, clip=norm)


def make_optimizer(learn: Learner) -> None:
    learn.create_opt(slice(1e-3))


def make_optimizer_while_trainable(learn: Learner) -> None:
    """``fit`` makes one of a frozen model too."""


def exchange_model(learn: Learner, model: nn.Module) -> None:
    """Another model, where it is too late: the layer groups are those of the first."""
    learn.model = model


def set_rate(learn: Learner, lr: float) -> None:
    learn.opt.lr = lr


def split(learn: Learner, groups: Callable[[nn.Module], List[List[nn.Module]]]) -> Learner:
    return learn.split(groups)


def freeze_all_groups(learn: Learner) -> None:
    learn.freeze_to(len(learn.layer_groups))


def fit_with(learn: Learner, epochs: int, lr: Any, callbacks: List[Any]) -> None:
    """Callbacks for this fit alone."""
    learn.fit(epochs, lr, callbacks=callbacks)


@contextmanager
def watched_by_doctor(learn: Learner, say: Callable[[str], Any]) -> Iterator[Doctor]:
    doctor = Doctor(learn, say=say)
    learn.callbacks.append(doctor)
    yield doctor
    learn.callbacks.remove(doctor)


# -- precision ---------------------------------------------------------------------------------------------------


def half_runs_on_cpu() -> bool:
    """torch 1.4 multiplies no half matrices on a CPU."""
    try:
        torch.ones(2, 2).half() @ torch.ones(2, 2).half()
    except RuntimeError:
        return False
    return True


def mixed(learn: Learner, scale: Optional[float] = None, dynamic: bool = True) -> Learner:
    """In half precision, its loss scaled: by default as fastai does it."""
    return learn.to_fp16(**({} if scale is None else {"loss_scale": scale}), **({} if dynamic else {"dynamic": False}))
