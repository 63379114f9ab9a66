"""fastai 1 as the catalogue asks for it; its twin is ``fastai2.py``, name for name."""
import warnings
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai import basic_train
    from fastai.basic_data import DataBunch
    from fastai.basic_train import LearnerCallback
    from fastai.callback import Callback
    from fastai.layers import BCEWithLogitsFlat, CrossEntropyFlat, LabelSmoothingCrossEntropy, MSELossFlat
    from fastai.metrics import accuracy, accuracy_thresh, mean_squared_error
    from fastai.torch_core import add_metrics, flatten_model, to_detach
    from fastai.train import GradientClipping, Learner

from fastai_hf_callback import Doctor
from fastai_hf_callback.fastai1.quiet import quiet
from fastai_hf_callback.fastai1.recording import evaluate

__all__ = [
    "ALL", "BERTS", "CHECKS_WHAT_IS_PROPAGATED", "HELD_OUT", "HELD_OUT_PAGE", "IN_COMMAND", "IN_TITLE", "MASKED",
    "NAME", "NEWEST", "NO_OWN_MASK", "ONLY_HERE", "OTHER", "POOLED", "READ_AT_FIRST", "REFUSES_HALF_LOSSES", "SEED",
    "SUFFIX", "TYPES", "VERSIONS", "AccumulatesGradients", "ChangesLoss", "ChangesOutput", "DryRun", "FlatBCE",
    "FlatCrossEntropy", "FlatMSE", "KeepsGradients", "KnowsLearner", "LabelSmoothing", "Learner", "LeavesGradients",
    "LooksTooEarly", "OwnMetric", "SkipsBackward", "SkipsStep", "accumulating", "accuracy", "accuracy_multi",
    "available", "clipping", "decay_in_the_gradient", "evaluate", "exchange_model", "fit_with", "flatten_model",
    "freeze_all_groups", "half_runs_on_cpu", "learner_of", "loaders", "loops", "loss_of_batches", "make_optimizer",
    "make_optimizer_while_trainable", "mixed", "mse", "named", "patch", "quiet", "set_rate", "shown", "split",
    "tensors_of", "unpatch", "unshuffled", "watched_by_doctor",
]

# HFCallback looks at the loss before other callbacks may exchange it.
CHECKS_WHAT_IS_PROPAGATED = False
REFUSES_HALF_LOSSES = False
NAME, OTHER, SUFFIX, SEED = "fastai 1", "fastai 2", "", 610181
IN_TITLE, IN_COMMAND, VERSIONS, HELD_OUT_PAGE = "", "", "", "faults-held-out.md"
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
    """The architecture that the catalogue means, as ``tests.tiny`` knows it."""
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
    return DataBunch.create(TensorDataset(*train), TensorDataset(*valid), bs=bs, num_workers=0, collate_fn=collate,
                            device=torch.device("cpu"), pin_memory=False, no_check=True)


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
    BCEWithLogitsFlat, CrossEntropyFlat, MSELossFlat, LabelSmoothingCrossEntropy)
accuracy_multi, mse = accuracy_thresh, mean_squared_error


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


# -- learners ----------------------------------------------------------------------------------------------------


def learner_of(data: DataBunch, model: nn.Module, callbacks: List[Any], knowing: Sequence[Any] = (),
               **settings: Any) -> Learner:
    """`knowing` are makers of callbacks that are told the learner."""
    return Learner(data, model, callbacks=callbacks, silent=True, **settings,
                   **({"callback_fns": list(knowing)} if knowing else {}))


decay_in_the_gradient = {"true_wd": False}


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


# -- callbacks of one event --------------------------------------------------------------------------------------


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


# -- patched loops -----------------------------------------------------------------------------------------------

_ORIGINALS: List[Any] = []


def patch(loop: Callable[..., Any]) -> None:
    _ORIGINALS.append(basic_train.loss_batch)
    basic_train.loss_batch = loop


def unpatch() -> None:
    while _ORIGINALS:
        basic_train.loss_batch = _ORIGINALS.pop()


def hf_loss_batch(model, xb, yb, loss_func=None, opt=None, cb_handler=None):
    """The article's: fastai's own, unwrapping."""
    cb_handler = cb_handler or basic_train.CallbackHandler()
    xb, yb = (part if isinstance(part, (list, tuple)) else [part] for part in (xb, yb))
    out = cb_handler.on_loss_begin(model(*xb)[0])
    if not loss_func:
        return to_detach(out), to_detach(yb[0])
    loss = loss_func(out, *yb)
    if opt is not None:
        loss, skip_bwd = cb_handler.on_backward_begin(loss)
        if not skip_bwd:
            loss.backward()
        if not cb_handler.on_backward_end():
            opt.step()
        if not cb_handler.on_step_end():
            opt.zero_grad()
    return loss.detach().cpu()


def timed_loss_batch(model, xb, yb, loss_func=None, opt=None, cb_handler=None):
    """Left from a cell that timed the forward pass alone."""
    with torch.no_grad():
        result = hf_loss_batch(model, xb, yb, loss_func, None, cb_handler)
    if opt is not None:
        cb_handler.on_backward_begin(result)
    return result


def careful_loss_batch(model, xb, yb, loss_func=None, opt=None, cb_handler=None):
    """Calls backward and forgets the step."""
    xb, yb = (part if isinstance(part, (list, tuple)) else [part] for part in (xb, yb))
    out = cb_handler.on_loss_begin(model(*xb)[0])
    loss = loss_func(out, *yb) if loss_func else None
    if loss is None:
        return to_detach(out), to_detach(yb[0])
    if opt is not None:
        cb_handler.on_backward_begin(loss)[0].backward()
        cb_handler.on_backward_end()
        cb_handler.on_step_end()
        opt.zero_grad()
    return loss.detach().cpu()


loops = {"unwraps": hf_loss_batch, "times": timed_loss_batch, "forgets the step": careful_loss_batch}
