"""Small tasks shaped as real ones: uneven words, varied lengths, labels that some words tell; models trained before."""
import warnings
from functools import partial
from importlib.util import find_spec
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DataBunch
    from fastai.metrics import accuracy, accuracy_thresh, mean_squared_error
    from fastai.torch_core import flatten_model
    from fastai.train import Learner

from fastai_hf_callback import ColumnwiseAUC, HFCallback
from tests.faults.texts import (  # noqa: F401  the catalogue takes them from here
    BATCH,
    CLS,
    FIRST_WORD,
    LENGTHS,
    N_OUTPUTS,
    NOISE,
    PAD,
    PRETRAINING_STEPS,
    RATES,
    ROWS,
    SEP,
    TELLING,
    UNK,
    VALID_ROWS,
    WIDTH,
    Rows,
    Texts,
    bare_model,
    body_of,
    both,
    lengths_for,
    padded,
    tensors,
    texts,
    wrapped,
)

ALL = ("bert", "roberta", "distilbert", "xlnet", "xlm", "gpt2", "bert of transformers 5")
MASKED = tuple(name for name in ALL if name != "gpt2")
NEWEST = "bert of transformers 5"
# Never looked at while the doctor's limits were set; `make faults` asks about them apart from the others.
HELD_OUT = tuple(f"{name} of transformers 5" for name in ("electra", "albert", "mpnet", "deberta", "roformer"))


class Task(NamedTuple):
    n_outputs: int
    make_loss: Callable[[], Any]
    make_metrics: Callable[[], List[Any]]


TASKS: Dict[str, Task] = {
    "classes": Task(3, nn.CrossEntropyLoss, lambda: [accuracy]),
    "two classes": Task(2, nn.CrossEntropyLoss, lambda: [accuracy]),
    "labels": Task(6, nn.BCEWithLogitsLoss, lambda: [partial(accuracy_thresh, thresh=0.25), ColumnwiseAUC()]),
    "number": Task(1, nn.MSELoss, lambda: [mean_squared_error]),
}


def databunch(train: Sequence[Tensor], valid: Sequence[Tensor], bs: int = BATCH, **kwargs: Any) -> DataBunch:
    """From tensors, targets last; the loader shuffles the training rows."""
    settings = dict(bs=bs, num_workers=0, device=torch.device("cpu"), pin_memory=False, no_check=True,
                    collate_fn=collate)
    return DataBunch.create(TensorDataset(*train), TensorDataset(*valid), **{**settings, **kwargs})


def collate(rows: Sequence[Sequence[Tensor]]) -> Tuple[Any, Tensor]:
    """``[(input, ..., target)]`` -> ``([input, ...], target)``; a single input stays a tensor."""
    *inputs, target = (torch.stack(column) for column in zip(*rows))
    return inputs if len(inputs) > 1 else inputs[0], target


def task_data(architecture: str, task: str, **kwargs: Any) -> DataBunch:
    """The task as it should be given to `architecture`."""
    train, valid = both(task, lengths=lengths_for(architecture))
    length = max(map(len, train.rows + valid.rows))
    return databunch(tensors(train, architecture, length=length), tensors(valid, architecture, length=length), **kwargs)


# -- models ----------------------------------------------------------------------------------------------------


def available(architecture: str) -> bool:
    """transformers 5 needs a newer Python than the article's stack has."""
    return not of_today(architecture) or find_spec("transformers") is not None


def of_today(architecture: str) -> bool:
    """Whether it comes from transformers 5."""
    return architecture.endswith(" of transformers 5")


def last_layer(model: nn.Module) -> nn.Module:
    return [leaf for leaf in flatten_model(model) if list(leaf.parameters())][-1]


def head_and_body(model: nn.Module) -> Tuple[List[nn.Module], List[nn.Module]]:
    """Flattened leaf modules of the head and of the body."""
    leaves = flatten_model(model)
    at = leaves.index(last_layer(model))
    return leaves[at:], leaves[:at]


# -- learners ----------------------------------------------------------------------------------------------------


def learner(architecture: str, task: str = "classes", *, model: Optional[nn.Module] = None,
            data: Optional[DataBunch] = None, callbacks: Optional[List[Any]] = None, **overrides: Any) -> Learner:
    """A healthy learner, but for what is put in its place; a `model` is taken as it is."""
    kind = TASKS[task]
    settings = dict(loss_func=kind.make_loss(), metrics=kind.make_metrics(), silent=True)
    return Learner(data or task_data(architecture, task),
                   wrapped(bare_model(architecture, kind.n_outputs), architecture) if model is None else model,
                   callbacks=[HFCallback()] if callbacks is None else callbacks, **{**settings, **overrides})
